"""Binary glTF: a mesh for browsers and 3D viewers."""

from typing import cast

import numpy as np
from numpy.typing import NDArray

from tf_facegcn.prediction import FacePrediction
from tf_facegcn.writers.trimesh_mesh import to_trimesh


def encode_glb(prediction: FacePrediction, photo: NDArray[np.uint8]) -> bytes:
    """Encodes a face as binary glTF 2.0, axes as in `to_y_up`.

    glTF's unit is the metre, this file's is the photo's pixel: viewers scale
    to what they show. Normals are included, so the surface looks smooth.

    Args:
        prediction: The face.
        photo: `(height, width, 3)` uint8, its photo.

    Returns:
        The file's content.
    """
    mesh = to_trimesh(prediction, photo.shape[0])
    return cast("bytes", mesh.export(file_type="glb", include_normals=True))
