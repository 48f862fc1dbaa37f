"""Fits a morphable model to the landmarks of many photos at once.

Levenberg-damped Gauss-Newton on all unknowns of a photo (pose, identity,
expression) with Gaussian priors; the photos are independent of each other and
go through the linear algebra in batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from keras import ops
from numpy.typing import NDArray

from tf_facegcn.geometry.camera import fit_camera, project
from training.scores import without_mean_depth

Floats = NDArray[np.float64]

# Landmarks of the visible contour. The teacher's and the model's slide along
# it: what "the third point of the jaw" is, is seen least of all.
CONTOUR = slice(0, 17)

_FLIP_Y = np.array([1.0, -1.0, 1.0])
_POSE = 6  # Three rotations, scale, shift x, shift y.
_BATCH = 1000


@dataclass(frozen=True)
class FittingWeights:
    """How much each residual of the fit counts; points are in crop units.

    Attributes:
        scatter: Standard deviation of a landmark's position that the fit need
            not explain, in crop units; the prior's strength against it.
        depth: Weight of a depth residual over one in the picture: depths are
            the teacher's alone, no person has seen them.
        contour_along: Weight of a contour point's residual along the contour.
        contour_across: The same across the contour.
        shape_prior: Weight of the identity parameters' N(0, 1) prior.
        expression_prior: The same of the expression parameters, whose usual
            range is 0 to 1.
        negative_expression: Additional weight where they are below 0.
        iterations: Gauss-Newton steps.
    """

    scatter: float = 2.0
    depth: float = 0.3
    contour_along: float = 0.1
    contour_across: float = 0.7
    shape_prior: float = 1.0
    expression_prior: float = 4.0
    negative_expression: float = 50.0
    iterations: int = 5


class LandmarkModel(NamedTuple):
    """The 68 landmarks of a morphable model, in its axes and units.

    Attributes:
        mean: `(68, 3)`.
        basis: `(68, 3, S + E)`: identity, then expression.
        num_shapes: `S`.
    """

    mean: Floats
    basis: Floats
    num_shapes: int

    def landmarks(self, parameters: Floats) -> Floats:
        """Computes `(..., 68, 3)` landmarks of `(..., S + E)` parameters."""
        flat = parameters @ self.basis.reshape(-1, self.basis.shape[-1]).T
        return self.mean + flat.reshape(*parameters.shape[:-1], -1, 3)


class LandmarkFit(NamedTuple):
    """The result of `fit_landmarks`.

    Attributes:
        cameras: `(n, 3, 4)` from model space to crop units.
        parameters: `(n, S + E)`.
        residuals: `(n, 68, 3)` targets less fitted landmarks, crop units, z
            relative to the mean depth.
    """

    cameras: Floats
    parameters: Floats
    residuals: Floats


def fit_landmarks(
    model: LandmarkModel, targets: Floats, weights: FittingWeights
) -> LandmarkFit:
    """Fits a model's pose, identity and expression to landmarks.

    Args:
        model: The model's landmarks.
        targets: `(n, 68, 3)` crop units, z towards the viewer, any offset.
        weights: What counts how much.
    """
    parts = [
        _fit_batch(model, targets[start : start + _BATCH], weights)
        for start in range(0, len(targets), _BATCH)
    ]
    return LandmarkFit(
        *(np.concatenate(field) for field in zip(*parts, strict=True))
    )


def _fit_batch(
    model: LandmarkModel, targets: Floats, weights: FittingWeights
) -> LandmarkFit:
    count, num_parameters = len(targets), model.basis.shape[-1]
    parameters = np.zeros((count, num_parameters))
    cameras = fit_camera(model.mean, targets)
    rooted = _rooted_weights(targets, weights)
    prior = np.full(num_parameters, weights.expression_prior)
    prior[: model.num_shapes] = weights.shape_prior
    for _ in range(weights.iterations):
        landmarks = model.landmarks(parameters)
        # Steps are corrected by the next one, so single precision will do.
        jacobian = _jacobian(model, landmarks, cameras)
        residuals = without_mean_depth(targets - project(landmarks, cameras))
        jacobian = _weighted(rooted, jacobian)
        weighted = _weighted(rooted, residuals[..., None].astype(np.float32))
        transposed = jacobian.transpose(0, 2, 1)
        normal = _multiply(transposed, jacobian)
        right = _multiply(transposed, weighted)[..., 0]
        extra = np.zeros((count, num_parameters))
        extra[:, model.num_shapes :] = np.where(
            parameters[:, model.num_shapes :] < 0,
            weights.negative_expression,
            0.0,
        )
        strength = (prior + extra).astype(np.float32)
        diagonal = np.arange(_POSE, _POSE + num_parameters)
        normal[:, diagonal, diagonal] += strength
        right[:, _POSE:] -= (strength * parameters).astype(np.float32)
        pose = np.arange(_POSE)
        normal[:, pose, pose] *= 1 + 1e-6
        step = _solve(normal, right)
        parameters = parameters + step[:, _POSE:]
        cameras = _moved(cameras, step[:, :_POSE])
    difference = targets - project(model.landmarks(parameters), cameras)
    cameras[:, 2, 3] += difference[..., 2].mean(axis=1)
    return LandmarkFit(cameras, parameters, without_mean_depth(difference))


def _solve(normal: NDArray[np.float32], right: NDArray[np.float32]) -> Floats:
    """Solves `(n, k, k)` positive definite systems.

    By Keras' backend, which divides the systems among threads; NumPy's threads
    wait for each other inside every one of these small systems.
    """
    diagonal = np.arange(normal.shape[-1])
    scales = 1 / np.sqrt(normal[:, diagonal, diagonal])
    scaled = normal * scales[:, :, None] * scales[:, None]
    lower = ops.cholesky(scaled)
    halfway = ops.solve_triangular(
        lower, (scales * right)[..., None], lower=True
    )
    solved = ops.solve_triangular(ops.transpose(lower, (0, 2, 1)), halfway)
    found = ops.convert_to_numpy(solved)[..., 0]
    return np.asarray(found * scales, np.float64)


def _multiply(
    first: NDArray[np.float32], second: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Products of stacks of matrices, by Keras' backend."""
    # A copy, as what the backend gives may be read-only.
    return np.array(ops.convert_to_numpy(ops.matmul(first, second)))


