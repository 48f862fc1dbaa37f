"""Similarity alignment and principal components of a population of heads."""

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
    samples: Array, weights: Array, num_components: int
) -> tuple[Array, Array, Array]:
    """Computes weighted principal components.

    Args:
        samples: `(n, C, 3)` aligned vertices.
        weights: `(C,)` weights: what a vertex's variance counts.
        num_components: Number of components.

    Returns:
        `(C, 3)` mean, `(C, 3, num_components)` basis of unit-variance
        components (each is the displacement by one standard deviation, its
        largest entry positive), and the share of the weighted variance that
        each component explains.
    """
    mean = samples.mean(axis=0)
    scale = np.sqrt(weights)[:, None]
    flat = ((samples - mean) * scale).reshape(len(samples), -1)
    # Eigenvectors of the small Gram matrix: there are fewer heads than
    # coordinates.
    values, vectors = np.linalg.eigh(flat @ flat.T / (len(samples) - 1))
    order = np.argsort(values)[::-1][:num_components]
    basis = flat.T @ vectors[:, order] / np.sqrt(len(samples) - 1)
    signs = np.sign(basis[np.abs(basis).argmax(axis=0), range(len(order))])
    basis = (basis * signs).reshape(*mean.shape, -1) / scale[..., None]
    return mean, basis, values[order] / values.sum()


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
