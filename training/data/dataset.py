"""Datasets of photos and vertices, deterministic in seed, epoch and index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from training.data.aflw_crops import AflwCrops, decode
from training.data.augmentation import Augmentation, augment, move_camera
from training.data.fitted_labels import FittedLabels
from training.data.record import TrainingExample
from training.data.vertex_model import VertexModel

# Width of the yaw bins that are balanced against each other, degrees.
_YAW_BIN = 10.0


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


class ExampleSource(NamedTuple):
    """Examples, and how often each is drawn.

    Attributes:
        examples: The examples.
        yaw: `(n,)` absolute yaw in degrees.
    """

    examples: Sequence[TrainingExample]
    yaw: NDArray[np.floating]

    @classmethod
    def of_photos(cls, crops: AflwCrops, labels: FittedLabels) -> ExampleSource:
        """Joins photos with their labels."""
        examples = [
            TrainingExample(crops.jpegs[index], parameters, camera, landmarks)
            for index, parameters, camera, landmarks in zip(
                labels.photo_indices,
                labels.parameters,
                labels.cameras.astype(np.float64),
                labels.landmarks.astype(np.float64),
                strict=True,
            )
        ]
        return cls(examples, labels.yaw)

    def split(
        self, num_held_out: int, seed: int
    ) -> tuple[ExampleSource, ExampleSource]:
        """Splits off a random part.

        Returns:
            The remaining examples and the held-out ones.
        """
        if not 0 < num_held_out < len(self.examples):
            raise ValueError(
                "Expected to hold out at least one example and to keep one, "
                f"of {len(self.examples)}. Received: num_held_out="
                f"{num_held_out}"
            )
        order = np.random.default_rng(seed).permutation(len(self.examples))
        parts = np.sort(order[num_held_out:]), np.sort(order[:num_held_out])
        kept, held_out = (
            ExampleSource([self.examples[i] for i in part], self.yaw[part])
            for part in parts
        )
        return kept, held_out

    def probabilities(self, balance: float) -> NDArray[np.float64]:
        """Computes `(n,)` probabilities of being drawn.

        Args:
            balance: 0 draws every example alike, 1 every range of 10 degrees
                of absolute yaw alike.
        """
        bins = (self.yaw // _YAW_BIN).astype(int)
        counts = np.bincount(bins)[bins]
        weights = counts.astype(np.float64) ** -balance
        return weights / weights.sum()


def load_batch(
    source: ExampleSource,
    vertex_model: VertexModel,
    indices: NDArray[np.integer],
    augmentation: Augmentation,
    size: int,
    seeds: Sequence[Sequence[int]],
) -> Batch:
    """Decodes and augments examples.

    Args:
        source: The examples.
        vertex_model: What their parameters are of.
        indices: `(batch,)` which of them.
        augmentation: How much they are changed.
        size: Side of the network's input.
        seeds: For each example, the integers that determine its changes.
    """
    images, cameras, rows = [], [], []
    for index, seed in zip(indices, seeds, strict=True):
        example = source.examples[index]
        crop = augment(
            decode(example.image),
            example.landmarks,
            augmentation,
            size,
            np.random.default_rng(seed),
        )
        camera = move_camera(crop.affine, example.camera)
        parameters = example.parameters
        if crop.mirrored:
            # A mirrored picture shows a mirrored face from a proper camera.
            if vertex_model.mirror_matrix is None:
                raise ValueError(
                    "Photos can only be mirrored with a face model that has a "
                    "mirror. Received: augmentation.mirror="
                    f"{augmentation.mirror}"
                )
            camera[:, 0] *= -1
            parameters = vertex_model.mirror_matrix @ parameters
        images.append(crop.image)
        cameras.append(camera)
        rows.append(parameters)
    stacked = np.stack(rows)
    return Batch(
        np.stack(images),
        stacked,
        vertex_model.centered(stacked, np.stack(cameras)),
    )


class EpochSampler:
    """Which examples each step of each epoch sees.

    Args:
        probabilities: `(n,)` probabilities of being drawn.
        batch_size: Examples of a step.
        steps_per_epoch: Steps of an epoch.
        seed: Seed of everything.
    """

    def __init__(
        self,
        probabilities: NDArray[np.float64],
        batch_size: int,
        steps_per_epoch: int,
        seed: int,
    ) -> None:
        self.probabilities = probabilities
        self.batch_size = batch_size
        self.steps_per_epoch = steps_per_epoch
        self.seed = seed

    def step(
        self, number: int
    ) -> tuple[NDArray[np.integer], list[tuple[int, int, int]]]:
        """Returns a step's examples and their seeds.

        Args:
            number: The step, counted from the start of the training.

        Returns:
            `(batch,)` indices, and `(seed, epoch, position in the epoch)` of
            each.
        """
        epoch, step = divmod(number, self.steps_per_epoch)
        generator = np.random.default_rng((self.seed, epoch))
        drawn = generator.choice(
            len(self.probabilities),
            self.steps_per_epoch * self.batch_size,
            p=self.probabilities,
        )
        start = step * self.batch_size
        positions = range(start, start + self.batch_size)
        seeds = [(self.seed, epoch, position) for position in positions]
        return drawn[start : start + self.batch_size], seeds


def training_dataset(
    source: ExampleSource,
    vertex_model: VertexModel,
    augmentation: Augmentation,
    size: int,
    sampler: EpochSampler,
    first_step: int = 0,
) -> tf.data.Dataset:
    """Makes the endless dataset of training batches.

    Args:
        source: The examples.
        vertex_model: Computes the vertices of the labels.
        augmentation: How much photos are changed.
        size: Side of the network's input.
        sampler: Which examples come when.
        first_step: The step to begin at, so that an interrupted training goes
            on where it was.

    Returns:
        A dataset of `(images (batch, size, size, 3) uint8, vertices
        (batch, V, 3) float32 in crop units)`.
    """

    def load(number: NDArray[np.int64]) -> Batch:
        indices, seeds = sampler.step(int(number))
        return load_batch(
            source, vertex_model, indices, augmentation, size, seeds
        )

    steps = tf.data.Dataset.range(first_step, np.iinfo(np.int64).max)
    return _batches(steps, load, vertex_model, size, sampler.batch_size)


def validation_dataset(
    source: ExampleSource, vertex_model: VertexModel, size: int, batch_size: int
) -> tf.data.Dataset:
    """Makes the dataset of all examples once, in order, unchanged.

    Its elements are those of `training_dataset`; the last batch may be
    smaller.
    """
    count = len(source.examples)

    def load(number: NDArray[np.int64]) -> Batch:
        start = int(number) * batch_size
        indices = np.arange(start, min(start + batch_size, count))
        seeds = [(0,)] * len(indices)
        return load_batch(
            source, vertex_model, indices, Augmentation(), size, seeds
        )

    steps = tf.data.Dataset.range(-(-count // batch_size))
    return _batches(steps, load, vertex_model, size, None)


def _batches(
    steps: tf.data.Dataset,
    load: object,
    vertex_model: VertexModel,
    size: int,
    batch_size: int | None,
) -> tf.data.Dataset:
    num_vertices, _, num_parameters = vertex_model.basis.shape
    basis = tf.constant(vertex_model.basis.reshape(-1, num_parameters).T.copy())
    mean = tf.constant(vertex_model.mean)

    def read(number: tf.Tensor) -> tuple[tf.Tensor, ...]:
        images, parameters, cameras = tf.numpy_function(
            load, [number], (tf.uint8, tf.float32, tf.float32)
        )
        images.set_shape((batch_size, size, size, 3))
        parameters.set_shape((batch_size, num_parameters))
        cameras.set_shape((batch_size, 3, 4))
        return images, parameters, cameras

    def with_vertices(
        images: tf.Tensor, parameters: tf.Tensor, cameras: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        flat = tf.matmul(parameters, basis)
        vertices = tf.reshape(flat, (-1, num_vertices, 3)) + mean
        vertices = tf.matmul(vertices, cameras[:, :, :3], transpose_b=True)
        return images, vertices + cameras[:, None, :, 3]

    return (
        steps.map(read, num_parallel_calls=2, deterministic=True)
        .map(with_vertices, num_parallel_calls=1, deterministic=True)
        .prefetch(2)
    )