def _rooted_weights(
    targets: Floats, weights: FittingWeights
) -> NDArray[np.float32]:
    """`(n, 68, 3, 3)` square roots of the weight matrices of the residuals."""
    roots = np.zeros((*targets.shape[:2], 3, 3))
    roots[..., 0, 0] = roots[..., 1, 1] = 1.0
    roots[..., 2, 2] = np.sqrt(weights.depth)
    contour = targets[:, CONTOUR, :2]
    along = np.gradient(contour, axis=1)
    along /= np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-6)
    across = np.stack([-along[..., 1], along[..., 0]], axis=-1)
    roots[:, CONTOUR, 0, :2] = np.sqrt(weights.contour_along) * along
    roots[:, CONTOUR, 1, :2] = np.sqrt(weights.contour_across) * across
    roots[:, CONTOUR, 2, 2] *= np.sqrt(weights.contour_along)
    return (roots / weights.scatter).astype(np.float32)


def _weighted(
    rooted: NDArray[np.float32], values: NDArray[np.float32]
) -> NDArray[np.float32]:
    """`(n, 68, 3, 3)` times `(n, 68, 3, k)`, as `(n, 204, k)`."""
    product = _multiply(rooted, values)
    return product.reshape(len(product), -1, product.shape[-1])


def _jacobian(
    model: LandmarkModel, landmarks: Floats, cameras: Floats
) -> NDArray[np.float32]:
    """`(n, 68, 3, 6 + S + E)`: how the projections move with the unknowns.

    The mean depth does not depend on them: it is taken off.
    """
    linear = cameras[..., :3]
    turned = landmarks @ np.swapaxes(linear, 1, 2)
    x, y, z = np.moveaxis(turned, -1, 0)
    zero, one = np.zeros_like(x), np.ones_like(x)
    # Rotations about the picture's axes, in pixels (y down).
    columns = [
        [zero, -z, y],
        [z, zero, -x],
        [-y, x, zero],
        [x, y, z],
        [one, zero, zero],
        [zero, one, zero],
    ]
    pose = np.stack([np.stack(c, axis=-1) for c in columns], axis=-1)
    # (n, 3, 3) times (3, 68 (S + E)), one product for all landmarks.
    basis = model.basis.transpose(1, 0, 2)
    flat = linear.reshape(-1, 3) @ basis.reshape(3, -1)
    moved = flat.reshape(len(linear), *basis.shape).transpose(0, 2, 1, 3)
    jacobian = np.concatenate([pose, moved], axis=-1, dtype=np.float32)
    jacobian[..., 2, :] -= jacobian[..., 2, :].mean(axis=1, keepdims=True)
    return jacobian


def _moved(cameras: Floats, step: Floats) -> Floats:
    """Cameras after a step of rotation vector, log scale and shift."""
    linear = _rotations(step[:, :3]) @ cameras[..., :3]
    linear *= np.exp(np.clip(step[:, 3], -0.3, 0.3))[:, None, None]
    translation = cameras[..., 3].copy()
    translation[:, :2] += step[:, 4:6]
    return np.concatenate([linear, translation[..., None]], axis=-1)


def _rotations(vectors: Floats) -> Floats:
    """Rodrigues' formula for `(n, 3)` rotation vectors in radians."""
    angle = np.linalg.norm(vectors, axis=-1)
    limited = np.minimum(angle, 0.5)
    axis = vectors / np.maximum(angle, 1e-12)[:, None]
    cross = np.zeros((len(vectors), 3, 3))
    cross[:, 0, 1], cross[:, 0, 2] = -axis[:, 2], axis[:, 1]
    cross[:, 1, 0], cross[:, 1, 2] = axis[:, 2], -axis[:, 0]
    cross[:, 2, 0], cross[:, 2, 1] = -axis[:, 1], axis[:, 0]
    sine = np.sin(limited)[:, None, None]
    cosine = np.cos(limited)[:, None, None]
    return np.eye(3) + sine * cross + (1 - cosine) * (cross @ cross)
