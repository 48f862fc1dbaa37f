"""The crop of a second look: around landmarks, and turned upright."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tf_facegcn.imaging.bounding_box import BoundingBox
from tf_facegcn.imaging.face_crop import FaceCrop

# Crops are turned by multiples of this many degrees: heads that lean less than
# half of it are cut as they are, and an exported graph finds the same crop. On
# photos of AFLW whose head leans by 15 degrees or more, steps of 15, 30 and 45
# degrees gain 0.09, 0.06 and 0.04 % of the face's size; see docs/training.md.
ROLL_STEP = 15


def upright_crop(
    landmarks: ArrayLike, template: ArrayLike, size: int
) -> FaceCrop:
    """Makes the crop around landmarks that shows the head upright.

    Args:
        landmarks: `(n, 2)` or `(n, 3)` float, those just predicted, in photo
            pixels.
        template: `(n, 2)` or `(n, 3)` float, the same landmarks of the mean
            head, seen from the front, y down, in any unit.
        size: Side of the crop, in crop pixels.

    Returns:
        A crop whose `roll` is a multiple of 15 degrees, the nearest to the
        head's. In its own axes it is the square of `landmarks_crop` around the
        tight box of the landmarks.
    """
    points = np.asarray(landmarks, np.float64)[:, :2]
    roll = nearest_roll(points, template)
    angle = math.radians(roll)
    cosine, sine = math.cos(angle), math.sin(angle)
    to_crop = np.array([[cosine, -sine], [sine, cosine]])
    box = BoundingBox.from_points(points @ to_crop.T).landmarks_crop()
    # Box edges lie half a pixel beside the coordinates of points.
    x, y = np.asarray(box.center) - 0.5
    center_x = cosine * x + sine * y + 0.5
    center_y = cosine * y - sine * x + 0.5
    half = 0.5 * box.width
    square = BoundingBox(
        center_x - half, center_y - half, center_x + half, center_y + half
    )
    return FaceCrop(square, size, roll)


def nearest_roll(landmarks: ArrayLike, template: ArrayLike) -> float:
    """Finds the multiple of 15 degrees that is nearest to a head's roll.

    Args:
        landmarks: As those of `upright_crop`.
        template: The same.

    Returns:
        Degrees, counter-clockwise as seen.
    """
    points = np.asarray(landmarks, np.float64)[:, :2]
    return float(ROLL_STEP * round(in_plane_roll(points, template) / ROLL_STEP))


def in_plane_roll(points: NDArray[np.float64], template: ArrayLike) -> float:
    """Finds by what angle the frontal template lies nearest to landmarks.

    Args:
        points: `(n, 2)` landmarks, y down.
        template: `(n, 2)` or `(n, 3)` the same of the mean head, y down.

    Returns:
        Degrees from -180 to 180, counter-clockwise as seen: the rotation of
        the best similarity (orthogonal Procrustes) in the image. Yaw and pitch
        shift it by some degrees at most.
    """
    reference = np.asarray(template, np.float64)[:, :2]
    reference = reference - reference.mean(axis=0)
    cosine = float((reference * points).sum())
    sine = float(
        (reference[:, 1] * points[:, 0] - reference[:, 0] * points[:, 1]).sum()
    )
    return math.degrees(math.atan2(sine, cosine))
