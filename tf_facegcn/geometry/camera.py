"""Scaled orthographic cameras: 3 x 4 matrices from model space to pixels.

A camera `M` maps a vertex of a model (x to the right, y up, z towards the
viewer) to pixels (x right, y down, z towards the viewer, same scale):

    pixels = vertices @ M[:, :3].T + M[:, 3]
    M[:, :3] = scale * diag(1, -1, 1) @ R
    R = Rz(roll) @ Ry(yaw) @ Rx(pitch)

Angles are in degrees and right-handed in the model's axes: yaw > 0 turns the
nose to the image's right, pitch > 0 turns it down, roll > 0 turns the face
counter-clockwise as the viewer sees it. All functions take any leading batch
dimensions, written `...`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Model space has y up, pixels have y down.
_FLIP_Y = np.array([1.0, -1.0, 1.0])

# Alternations of `fit_camera` on 2D targets: depth filled in from the camera,
# camera fitted to the filled-in targets. Each one lowers the error, and the
# start is the rotation nearest to the affine solution, so few are enough.
_DEPTH_ITERATIONS = 20

Array = NDArray[np.float64]


class CameraParameters(NamedTuple):
    """What a camera is composed of.

    Attributes:
        scale: `(...)` pixels per unit of model space, positive.
        yaw: `(...)` degrees, in [-180, 180].
        pitch: `(...)` degrees, in [-180, 180].
        roll: `(...)` degrees, in [-180, 180].
        translation: `(..., 3)` pixels.
    """

    scale: Array
    yaw: Array
    pitch: Array
    roll: Array
    translation: Array


def rotation_matrix(yaw: ArrayLike, pitch: ArrayLike, roll: ArrayLike) -> Array:
    """Computes `Rz(roll) @ Ry(yaw) @ Rx(pitch)`.

    Args:
        yaw: `(...)` rotation about y (up), degrees.
        pitch: `(...)` rotation about x (right), degrees.
        roll: `(...)` rotation about z (towards the viewer), degrees.

    Returns:
        `(..., 3, 3)` float64 rotations.

    Example:
        >>> nose = rotation_matrix(yaw=90, pitch=0, roll=0) @ [0, 0, 1]
        >>> nose.round(6).tolist()
        [1.0, 0.0, 0.0]
    """
    angles = np.broadcast_arrays(
        *(np.radians(np.asarray(a, np.float64)) for a in (yaw, pitch, roll))
    )
    (cy, cp, cr), (sy, sp, sr) = np.cos(angles), np.sin(angles)
    rows = [
        [cr * cy, cr * sy * sp - sr * cp, cr * sy * cp + sr * sp],
        [sr * cy, sr * sy * sp + cr * cp, sr * sy * cp - cr * sp],
        [-sy, cy * sp, cy * cp],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def compose_camera(
    scale: ArrayLike,
    yaw: ArrayLike,
    pitch: ArrayLike,
    roll: ArrayLike,
    translation: ArrayLike,
) -> Array:
    """Composes a camera of its scale, angles and translation.

    Args:
        scale: `(...)` pixels per unit of model space, positive.
        yaw: `(...)` degrees.
        pitch: `(...)` degrees.
        roll: `(...)` degrees.
        translation: `(..., 3)` where the model's origin lands, pixels.

    Returns:
        `(..., 3, 4)` float64 cameras.

    Raises:
        ValueError: If a scale is not positive.
    """
    scale = np.asarray(scale, np.float64)
    if not np.all(scale > 0):
        raise ValueError(
            f"The scale of a camera must be positive. Received: scale={scale}"
        )
    rotation = rotation_matrix(yaw, pitch, roll)
    linear = scale[..., None, None] * _FLIP_Y[:, None] * rotation
    translation = np.asarray(translation, np.float64)
    batch = np.broadcast_shapes(linear.shape[:-2], translation.shape[:-1])
    return np.concatenate(
        [
            np.broadcast_to(linear, (*batch, 3, 3)),
            np.broadcast_to(translation, (*batch, 3))[..., None],
        ],
        axis=-1,
    )


def decompose_camera(camera: ArrayLike) -> CameraParameters:
    """Takes a camera apart, the inverse of `compose_camera`.

    At a yaw of exactly 90 degrees pitch and roll turn about the same axis;
    then the roll is 0 and the pitch is their sum or difference.

    Args:
        camera: `(..., 3, 4)` cameras.

    Returns:
        `CameraParameters`: scale, yaw, pitch, roll and translation; yaw in
        [-90, 90].

    Raises:
        ValueError: If an array of another shape or a mirroring camera comes.
    """
    array = _checked_camera(camera)
    linear = _FLIP_Y[:, None] * array[..., :3]
    determinant = np.linalg.det(linear)
    if not np.all(determinant > 0):
        raise ValueError(
            "Expected cameras that turn and scale, not mirror: y flips once "
            f"from model space to pixels. Received: determinants "
            f"{determinant}"
        )
    scale = np.cbrt(determinant)
    rotation = linear / scale[..., None, None]
    yaw = np.arcsin(np.clip(-rotation[..., 2, 0], -1.0, 1.0))
    # cos(yaw) scales the two arguments of each arctan2 below.
    locked = np.hypot(rotation[..., 0, 0], rotation[..., 1, 0]) < 1e-9
    roll = np.where(
        locked, 0.0, np.arctan2(rotation[..., 1, 0], rotation[..., 0, 0])
    )
    pitch = np.where(
        locked,
        np.arctan2(-rotation[..., 1, 2], rotation[..., 1, 1]),
        np.arctan2(rotation[..., 2, 1], rotation[..., 2, 2]),
    )
    return CameraParameters(
        scale,
        np.degrees(yaw),
        np.degrees(pitch),
        np.degrees(roll),
        array[..., 3].copy(),
    )


def project(vertices: ArrayLike, camera: ArrayLike) -> Array:
    """Projects vertices to pixels.

    Args:
        vertices: `(..., V, 3)` in model space.
        camera: `(..., 3, 4)`.

    Returns:
        `(..., V, 3)` float64 pixels, z towards the viewer.

    Example:
        >>> camera = compose_camera(2.0, 0, 0, 0, [10, 20, 0])
        >>> project([[1.0, 1.0, 1.0]], camera).tolist()
        [[12.0, 18.0, 2.0]]
    """
    array = _checked_camera(camera)
    points = np.asarray(vertices, np.float64)
    return points @ np.swapaxes(array[..., :3], -1, -2) + array[..., None, :, 3]


def fit_camera(
    vertices: ArrayLike, targets: ArrayLike, weights: ArrayLike | None = None
) -> Array:
    """Fits the camera that projects vertices to targets, in least squares.

    For 3D targets this is the closed form of Umeyama (IEEE TPAMI 13(4), 1991).
    For 2D targets the missing depths are filled in from the camera and the
    closed form is repeated, starting at the rotation nearest to the affine
    solution; every step lowers the 2D error.

    Args:
        vertices: `(..., N, 3)` in model space, not all on one line.
        targets: `(..., N, 3)` or `(..., N, 2)` pixels.
        weights: `(..., N)` non-negative weights of the squared distances, or
            `None` for equal ones.

    Returns:
        `(..., 3, 4)` float64 cameras. The z translation of a camera fitted to
        2D targets puts the vertices' weighted mean at depth 0.

    Raises:
        ValueError: If the shapes do not fit or a batch element has no weight.

    Example:
        >>> camera = compose_camera(2.0, 30, -10, 5, [10, 20, 0])
        >>> points = np.random.default_rng(0).normal(size=(8, 3))
        >>> fitted = fit_camera(points, project(points, camera))
        >>> bool(np.allclose(fitted, camera))
        True
    """
    source = np.asarray(vertices, np.float64)
    target = np.asarray(targets, np.float64)
    if (
        source.ndim < 2
        or source.shape[-1] != 3
        or target.ndim < 2
        or target.shape[-1] not in (2, 3)
        or source.shape[-2] != target.shape[-2]
    ):
        raise ValueError(
            "Expected vertices (..., N, 3) and targets (..., N, 2) or "
            f"(..., N, 3). Received: vertices.shape={source.shape}, "
            f"targets.shape={target.shape}"
        )
    shares = _shares(weights, source.shape[-2])
    source_mean = shares @ source
    target_mean = shares @ target
    source = source - source_mean
    target = target - target_mean
    if target.shape[-1] == 3:
        linear = _umeyama(source, target, shares)
    else:
        linear = _fit_orthographic(source, target, shares)
    target_mean = target_mean[..., 0, :]
    if target_mean.shape[-1] == 2:
        target_mean = np.concatenate(
            [target_mean, np.zeros((*target_mean.shape[:-1], 1))], axis=-1
        )
    turned = (linear @ np.swapaxes(source_mean, -1, -2))[..., 0]
    translation = target_mean - turned
    return np.concatenate([linear, translation[..., None]], axis=-1)


def _checked_camera(camera: ArrayLike) -> Array:
    array = np.asarray(camera, np.float64)
    if array.ndim < 2 or array.shape[-2:] != (3, 4):
        raise ValueError(
            "A camera has shape (..., 3, 4). Received: "
            f"camera.shape={array.shape}"
        )
    return array


def _shares(weights: ArrayLike | None, num_points: int) -> Array:
    """`(..., 1, N)` weights that sum to 1."""
    if weights is None:
        return np.full((1, num_points), 1.0 / num_points)
    array = np.asarray(weights, np.float64)
    total = array.sum(axis=-1, keepdims=True)
    if array.shape[-1] != num_points or not np.all(total > 0):
        raise ValueError(
            f"Expected weights (..., {num_points}), not all zero. Received: "
            f"weights.shape={array.shape}, smallest sum "
            f"{total.min() if total.size else 0}"
        )
    return (array / total)[..., None, :]


def _umeyama(source: Array, target: Array, shares: Array) -> Array:
    """`(..., 3, 3)` camera part for centred 3D targets."""
    covariance = np.swapaxes(_FLIP_Y * target, -1, -2) @ (
        np.swapaxes(shares, -1, -2) * source
    )
    left, strengths, right = np.linalg.svd(covariance)
    # A rotation, not a mirror: turn the weakest axis if need be.
    sign = np.ones_like(strengths)
    sign[..., 2] = np.sign(np.linalg.det(left) * np.linalg.det(right))
    rotation = (left * sign[..., None, :]) @ right
    spread = (shares @ np.sum(source**2, axis=-1, keepdims=True))[..., 0, 0]
    scale = (strengths * sign).sum(axis=-1) / spread
    return scale[..., None, None] * _FLIP_Y[:, None] * rotation


def _fit_orthographic(source: Array, target: Array, shares: Array) -> Array:
    """`(..., 3, 3)` camera part for centred 2D targets."""
    weighted = np.swapaxes(shares, -1, -2) * source
    affine = (np.swapaxes(target, -1, -2) @ weighted) @ np.linalg.pinv(
        np.swapaxes(source, -1, -2) @ weighted
    )
    left, strengths, right = np.linalg.svd(affine, full_matrices=False)
    rows = left @ right
    # The third row of a camera that flips y is -(first x second).
    third = -np.cross(rows[..., 0, :], rows[..., 1, :])
    linear = strengths.mean(axis=-1)[..., None, None] * np.concatenate(
        [rows, third[..., None, :]], axis=-2
    )
    for _ in range(_DEPTH_ITERATIONS):
        depth = source @ np.swapaxes(linear[..., 2:, :], -1, -2)
        target_3d = np.concatenate(
            [np.broadcast_to(target, (*depth.shape[:-1], 2)), depth], axis=-1
        )
        linear = _umeyama(source, target_3d, shares)
    return linear
