"""Training and validation batches as `tf.data` datasets."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from training.data.batch_loader import Batch, BatchLoader
from training.data.epoch_sampler import EpochSampler
from training.data.validation_steps import ValidationSteps


def training_dataset(
    loader: BatchLoader, sampler: EpochSampler, first_step: int = 0
) -> tf.data.Dataset:
    """Makes the endless dataset of training batches.

    Args:
        loader: Loads the examples.
        sampler: Which examples come when.
        first_step: The step to begin at, so that an interrupted training goes
            on where it was.

    Returns:
        A dataset of `(images (batch, size, size, 3) uint8, vertices
        (batch, V, 3) float32 in crop units)`.
    """

    def load(number: NDArray[np.int64]) -> Batch:
        return loader.load(*sampler.step(int(number)))

    steps = tf.data.Dataset.range(first_step, np.iinfo(np.int64).max)
    return _batches(steps, load, loader, sampler.local_batch_size)


def validation_dataset(
    loader: BatchLoader, steps: ValidationSteps
) -> tf.data.Dataset:
    """Makes the dataset of all examples once, in order.

    Its elements are those of `training_dataset`; the last batch may be
    smaller.

    Args:
        loader: Loads the examples.
        steps: Which examples each batch has.
    """

    def load(number: NDArray[np.int64]) -> Batch:
        return loader.load(*steps.step(int(number)))

    numbers = tf.data.Dataset.range(len(steps))
    return _batches(numbers, load, loader, None)


def _batches(
    steps: tf.data.Dataset,
    load: Callable[[NDArray[np.int64]], Batch],
    loader: BatchLoader,
    batch_size: int | None,
) -> tf.data.Dataset:
    vertex_model, size = loader.vertex_model, loader.size
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
        steps.map(
            read, num_parallel_calls=loader.concurrency, deterministic=True
        )
        .map(with_vertices, num_parallel_calls=1, deterministic=True)
        .prefetch(2)
    )
