"""WorkerDevices: machines that train together."""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from tf_facegcn.models.photo_model import PhotoModel
from training.compilation import normalizations
from training.data.batch_loader import BatchLoader
from training.data.dataset import training_dataset, validation_dataset
from training.data.epoch_sampler import EpochSampler
from training.data.validation_steps import ValidationSteps
from training.devices import Devices

# After this many seconds without an answer the others are given up.
_TIMEOUT = 600.0


class WorkerDevices(Devices):
    """Machines that train together, as the variable TF_CONFIG names them.

    Each loads its own rows of every batch, and the gradients are added up.
    Batch normalisation takes its statistics over the whole batch. If one
    machine ends, the others fail within about ten seconds; all are to be
    started again, and go on from the last checkpoint.
    """

    def __init__(self) -> None:
        options = tf.distribute.experimental.CommunicationOptions(
            timeout_seconds=_TIMEOUT
        )
        self.strategy = tf.distribute.MultiWorkerMirroredStrategy(
            communication_options=options
        )
        resolver = self.strategy.cluster_resolver
        cluster = resolver.cluster_spec().as_dict()
        self.num_workers = max(1, len(cluster.get("worker", [])))
        self.worker = int(resolver.task_id or 0)
        self.num_replicas = self.strategy.num_replicas_in_sync
        self.description = (
            f"{self.num_replicas} devices of {self.num_workers} machines"
        )

    def scope(self) -> contextlib.AbstractContextManager[object]:
        """Returns the strategy's scope."""
        return self.strategy.scope()

    def prepare(self, model: keras.Model) -> keras.Model:
        """Makes a model of the same weights that `fit` trains together."""
        prepared = WorkerModel(inputs=model.inputs[0], outputs=model.outputs[0])
        for layer in normalizations(prepared.layers):
            layer.synchronized = True
        return prepared

    def training_batches(
        self, loader: BatchLoader, sampler: EpochSampler, first_step: int
    ) -> Any:
        """Makes the endless batches of this machine."""
        return self._distributed(training_dataset(loader, sampler, first_step))

    def validation_batches(
        self, loader: BatchLoader, steps: ValidationSteps
    ) -> Any:
        """Makes the validation batches of this machine."""
        return self._distributed(validation_dataset(loader, steps))

    def failures(self) -> contextlib.AbstractContextManager[object]:
        """Returns a context that says plainly when another machine ended."""
        return _lost_workers()

    def _distributed(self, dataset: tf.data.Dataset) -> Any:
        """Divides each batch of this machine among its devices."""
        count = self.num_replicas // self.num_workers
        return self.strategy.distribute_datasets_from_function(
            lambda context: (
                dataset.flat_map(functools.partial(_parts, count))
                if count > 1
                else dataset
            )
        )


def _parts(
    count: int, images: tf.Tensor, vertices: tf.Tensor
) -> tf.data.Dataset:
    divided = (
        tf.reshape(array, (count, -1, *array.shape[1:]))
        for array in (images, vertices)
    )
    return tf.data.Dataset.from_tensor_slices(tuple(divided))


class WorkerModel(PhotoModel):
    """A model whose `fit` works under `MultiWorkerMirroredStrategy`.

    Keras 3.15 does all but two things right there. It averages what a step
    returns along its first axis, which numbers do not have; and it reduces
    the first batch, which it takes to see the shapes, over the machines,
    which they cannot.
    """

    def train_step(self, data: Any) -> dict[str, Any]:
        """Trains on a batch; Keras calls it."""
        return _with_axis(super().train_step(data))

    def test_step(self, data: Any) -> dict[str, Any]:
        """Validates on a batch; Keras calls it."""
        return _with_axis(super().test_step(data))

    def _maybe_symbolic_build(
        self, iterator: Any = None, data_batch: Any = None
    ) -> None:
        strategy = self.distribute_strategy
        if iterator is not None:
            for _, _, batches in iterator:
                data_batch = tuple(
                    strategy.experimental_local_results(part)[0]
                    for part in next(batches)
                )
                break
        with strategy.scope():
            self._symbolic_build(data_batch=data_batch)


def _with_axis(logs: dict[str, Any]) -> dict[str, Any]:
    return {name: ops.reshape(value, (1,)) for name, value in logs.items()}


@contextlib.contextmanager
def _lost_workers() -> Any:
    try:
        yield
    except (
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
        tf.errors.InternalError,
    ) as error:
        # TensorFlow repeats itself, and shows its own stack first.
        cause = " ".join(str(error).split()).rpartition("is aborted by: ")[2]
        raise ConnectionError(
            "A machine that trains with this one ended or cannot be reached "
            f"({cause[:200]}). Start all of them again "
            "with the same command; they go on from the last checkpoint"
        ) from error
