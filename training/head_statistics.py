"""Statistics of a population of heads: alignment and principal components."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Alignment to the mean and the mean itself are computed in turn.
_ALIGNMENT_ROUNDS = 3

Array = NDArray[np.float64]


def align_to_mean(heads: Array, weights: Array, reference: Array) -> Array:
    """Removes position, rotation and scale from heads.

    Scale goes, too, because the camera of a photo carries it.

    Args:
        heads: `(n, C, 3)` vertices.
        weights: `(C,)` weights of the vertices in the alignment.
        reference: `(C, 3)` vertices that fix position, rotation and scale of
            the result.

    Returns:
        `(n, C, 3)` aligned heads, in the frame and size of `reference`.
    """
    share = weights / weights.sum()
    aligned = heads
    target = reference
    for _ in range(_ALIGNMENT_ROUNDS):
        aligned = np.stack(
            [_similarity_aligned(head, target, share) for head in heads]
        )
        target = _similarity_aligned(aligned.mean(axis=0), reference, share)
    return aligned


def principal_components(
    samples: Array,
    weights: Array,
    mirror: NDArray[np.int64],
    num_components: int,
) -> tuple[Array, Array, Array]:
    """Computes weighted principal components of heads and their mirror images.

    With each head its mirror image counts. The covariance then falls apart
    into that of the symmetric and that of the asymmetric parts: the mean is
    its own mirror image, and a component is its own mirror image or the
    opposite of it.

    Args:
        samples: `(n, C, 3)` aligned vertices.
        weights: `(C,)` weights: what a vertex's variance counts; equal for a
            vertex and its mirror image.
        mirror: `(C,)` the vertex that mirrors each in the plane x = 0.
        num_components: Number of components.

    Returns:
        `(C, 3)` mean, `(C, 3, num_components)` basis of unit-variance
        components (each is the displacement by one standard deviation, its
        largest entry positive), and the share of the weighted variance that
        each component explains.
    """
    flip = np.array([-1.0, 1.0, 1.0])
    mean = samples.mean(axis=0)
    mean = (mean + mean[mirror] * flip) / 2
    deviations = samples - mean
    mirrored = deviations[:, mirror] * flip
    values, bases = [], []
    for side in (1.0, -1.0):
        part = (deviations + side * mirrored) / 2
        part_values, basis = _components(part, weights, num_components)
        bases.append((basis + side * basis[mirror] * flip[:, None]) / 2)
        values.append(part_values)
    total = sum(part.sum() for part in values)
    leading = np.concatenate([part[:num_components] for part in values])
    order = np.argsort(-leading, kind="stable")[:num_components]
    basis = np.concatenate(bases, axis=-1)[..., order]
    flat = basis.reshape(-1, len(order))
    # Rounded, so that the sign is not decided between equal mirror images.
    largest = np.abs(flat).round(6).argmax(axis=0)
    signs = np.sign(flat[largest, range(len(order))])
    return mean, basis * signs, leading[order] / total


def _components(
    deviations: Array, weights: Array, num_components: int
) -> tuple[Array, Array]:
    """All eigenvalues, descending, and `(C, 3, num_components)` components."""
    scale = np.sqrt(weights)[:, None]
    flat = (deviations * scale).reshape(len(deviations), -1)
    # Eigenvectors of the small Gram matrix: there are fewer heads than
    # coordinates.
    values, vectors = np.linalg.eigh(flat @ flat.T / (len(flat) - 1))
    leading = vectors[:, ::-1][:, :num_components]
    basis = flat.T @ leading / np.sqrt(len(flat) - 1)
    basis = basis.reshape(*scale.shape[:1], 3, -1) / scale[..., None]
    return values[::-1], basis


def _similarity_aligned(head: Array, target: Array, share: Array) -> Array:
    """The head moved, turned and scaled onto the target (Umeyama, 1991)."""
    centre, goal = share @ head, share @ target
    moved, aim = head - centre, target - goal
    u, singular, vt = np.linalg.svd((aim * share[:, None]).T @ moved)
    sign = np.sign(np.linalg.det(u @ vt))
    rotation = u @ np.diag([1.0, 1.0, sign]) @ vt
    spread = (share[:, None] * moved**2).sum()
    scale = (singular * [1.0, 1.0, sign]).sum() / spread
    return np.asarray(scale * moved @ rotation.T + goal)
