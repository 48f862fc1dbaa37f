"""tf_facegcn: 3D dense face alignment on Keras and TensorFlow.

The main names are imported when they are first used, so that importing the
package stays fast and starts no device.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tf_facegcn.geometry.mesh_hierarchy import MeshHierarchy
    from tf_facegcn.geometry.morphable_model import MorphableModel
    from tf_facegcn.models.face_gcn import FaceGCN
    from tf_facegcn.prediction import FacePrediction
    from tf_facegcn.predictor import Predictor

_HOMES = {
    "FaceGCN": "tf_facegcn.models.face_gcn",
    "FacePrediction": "tf_facegcn.prediction",
    "MeshHierarchy": "tf_facegcn.geometry.mesh_hierarchy",
    "MorphableModel": "tf_facegcn.geometry.morphable_model",
    "Predictor": "tf_facegcn.predictor",
}

__all__ = [
    "FaceGCN",
    "FacePrediction",
    "MeshHierarchy",
    "MorphableModel",
    "Predictor",
]


def __getattr__(name: str) -> Any:
    """Imports one of the main names."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
