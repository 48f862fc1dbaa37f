"""VertexModel: from the parameters of labels to vertices, one product."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tf_facegcn.geometry.morphable_model import MorphableModel
from training.data.landmark_mirror import LANDMARK_MIRROR

Floats = NDArray[np.float64]

# Widths of the two Gaussians that carry a landmark's displacement over the
# mesh, in shares of the landmarks' own spread: one moves the region around a
# landmark, one its immediate surroundings.
_WIDTHS = (0.5, 0.16)
_WIDTH_SHARES = (0.7, 0.3)

# How the mirror matrix is fitted: on every n-th vertex, with the landmarks
# counting more, and a little ridge, in shares of the mean squared component.
_MIRROR_STRIDE = 7
_MIRROR_LANDMARK_WEIGHT = 10.0
_MIRROR_RIDGE = 1e-6

# Landmarks that nearly coincide (the lips' inner rims) are not torn apart.
_SMOOTHING = 0.02


@dataclass(frozen=True)
class VertexModel:
    """A linear model of faces, `mean + basis @ parameters`.

    Attributes:
        mean: `(V, 3)` float32 in model space.
        basis: `(V, 3, P)` float32.
        landmarks: `(68,)` vertex indices.
        mirror_matrix: `(P, P)` float32: `mirror_matrix @ parameters` are those
            of the face's left-right mirror image, as near as the model comes;
            `None` where the morphable model has no mirror.
        whole: The model that this one is a part of, `None` for a whole one.
    """

    mean: NDArray[np.float32]
    basis: NDArray[np.float32]
    landmarks: NDArray[np.int32]
    mirror_matrix: NDArray[np.float32] | None
    whole: VertexModel | None = None

    @classmethod
    def of_labels(
        cls,
        model: MorphableModel,
        displacement_mean: ArrayLike,
        displacement_components: ArrayLike,
    ) -> VertexModel:
        """Extends a morphable model by displacements of its landmarks.

        Args:
            model: The morphable model with `S` identity and `E` expression
                components.
            displacement_mean: `(68, 3)` in model units.
            displacement_components: `(K, 68, 3)` in model units.

        Returns:
            The model with `S + E + K` parameters.
        """
        spreading = displacement_matrix(model.mean, model.landmarks)
        components = np.asarray(displacement_components, np.float64)
        moved = np.einsum("vk,pkc->vcp", spreading, components, optimize=True)
        mean = model.mean + spreading @ np.asarray(displacement_mean)
        basis = np.concatenate(
            [model.shape_basis, model.expression_basis, moved], axis=-1
        ).astype(np.float32)
        return cls(
            mean.astype(np.float32),
            basis,
            model.landmarks,
            None
            if model.mirror is None
            else _mirror_matrix(basis, model.landmarks, model.mirror),
        )

    def subset(self, vertices: ArrayLike) -> VertexModel:
        """Keeps some vertices, and those landmarks that are among them.

        The depth is still centred on all vertices.
        """
        indices = np.asarray(vertices)
        place = {int(vertex): i for i, vertex in enumerate(indices)}
        kept = [place[int(v)] for v in self.landmarks if int(v) in place]
        return VertexModel(
            self.mean[indices],
            self.basis[indices],
            np.array(kept, np.int32),
            self.mirror_matrix,
            whole=self.whole or self,
        )

    def vertices(self, parameters: ArrayLike) -> NDArray[np.float32]:
        """Computes `(n, V, 3)` vertices in model space of `(n, P)`."""
        rows = np.asarray(parameters, np.float32)
        flat = rows @ self.basis.reshape(-1, self.basis.shape[-1]).T
        return self.mean + flat.reshape(len(rows), -1, 3)

    @cached_property
    def _mean_of_vertices(self) -> tuple[Floats, Floats]:
        basis = self.basis.mean(axis=0, dtype=np.float64)
        return self.mean.mean(axis=0, dtype=np.float64), basis

    def centered(
        self, parameters: ArrayLike, cameras: ArrayLike
    ) -> NDArray[np.float32]:
        """Moves cameras in depth, so that the mean depth of a face is 0.

        Args:
            parameters: `(n, P)`.
            cameras: `(n, 3, 4)`.

        Returns:
            `(n, 3, 4)` float32 cameras.
        """
        mean, basis = (self.whole or self)._mean_of_vertices
        centers = mean + np.asarray(parameters, np.float64) @ basis.T
        moved = np.array(cameras, np.float64)
        moved[:, 2, 3] = -np.sum(moved[:, 2, :3] * centers, axis=1)
        return moved.astype(np.float32)


def displacement_matrix(
    vertices: ArrayLike, landmarks: ArrayLike
) -> NDArray[np.float64]:
    """Computes how displacements of landmarks spread over a mesh.

    Kriging with a sum of two Gaussians: a displaced landmark arrives (nearly)
    where it is sent, its surroundings follow, far vertices stay.

    Args:
        vertices: `(V, 3)`.
        landmarks: `(L,)` vertex indices.

    Returns:
        `(V, L)` float64.
    """
    points = np.asarray(vertices, np.float64)
    centers = points[np.asarray(landmarks)]
    spread = float(np.sqrt(np.mean((centers - centers.mean(axis=0)) ** 2)))

    def kernel(first: NDArray[np.float64]) -> NDArray[np.float64]:
        squared = (
            np.sum(first**2, axis=1)[:, None]
            + np.sum(centers**2, axis=1)
            - 2 * first @ centers.T
        )
        total = np.zeros(squared.shape)
        for width, share in zip(_WIDTHS, _WIDTH_SHARES, strict=True):
            total += share * np.exp(-squared / (2 * (width * spread) ** 2))
        return total

    among = kernel(centers) + _SMOOTHING * np.eye(len(centers))
    return np.array(np.linalg.solve(among, kernel(points).T).T, np.float64)


def _mirror_matrix(
    basis: NDArray[np.float32],
    landmarks: NDArray[np.integer],
    mirror: NDArray[np.integer],
) -> NDArray[np.float32]:
    """Fits `basis @ matrix` to the mirrored basis, in least squares.

    Only displacements from the mean are mirrored, as the mean is symmetric:
    the nearest vertex that `mirror` names is exact enough for those.
    """
    sample = np.arange(0, len(basis), _MIRROR_STRIDE)
    points = np.concatenate([sample, landmarks])
    images = np.concatenate([mirror[sample], landmarks[LANDMARK_MIRROR]])
    weights = np.ones(len(points))
    weights[len(sample) :] = _MIRROR_LANDMARK_WEIGHT
    count = basis.shape[-1]
    source = basis[points] * weights[:, None, None]
    target = basis[images] * weights[:, None, None]
    target = target * np.array([-1.0, 1.0, 1.0])[:, None]
    source, target = source.reshape(-1, count), target.reshape(-1, count)
    normal = source.T @ source
    ridge = _MIRROR_RIDGE * np.trace(normal) / count
    solution = np.linalg.solve(
        normal + ridge * np.eye(count), source.T @ target
    )
    return solution.astype(np.float32)
