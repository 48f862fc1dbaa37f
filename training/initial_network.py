"""The network that a training begins with."""

from __future__ import annotations

from typing import Any

from tf_facegcn.geometry.mesh_hierarchy import MeshHierarchy
from tf_facegcn.geometry.morphable_model import MorphableModel
from tf_facegcn.models.face_gcn import FaceGCN
from tf_facegcn.models.released_weights import load_model
from training.basel_face_model import load_basel_face_model
from training.config import TrainingConfig
from training.data.aflw_crops import parameter_deviations


def face_model_of(config: TrainingConfig) -> MorphableModel:
    """Loads the morphable model that labels are fitted with.

    Raises:
        FileNotFoundError: If there is no such file, or no photos.
        ValueError: If the file is no face model.
    """
    if not config.face_model:
        return MorphableModel.bundled()
    deviations = parameter_deviations(config.data_dir)
    return load_basel_face_model(config.face_model, *deviations)


def make_network(config: TrainingConfig, face_model: MorphableModel) -> FaceGCN:
    """Makes the configuration's preset on the mesh of a face model."""
    mesh: dict[str, Any] = {}
    if config.face_model:
        mesh["hierarchy"] = MeshHierarchy.build(face_model.template)
        mesh["landmarks"] = face_model.landmarks
    return FaceGCN.from_preset(config.preset, dtype=config.precision, **mesh)


def set_initial_weights(model: FaceGCN, name_or_path: str) -> None:
    """Gives a network the weights of another one of the same kind.

    Raises:
        ValueError: If there are no such weights, or they are of another
            network.
    """
    weights = load_model(name_or_path).get_weights()
    expected = [tuple(weight.shape) for weight in model.weights]
    if [weight.shape for weight in weights] != expected:
        raise ValueError(
            "Expected initial weights of the network that is trained "
            f"({model.count_params()} parameters). Received: initial_weights="
            f"{name_or_path!r} with {sum(w.size for w in weights)}"
        )
    model.set_weights(weights)
