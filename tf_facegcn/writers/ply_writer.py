"""Binary PLY: a mesh for programs that measure and scan."""

from typing import cast

import numpy as np
from numpy.typing import NDArray

from tf_facegcn.prediction import FacePrediction
from tf_facegcn.writers.trimesh_mesh import to_trimesh


def encode_ply(prediction: FacePrediction, photo: NDArray[np.uint8]) -> bytes:
    """Encodes a face as binary little-endian PLY, axes as in `to_y_up`.

    Args:
        prediction: The face.
        photo: `(height, width, 3)` uint8, its photo.

    Returns:
        The file's content.
    """
    mesh = to_trimesh(prediction, photo.shape[0])
    return cast("bytes", mesh.export(file_type="ply"))
