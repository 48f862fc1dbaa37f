"""Keeps landmarks to the convention of a teacher at every yaw.

Where a landmark is, people and methods define differently, and the difference
depends on how far the head is turned. A correction by human points, and a
network that learnt from it, drift that way; jaw and cheek, for which there are
no human points, drift with the rest. What is systematic is the convention, and
what differs from photo to photo is error: only the latter is to be corrected.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tf_facegcn.geometry.camera import decompose_camera, fit_camera
from training.data.landmark_mirror import LANDMARK_MIRROR

Floats = NDArray[np.float64]

# Degree of the polynomial of the yaw: the drift bends once or twice from
# profile to profile, mirrored.
_DEGREE = 6

# Beyond this distance, in shares of the face's size, a photo counts less and
# less: about twice the usual difference between two teachers.
_ROBUST_DISTANCE = 0.05

_ROUNDS = 4


def in_convention_of(
    teacher: Floats, landmarks: Floats, reference: Floats
) -> Floats:
    """Takes off what landmarks differ from a teacher's on average, by yaw.

    Args:
        teacher: `(n, 68, 3)` landmarks that define the convention, pixels, z
            towards the viewer.
        landmarks: `(n, 68, 3)` other landmarks of the same photos; n should
            be hundreds at least.
        reference: `(68, 3)` landmarks of any mean face in model axes, from
            which each photo's head pose is estimated.

    Returns:
        `(n, 68, 3)` moved landmarks: their mean difference from the teacher's
        in the head's upright image axes, a polynomial of the yaw that is the
        same for both sides of the face, is zero. Depths keep their mean.
    """
    cameras = fit_camera(reference, teacher)
    yaw = decompose_camera(cameras).yaw
    extent = np.ptp(teacher[..., :2], axis=1)
    size = np.sqrt(extent.prod(axis=1))[:, None, None]
    upright = _turns(_tilts(cameras))
    difference = (landmarks - teacher) / size @ np.swapaxes(upright, 1, 2)
    depth = difference[..., 2].mean(axis=1)
    difference[..., 2] -= depth[:, None]

    # Every photo and its mirror image.
    flipped = difference[:, LANDMARK_MIRROR] * [-1.0, 1.0, 1.0]
    both = np.concatenate([difference, flipped])
    both_yaws = np.concatenate([yaw, -yaw])
    powers = np.polynomial.legendre.legvander(both_yaws / 90, _DEGREE)
    flat = both.reshape(len(both), -1)
    mean = np.zeros_like(flat)
    for _ in range(_ROUNDS):
        distance = np.linalg.norm((flat - mean).reshape(both.shape), axis=-1)
        weights = 1 / (1 + (distance.mean(axis=1) / _ROBUST_DISTANCE) ** 2)
        weighted = powers * weights[:, None]
        coefficients = np.linalg.solve(weighted.T @ powers, weighted.T @ flat)
        mean = powers @ coefficients
    drift = mean[: len(teacher)].reshape(teacher.shape)
    return landmarks - drift @ upright * size


def _tilts(cameras: Floats) -> Floats:
    """`(n,)` angles of the heads' up axes in the image, degrees.

    Counter-clockwise, 0 for up. Where the pitch is 0 this is the roll. In
    profile the roll is no use: it turns about the same axis as the pitch.
    """
    x, y = cameras[:, 0, 1], cameras[:, 1, 1]
    return np.degrees(np.arctan2(-x, -y))


def _turns(tilt: Floats) -> Floats:
    """`(n, 3, 3)` rotations of the image that take a tilt off."""
    # Counter-clockwise tilt, but y down: turned back by the same sign.
    cosine, sine = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
    turns = np.zeros((len(tilt), 3, 3))
    turns[:, 0, 0] = turns[:, 1, 1] = cosine
    turns[:, 0, 1], turns[:, 1, 0] = -sine, sine
    turns[:, 2, 2] = 1
    return turns
