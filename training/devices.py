"""Devices: on what a training runs, and how its batches get there."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any

import keras

from training.compilation import normalizations
from training.config import TrainingConfig
from training.data.batch_loader import BatchLoader
from training.data.epoch_sampler import EpochSampler
from training.data.py_dataset import LoadedBatches
from training.data.validation_steps import ValidationSteps


class Devices:
    """One device: what fits a training everywhere.

    Attributes:
        description: For messages and files.
        num_workers: Machines that train together.
        worker: Which of them this one is; 0 writes the files.
        num_replicas: Devices of all machines together.
    """

    description = "one device"
    num_workers = 1
    worker = 0
    num_replicas = 1

    def scope(self) -> contextlib.AbstractContextManager[object]:
        """Returns the context in which the network is made and compiled."""
        return contextlib.nullcontext()

    def prepare(self, model: keras.Model) -> keras.Model:
        """Readies a network that is not compiled yet.

        Returns:
            The model of the same weights to compile and fit.
        """
        return model

    def failures(self) -> contextlib.AbstractContextManager[object]:
        """Returns a context that turns failures of devices into plain ones."""
        return contextlib.nullcontext()

    def training_batches(
        self, loader: BatchLoader, sampler: EpochSampler, first_step: int
    ) -> Any:
        """Makes the endless batches that `fit` trains on."""
        if keras.backend.backend() != "tensorflow":
            return LoadedBatches(loader, sampler, first_step)
        # Imported here, as the JAX backend runs without TensorFlow.
        from training.data.dataset import training_dataset

        return training_dataset(loader, sampler, first_step)

    def validation_batches(
        self, loader: BatchLoader, steps: ValidationSteps
    ) -> Any:
        """Makes the batches that `fit` validates on."""
        if keras.backend.backend() != "tensorflow":
            return LoadedBatches(loader, steps)
        from training.data.dataset import validation_dataset

        return validation_dataset(loader, steps)


class MirroredDevices(Devices):
    """All devices of this machine, each with a copy of the weights.

    A batch is divided among them and the gradients are added up. Batch
    normalisation takes its statistics over the whole batch, so that the
    result is that of one device.
    """

    def __init__(self) -> None:
        import tensorflow as tf

        devices = tf.config.list_logical_devices("GPU")
        if not devices:
            devices = tf.config.list_logical_devices("CPU")
        self.strategy = tf.distribute.MirroredStrategy(
            [device.name for device in devices]
        )
        self.num_replicas = len(devices)
        self.description = f"{len(devices)} mirrored devices"

    def scope(self) -> contextlib.AbstractContextManager[object]:
        """Returns the strategy's scope."""
        return self.strategy.scope()

    def prepare(self, model: keras.Model) -> keras.Model:
        """Synchronises the batch normalisations of a network."""
        for layer in normalizations(model.layers):
            layer.synchronized = True
        return model


class ParallelJaxDevices(Devices):
    """All devices of JAX, each with a copy of the weights.

    The batch is divided among them; JAX computes the same as on one device,
    batch normalisation included.
    """

    def __init__(self) -> None:
        distribution = keras.distribution.DataParallel()
        keras.distribution.set_distribution(distribution)
        self.num_replicas = int(distribution.device_mesh.devices.size)
        self.description = f"{self.num_replicas} devices in data parallel"


def open_devices(config: TrainingConfig) -> Devices:
    """Sets up the devices that a configuration names.

    Args:
        config: The configuration; its `strategy` says which.

    Raises:
        ValueError: If they are not there.
    """
    if keras.backend.backend() == "jax":
        return _jax_devices(config)
    if keras.backend.backend() != "tensorflow":
        return Devices()
    import tensorflow as tf

    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    if config.logical_devices:
        _divide_cpu(config.logical_devices)
    strategy = config.strategy
    if strategy == "auto":
        strategy = "single"
        if len(tf.config.list_physical_devices("GPU")) > 1:
            strategy = "mirrored"
        if _num_workers() > 1:
            strategy = "multi_worker"
    if strategy == "mirrored":
        return MirroredDevices()
    if strategy == "multi_worker":
        from training.worker_devices import WorkerDevices

        return WorkerDevices()
    return Devices()


def _jax_devices(config: TrainingConfig) -> Devices:
    if config.strategy == "multi_worker":
        raise ValueError(
            "strategy=multi_worker needs Keras' TensorFlow backend. Received: "
            "KERAS_BACKEND=jax"
        )
    several = len(keras.distribution.list_devices()) > 1
    if several and config.strategy != "single":
        return ParallelJaxDevices()
    return Devices()


def _divide_cpu(count: int) -> None:
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    try:
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * count
        )
    except RuntimeError as error:
        if len(tf.config.list_logical_devices("CPU")) != count:
            raise ValueError(
                "Logical devices must be set before TensorFlow is used in "
                f"this process. Received: logical_devices={count}"
            ) from error


def _num_workers() -> int:
    """How many machines TF_CONFIG names; 1 without it.

    Raises:
        ValueError: If it is no JSON.
    """
    text = os.environ.get("TF_CONFIG") or "{}"
    try:
        workers = json.loads(text).get("cluster", {}).get("worker", [])
    except (ValueError, AttributeError) as error:
        raise ValueError(
            'Expected TF_CONFIG to be JSON such as {"cluster": {"worker": '
            '["host:port", ...]}, "task": {"type": "worker", "index": 0}}. '
            f"Received: TF_CONFIG={text!r}"
        ) from error
    return max(1, len(workers))
