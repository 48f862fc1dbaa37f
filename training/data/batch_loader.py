"""BatchLoader: from indices to batches of images and vertices, in NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.data.augmentation import Augmentation, augment, move_camera
from training.data.example_source import ExampleSource
from training.data.vertex_model import VertexModel


class Batch(NamedTuple):
    """A batch before its vertices are computed.

    Attributes:
        images: `(batch, size, size, 3)` uint8.
        parameters: `(batch, P)` float32, those of mirrored photos mirrored.
        cameras: `(batch, 3, 4)` float32 to units of the network's crop, z so
            that the mean depth of the vertices is 0.
    """

    images: NDArray[np.uint8]
    parameters: NDArray[np.float32]
    cameras: NDArray[np.float32]


@dataclass(frozen=True)
class BatchLoader:
    """Loads and augments examples.

    Attributes:
        source: The examples.
        vertex_model: What their parameters are of.
        augmentation: How much they are changed.
        size: Side of the network's input in pixels.
    """

    source: ExampleSource
    vertex_model: VertexModel
    augmentation: Augmentation
    size: int

    @property
    def concurrency(self) -> int:
        """How many batches to load at a time."""
        return 2

    def load(
        self, indices: NDArray[np.integer], seeds: Sequence[Sequence[int]]
    ) -> Batch:
        """Loads a batch.

        Args:
            indices: `(batch,)` which examples.
            seeds: For each example, the integers that determine its changes.

        Raises:
            ValueError: If an example cannot be read, or is to be mirrored and
                the face model has no mirror.
        """
        images, cameras, rows = [], [], []
        for index, seed in zip(indices, seeds, strict=True):
            example = self.source.load(int(index), seed)
            crop = augment(
                example.image,
                example.landmarks,
                self.augmentation,
                self.size,
                np.random.default_rng(seed),
            )
            camera = move_camera(crop.affine, example.camera)
            parameters = example.parameters
            if crop.mirrored:
                # A mirrored picture shows a mirrored face from a proper
                # camera.
                camera[:, 0] *= -1
                parameters = self._mirror_matrix() @ parameters
            images.append(crop.image)
            cameras.append(camera)
            rows.append(parameters)
        stacked = np.stack(rows)
        return Batch(
            np.stack(images),
            stacked,
            self.vertex_model.centered(stacked, np.stack(cameras)),
        )

    def load_with_vertices(
        self, indices: NDArray[np.integer], seeds: Sequence[Sequence[int]]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Loads a batch and computes its vertices, in one matrix product.

        Returns:
            Images `(batch, size, size, 3)` uint8 and vertices
            `(batch, V, 3)` float32 in crop units.
        """
        batch = self.load(indices, seeds)
        return batch.images, self.vertices(batch)

    def vertices(self, batch: Batch) -> NDArray[np.float32]:
        """Computes the vertices of a batch, `(batch, V, 3)` in crop units."""
        vertices = self.vertex_model.vertices(batch.parameters)
        linear = batch.cameras[:, :, :3].transpose(0, 2, 1)
        return vertices @ linear + batch.cameras[:, None, :, 3]

    def close(self) -> None:
        """Frees what loading needs besides memory; nothing here."""

    def _mirror_matrix(self) -> NDArray[np.float32]:
        if self.vertex_model.mirror_matrix is None:
            raise ValueError(
                "Photos can only be mirrored with a face model that has a "
                "mirror. Received: augmentation.mirror="
                f"{self.augmentation.mirror}"
            )
        return self.vertex_model.mirror_matrix
