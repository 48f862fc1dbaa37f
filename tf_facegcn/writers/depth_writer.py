"""Depth map: the z of a face in the photo's pixels, as 16-bit PNG."""

import cv2
import numpy as np
from numpy.typing import NDArray

from tf_facegcn.imaging.rasterizer import render_mesh
from tf_facegcn.prediction import FacePrediction

# A pixel's value is ZERO_DEPTH + STEPS_PER_PIXEL * z, and 0 without a face:
# an eighth of a pixel, up to 4,095 pixels to either side.
ZERO_DEPTH = 32768
STEPS_PER_PIXEL = 8
_LARGEST = 65535


def encode_depth(prediction: FacePrediction, photo: NDArray[np.uint8]) -> bytes:
    """Encodes the depths of a face as 16-bit PNG of the photo's size.

    Args:
        prediction: The face.
        photo: `(height, width, 3)` uint8, its photo.

    Returns:
        The file's content. A pixel is 0 where there is no face, otherwise
        `32768 + 8 * z`, rounded, `z` in pixels towards the viewer.
    """
    height, width = photo.shape[:2]
    rendered = render_mesh(prediction.vertices, prediction.faces, width, height)
    steps = np.zeros((height, width), np.uint16)
    steps[rendered.mask] = np.clip(
        np.rint(ZERO_DEPTH + STEPS_PER_PIXEL * rendered.depth[rendered.mask]),
        1,
        _LARGEST,
    )
    return cv2.imencode(".png", steps)[1].tobytes()
