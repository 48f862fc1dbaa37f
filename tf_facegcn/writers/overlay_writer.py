"""Overlay: a photo with the faces found drawn on it, as JPEG."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from tf_facegcn.geometry.camera import rotation_matrix
from tf_facegcn.imaging.bounding_box import BoundingBox
from tf_facegcn.imaging.drawing import Drawing
from tf_facegcn.prediction import FacePrediction

# Tip of the nose in the iBUG order.
_NOSE_TIP = 30

# Length of the pose's axes over the size of the landmarks' box.
_AXIS_LENGTH = 0.5

_JPEG_QUALITY = 92

# Photos below this longer side, in pixels, are enlarged by a whole factor:
# 68 dots cannot be told apart on a face of 20 pixels.
_SMALLEST_SIDE = 512


def draw_overlay(
    predictions: Sequence[FacePrediction], photo: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Draws mesh, landmarks, axes and box of each face on a photo.

    Args:
        predictions: The faces; the smallest are drawn first.
        photo: `(height, width, 3)` uint8, RGB; it is not changed.

    Returns:
        `(k * height, k * width, 3)` uint8, RGB; `k` is 1 unless the photo
        is smaller than 512 pixels.
    """
    enlargement = max(1, math.ceil(_SMALLEST_SIDE / max(photo.shape[:2])))
    drawing = Drawing(photo, enlargement)
    for prediction in sorted(predictions, key=lambda face: face.box.area):
        drawing.draw_mesh(prediction.vertices, prediction.faces)
        drawing.draw_box(prediction.box)
        landmarks = prediction.landmarks
        drawing.draw_landmarks(landmarks)
        # Rows: where the head's axes point, in photo axes (y down).
        directions = rotation_matrix(*prediction.pose).T * [1, -1, 1]
        size = BoundingBox.from_points(landmarks).size
        drawing.draw_axes(landmarks[_NOSE_TIP], directions, _AXIS_LENGTH * size)
    return drawing.pixels


def encode_overlay(
    predictions: Sequence[FacePrediction], photo: NDArray[np.uint8]
) -> bytes:
    """Encodes the overlay of a photo as JPEG, see `draw_overlay`."""
    pixels = draw_overlay(predictions, photo)
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    return cv2.imencode(".jpg", pixels[:, :, ::-1], quality)[1].tobytes()
