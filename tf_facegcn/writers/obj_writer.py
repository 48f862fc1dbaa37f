"""Wavefront OBJ: a mesh as text."""

import numpy as np
from numpy.typing import NDArray

from tf_facegcn.prediction import FacePrediction
from tf_facegcn.writers.y_up import to_y_up

_HEADER = """\
# Face mesh by tf_facegcn. Unit: pixels of the photo ({width} x {height}).
# x right, y up (height - 1 - row), z towards the viewer.
"""


def encode_obj(prediction: FacePrediction, photo: NDArray[np.uint8]) -> bytes:
    """Encodes a face as Wavefront OBJ.

    The vertices keep their order and are rounded to a thousandth of a pixel;
    axes as in `to_y_up`. Faces point outward.

    Args:
        prediction: The face.
        photo: `(height, width, 3)` uint8, its photo.

    Returns:
        The file's content.
    """
    height, width = photo.shape[:2]
    numbers = to_y_up(prediction.vertices, height).ravel().tolist()
    indices = (prediction.faces + 1).ravel().tolist()  # OBJ counts from 1.
    # One format string for all lines: half the time of a line at a time, a
    # tenth of numpy.savetxt's.
    return (
        _HEADER.format(width=width, height=height)
        + "v %.3f %.3f %.3f\n" * len(prediction.vertices) % tuple(numbers)
        + "f %d %d %d\n" * len(prediction.faces) % tuple(indices)
    ).encode("ascii")
