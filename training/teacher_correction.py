"""Corrects a teacher's landmarks by the few points that a person annotated.

The teacher's 68 points are complete and consistent in 3D, but its errors are
large and correlated: often the whole face, or half of it, is shifted. The
human points are few and reliable where visible, but their definition differs
(the side of the nose is not the base of the nostril). So:

1. the constant part of the difference, an offset of each human point in the
   head's own axes, is estimated over all photos and taken off the human points;
2. what remains is explained photo by photo by an affine map of the teacher's
   points, held near the identity by a ridge and robust against single wrong
   points.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tf_facegcn.geometry.camera import fit_camera
from training.data.aflw_crops import HUMAN_POINT_GROUPS

Floats = NDArray[np.float64]

# Human points that are not used: the annotated ear lobes are no points of the
# 68, whose contour runs in front of the ears.
UNUSED_POINTS = (12, 16)
CHIN = 20

# Reliability of a human point, as a share; people place the chin loosely.
_CHIN_WEIGHT = 0.3

# Beyond this distance (crop units) a human point counts less and less: about
# twice the usual scatter of the annotation.
ROBUST_DISTANCE = 8.0

_ROUNDS = 6

# As so many human points without it, a shift in the image is held at zero.
_SHIFT_PRIOR = 50.0

# The 21 human points' mirror images among themselves.
HUMAN_MIRROR = (
    *(5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6),  # Brows and eyes.
    *(16, 15, 14, 13, 12),  # Ears and nose.
    *(19, 18, 17, 20),  # Mouth and chin.
)


class Ridge(NamedTuple):
    """How firmly the teacher's points are held, in human points.

    Attributes:
        shift: How many exact human points it takes to turn half of a shift
            into a correction.
        linear: The same of a linear change of the points' usual spread.
    """

    shift: float
    linear: float


# A teacher that errs more than people do.
TEACHER_RIDGE = Ridge(shift=0.3, linear=1.5)


class Correction(NamedTuple):
    """What `correct_teacher` found.

    Attributes:
        landmarks: `(n, 68, 3)` corrected landmarks, the units of the input.
        human_targets: `(n, 21, 2)` human points without their constant
            offsets, NaN where not visible or not used.
        offsets: `(21, 3)` constant offset of each human point from the mean
            of its landmarks, in the head's axes (x to the right of the image,
            y up, z towards the viewer), in the units of the reference.
        distance_before: `(n,)` mean distance from the human targets.
        distance_after: `(n,)` the same after the correction.
    """

    landmarks: Floats
    human_targets: Floats
    offsets: Floats
    distance_before: Floats
    distance_after: Floats


def human_point_matrix() -> Floats:
    """Returns the `(21, 68)` means of landmarks that the human points are."""
    matrix = np.zeros((len(HUMAN_POINT_GROUPS), 68))
    for row, group in enumerate(HUMAN_POINT_GROUPS):
        matrix[row, list(group)] = 1 / len(group)
    return matrix


def correct_teacher(
    teacher_landmarks: Floats,
    human_points: Floats,
    reference: Floats,
    ridge: Ridge = TEACHER_RIDGE,
) -> Correction:
    """Moves a teacher's landmarks towards the human points.

    Args:
        teacher_landmarks: `(n, 68, 3)` pixels, z towards the viewer.
        human_points: `(n, 21, 2)` pixels, NaN where not visible.
        reference: `(68, 3)` landmarks of any mean face in model axes, from
            which each photo's head pose is estimated.
        ridge: How firmly the teacher's points are held.

    Returns:
        The `Correction`. Depths are scaled with the face and not moved.
    """
    points = human_point_matrix() @ teacher_landmarks
    weights = np.array(np.isfinite(human_points).all(axis=-1), np.float64)
    weights[:, list(UNUSED_POINTS)] = 0
    weights[:, CHIN] *= _CHIN_WEIGHT
    human = np.where(weights[..., None] > 0, human_points, 0.0)
    cameras = fit_camera(reference, teacher_landmarks)[..., :2, :3]
    offsets, _ = constant_offsets(human - points[..., :2], weights, cameras)
    human = human - np.einsum("nij,kj->nki", cameras, offsets)
    before = _mean_distance(human - points[..., :2], weights)

    center = teacher_landmarks[..., :2].mean(axis=1, keepdims=True)
    spread = np.sqrt(
        np.mean((teacher_landmarks[..., :2] - center) ** 2, axis=(1, 2))
    )[:, None, None]
    source = (points[..., :2] - center) / spread
    design = np.concatenate([np.ones_like(source[..., :1]), source], axis=-1)
    hold = np.diag([ridge.shift, ridge.linear, ridge.linear])
    difference = human - points[..., :2]
    affine = np.zeros((len(human), 3, 2))
    for _ in range(_ROUNDS):
        remaining = difference - design @ affine
        distance = np.linalg.norm(remaining, axis=-1)
        robust = weights / (1 + (distance / ROBUST_DISTANCE) ** 2)
        weighted = np.swapaxes(design * robust[..., None], 1, 2)
        affine = np.linalg.solve(
            weighted @ design + hold, weighted @ difference
        )

    landmarks = teacher_landmarks.copy()
    relative = (landmarks[..., :2] - center) / spread
    landmarks[..., :2] += affine[:, :1] + relative @ affine[:, 1:]
    change = np.eye(2) + affine[:, 1:] / spread
    landmarks[..., 2] *= np.sqrt(np.abs(np.linalg.det(change)))[:, None]
    corrected = human_point_matrix() @ landmarks[..., :2]
    after = _mean_distance(human - corrected, weights)
    human = np.where(weights[..., None] > 0, human, np.nan)
    return Correction(landmarks, human, offsets, before, after)


def constant_offsets(
    differences: Floats,
    weights: Floats,
    cameras: Floats,
    has_shift: bool = False,
) -> tuple[Floats, Floats]:
    """Explains differences of human points by constant offsets, robustly.

    Args:
        differences: `(n, 21, 2)` from the teacher's points, pixels.
        weights: `(n, 21)`, 0 where there is no human point, else positive.
        cameras: `(n, 2, 3)` from the head's axes to pixels.
        has_shift: Whether there is a constant shift in the image besides.

    Returns:
        `(21, 3)` offsets in the head's axes, those of a point and its mirror
        image alike, and the `(2,)` shift in pixels, zero without one.
    """
    mirror = np.array(HUMAN_MIRROR)
    flip = np.array([-1.0, 1.0, 1.0])
    visible = (weights > 0).astype(np.float64)
    offsets, shift = np.zeros((len(mirror), 3)), np.zeros(2)
    for _ in range(_ROUNDS):
        remaining = differences - np.einsum("nij,kj->nki", cameras, offsets)
        distance = np.linalg.norm(remaining - shift, axis=-1)
        share = visible / (1 + (distance / ROBUST_DISTANCE) ** 2)
        if has_shift:
            total = np.einsum("nk,nki->i", share, remaining)
            shift = total / (share.sum() + _SHIFT_PRIOR)
        shifted = differences - shift
        normal = np.einsum("nk,nij,nil->kjl", share, cameras, cameras)
        right = np.einsum("nk,nij,nki->kj", share, cameras, shifted)
        # A point and its mirror image share one unknown.
        normal = normal + flip[:, None] * normal[mirror] * flip
        right = right + flip * right[mirror]
        # Also of points that nobody annotated.
        floor = 1e-6 * np.trace(normal.sum(axis=0)) + 1e-9
        normal += floor * np.eye(3)
        offsets = np.linalg.solve(normal, right[..., None])[..., 0]
    return offsets, shift


def _mean_distance(differences: Floats, weights: Floats) -> Floats:
    distance = np.linalg.norm(differences, axis=-1)
    total = weights.sum(axis=-1)
    return np.sum(distance * weights, axis=-1) / np.where(total > 0, total, 1)
