"""The crop of a second look: around landmarks, and turned upright."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tf_facegcn.imaging.bounding_box import BoundingBox
from tf_facegcn.imaging.face_crop import FaceCrop

# Heads that lean less are cut as they are: networks see rolls of as much in
# training, and turning them gains next to nothing. Others are turned by the
# nearest multiple of the step, so that an exported graph finds the same crop,
# but for heads halfway between two. Both as measured on photos of AFLW, see
# docs/training.md, "Heads that lean".
LEAST_LEAN = 30
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
        head's lean in the image, see `nearest_roll`. In its own axes it is
        the square of `landmarks_crop` around the tight box of the landmarks.
    """
    points = np.asarray(landmarks, np.float64)[:, :2]
    roll = nearest_roll(points, template)
    angle = math.radians(roll)
    cosine, sine = math.cos(angle), math.sin(angle)
    # Written out, as the exported graph has it: `@` may round differently.
    turned = np.stack(
        [
            cosine * points[:, 0] - sine * points[:, 1],
            sine * points[:, 0] + cosine * points[:, 1],
        ],
        axis=-1,
    )
    box = BoundingBox.from_points(turned).landmarks_crop()
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
    """Finds by how much a crop has to be turned for a head that leans.

    Args:
        landmarks: As those of `upright_crop`.
        template: The same.

    Returns:
        Degrees, counter-clockwise as seen: the multiple of 15 that is nearest
        to `in_plane_roll`; 0 where that is less than 30.
    """
    points = np.asarray(landmarks, np.float64)[:, :2]
    lean = in_plane_roll(points, template)
    if abs(lean) < LEAST_LEAN:
        return 0.0
    return float(ROLL_STEP * round(lean / ROLL_STEP))


def in_plane_roll(points: NDArray[np.float64], template: ArrayLike) -> float:
    """Finds by what angle the frontal template lies nearest to landmarks.

    Args:
        points: `(n, 2)` landmarks, y down.
        template: `(n, 2)` or `(n, 3)` the same of the mean head, y down.

    Returns:
        Degrees from -180 to 180, counter-clockwise as seen: the rotation of
        the best similarity (orthogonal Procrustes) in the image, which is how
        a head leans there. That is its roll only where it looks at the viewer:
        in profile, where a head nods in the image's plane, it is roll and
        pitch together. Yaw alone shifts it by 6 degrees at most.
    """
    reference = np.asarray(template, np.float64)[:, :2]
    reference = reference - reference.mean(axis=0)
    cosine = float((reference * points).sum())
    sine = float(
        (reference[:, 1] * points[:, 0] - reference[:, 0] * points[:, 1]).sum()
    )
    return math.degrees(math.atan2(sine, cosine))
