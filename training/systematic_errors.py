"""What human points and a teacher are off by on average.

Two errors are the same in all photos, so that neither a correction photo by
photo nor a network that is trained on its results can find them:

- The human points are shifted in the image, by half a pixel of a crop: their
  pixels begin elsewhere. Turned by the roll of a head, or mirrored, the shift
  is another, so it is no difference of definition in the head's own axes.
- The teacher turns heads further than they are, or less far, depending on how
  far they are turned.

Both are found from what the human points differ from the teacher's.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tf_facegcn.geometry.camera import (
    decompose_camera,
    fit_camera,
    rotation_matrix,
)
from training.teacher_correction import (
    CHIN,
    ROBUST_DISTANCE,
    UNUSED_POINTS,
    constant_offsets,
    human_point_matrix,
)

Floats = NDArray[np.float64]

# Absolute yaws at which a turn is found, degrees; between them it is linear,
# and it is zero at 0 and at 90. In profile, people mark the outline for the
# middle of the face: another definition, and no turn.
TURN_YAWS = (15.0, 30.0, 45.0, 60.0, 75.0)

# The chin, which people place loosely, says nothing of a turn.
_UNUSED_POINTS = (*UNUSED_POINTS, CHIN)

# Fewer human points fit any turn.
_MIN_POINTS = 5

_ROUNDS = 6
_ROBUST_ROUNDS = 4

# Turns are held at zero as firmly as 100 points would that move by a unit a
# degree, so that few photos find none; thousands overrule it.
_PRIOR = 100.0

# Degrees of the difference quotient.
_STEP = 0.5


class SystematicErrors(NamedTuple):
    """What is off in all photos.

    Attributes:
        image_shift: `(2,)` how far the human points lie to the right and
            below, in the units of the landmarks.
        turns: `(5,)` by how many degrees the teacher turns heads too far, at
            `TURN_YAWS`; negative where it does not turn them far enough.
    """

    image_shift: Floats
    turns: Floats


def find_systematic_errors(
    teacher: Floats, human_points: Floats, reference: Floats
) -> SystematicErrors:
    """Finds what the human points and a teacher are off by on average.

    Args:
        teacher: `(n, 68, 3)` landmarks, pixels, z towards the viewer; n should
            be thousands, at all yaws.
        human_points: `(n, 21, 2)` pixels, NaN where not visible.
        reference: `(68, 3)` landmarks of any mean face in model axes, from
            which each photo's head pose is estimated.
    """
    visible = np.array(np.isfinite(human_points).all(axis=-1), np.float64)
    visible[:, list(_UNUSED_POINTS)] = 0
    human = np.where(visible[..., None] > 0, human_points, 0.0)
    usable = visible * (visible.sum(axis=1, keepdims=True) >= _MIN_POINTS)
    hats = _hats(reference, teacher)
    matrix = human_point_matrix()
    shift, turns = np.zeros(2), np.zeros(len(TURN_YAWS))
    for _ in range(_ROUNDS):
        landmarks, cameras = _turned(teacher, reference, -hats @ turns)
        points = (matrix @ landmarks)[..., :2]
        difference = human - points
        offsets, shift = constant_offsets(
            difference, visible, cameras, has_shift=True
        )
        difference -= np.einsum("nij,kj->nki", cameras, offsets) + shift
        further, _ = _turned(teacher, reference, -hats @ turns - _STEP)
        effect = ((matrix @ further)[..., :2] - points) / _STEP
        squares, products = _explained(difference, effect, points, usable)
        normal = (hats.T * squares) @ hats + _PRIOR * np.eye(len(turns))
        turns += np.linalg.solve(normal, hats.T @ products - _PRIOR * turns)
    return SystematicErrors(shift, turns)


def turned_back(teacher: Floats, reference: Floats, turns: Floats) -> Floats:
    """Turns a teacher's landmarks back by what it turns heads too far.

    Args:
        teacher: `(n, 68, 3)` landmarks, pixels, z towards the viewer.
        reference: As of `find_systematic_errors`.
        turns: `(5,)` degrees at `TURN_YAWS`.

    Returns:
        `(n, 68, 3)`, turned about each head's own up axis; the mean of its
        landmarks stays.
    """
    hats = _hats(reference, teacher)
    return _turned(teacher, reference, -hats @ turns)[0]


def _hats(reference: Floats, landmarks: Floats) -> Floats:
    """`(n, 5)` weights of the turns, with the sign of the yaw."""
    yaw = decompose_camera(fit_camera(reference, landmarks)).yaw
    nodes = np.array([0.0, *TURN_YAWS, 90.0])
    columns = [
        np.interp(np.abs(yaw), nodes, values) for values in np.eye(len(nodes))
    ]
    return np.stack(columns[1:-1], axis=1) * np.sign(yaw)[:, None]


def _turned(
    landmarks: Floats, reference: Floats, degrees: Floats
) -> tuple[Floats, Floats]:
    """Landmarks turned to the image's right, and `(n, 2, 3)` cameras."""
    cameras = fit_camera(reference, landmarks)[..., :3]
    turned = cameras @ rotation_matrix(degrees, 0.0 * degrees, 0.0 * degrees)
    rotations = turned @ np.linalg.inv(cameras)
    mean = landmarks.mean(axis=1, keepdims=True)
    moved = mean + (landmarks - mean) @ np.swapaxes(rotations, 1, 2)
    return moved, turned[:, :2]


def _explained(
    difference: Floats, effect: Floats, points: Floats, usable: Floats
) -> tuple[Floats, Floats]:
    """`(n,)` squares of an effect, and its products with a difference.

    A shift and a scale of each photo, which turn nothing, are taken off both;
    single wrong points count less.
    """
    weights = usable
    for _ in range(_ROBUST_ROUNDS):
        distance = np.linalg.norm(
            _without_shift_and_scale(difference, points, weights), axis=-1
        )
        weights = usable / (1 + (distance / ROBUST_DISTANCE) ** 2)
    left, moved = (
        _without_shift_and_scale(values, points, weights)
        for values in (difference, effect)
    )
    weighted = weights[..., None] * moved
    return (weighted * moved).sum((1, 2)), (weighted * left).sum((1, 2))


def _without_shift_and_scale(
    values: Floats, points: Floats, weights: Floats
) -> Floats:
    def centered(array: Floats) -> Floats:
        total = np.maximum(weights.sum(axis=1), 1e-9)
        mean = np.einsum("nk,nki->ni", weights, array) / total[:, None]
        return array - mean[:, None]

    values, points = centered(values), centered(points)
    products = np.einsum("nk,nki,nki->n", weights, points, values)
    squares = np.einsum("nk,nki,nki->n", weights, points, points)
    scale = products / np.maximum(squares, 1e-9)
    return values - scale[:, None, None] * points
