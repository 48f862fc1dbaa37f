"""Trains FaceGCN: `train(config, workdir)`.

Running it again on the same workdir goes on from the last checkpoint.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable
from importlib import util
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray

from tf_facegcn.geometry.morphable_model import MorphableModel
from tf_facegcn.models.face_gcn import FaceGCN
from training.checkpoint import BEST_NAME, Checkpoint
from training.compilation import (
    VALIDATION_METRIC,
    compile_network,
    supervised_vertices,
)
from training.config import TrainingConfig
from training.data.augmentation import Augmentation
from training.data.batch_loader import BatchLoader
from training.data.epoch_sampler import EpochSampler
from training.data.loader_processes import LoaderProcesses
from training.data.reading_failure import reading_failures
from training.data.validation_steps import ValidationSteps
from training.data.vertex_model import VertexModel
from training.devices import Devices, open_devices
from training.initial_network import (
    begin_displacements,
    face_model_of,
    make_network,
    set_initial_weights,
)
from training.mesh_pictures import MeshPictures
from training.nan_stop import StopOnNaN
from training.normalization_statistics import renew_statistics
from training.training_data import TrainingData, load_training_data
from training.validation_figures import validation_figures
from training.workdir import Workdir

# Validation photos that TensorBoard shows.
_NUM_PICTURES = 8

# Training photos of which the displacements of a grown decoder are learnt.
_NUM_FIRST_PHOTOS = 64


def train(
    config: TrainingConfig,
    workdir: str | Path,
    make_model: Callable[[], FaceGCN] | None = None,
    face_model: MorphableModel | None = None,
) -> Path:
    """Trains a network and writes everything to its workdir.

    The workdir receives `config.json`, `environment.json`, `labels.npz`,
    `checkpoints/`, `history.csv`, `tensorboard/`, `metrics.json` and the
    trained network `<config.name>.keras`. If it holds checkpoints, training
    goes on from the newest.

    Args:
        config: What to train and how.
        workdir: Folder of the run; made if it does not exist. Machines that
            train together share it.
        make_model: Makes the network to train instead of the configuration's
            preset.
        face_model: Morphable model of the labels instead of the
            configuration's.

    Returns:
        The path of the trained network.

    Raises:
        FileNotFoundError: If the data folder has no training photos.
        ValueError: If the workdir belongs to another configuration or to
            other data, or an example cannot be read, or the initial weights
            are another network's.
        FloatingPointError: If the loss became NaN.
        ConnectionError: If a machine that trains with this one ended.
        ChildProcessError: If a process that loads photos ended.
    """
    devices = open_devices(config)
    files = Workdir(workdir, writable=devices.worker == 0)
    files.write_config(config)
    keras.utils.set_random_seed(config.seed)
    with contextlib.ExitStack() as stack:
        with devices.failures(), reading_failures():
            face_model = face_model or face_model_of(config)
            with devices.scope():
                if make_model:
                    model = make_model()
                else:
                    model = make_network(config, face_model)
                if config.initial_weights and not files.has_checkpoints:
                    set_initial_weights(model, config.initial_weights)
            data = load_training_data(
                config,
                files.labels if files.writable else None,
                face_model,
                model.hierarchy,
                model.input_size,
            )
            files.write_environment(data.fingerprint, devices.description)
            run = _Run.of(config, data, model, devices)
            stack.callback(run.loader.close)
            if config.initial_weights and not files.has_checkpoints:
                with devices.scope():
                    begin_displacements(
                        model, config.initial_weights, lambda: _some_photos(run)
                    )
            _train(run, files)
        return _finish(run, files)


class _Run(NamedTuple):
    """What a training consists of."""

    config: TrainingConfig
    data: TrainingData
    devices: Devices
    # The whole network, and the model of the same weights that is trained.
    model: FaceGCN
    fitted: keras.Model
    loader: BatchLoader
    sampler: EpochSampler
    validation_loader: BatchLoader
    validation_steps: ValidationSteps

    @classmethod
    def of(
        cls,
        config: TrainingConfig,
        data: TrainingData,
        model: FaceGCN,
        devices: Devices,
    ) -> _Run:
        vertex_model: VertexModel = data.vertex_model
        fitted: keras.Model = model
        if config.supervised_level:
            # Landmarks first, then the level's vertices.
            vertices = supervised_vertices(model, config.supervised_level)
            vertex_model = vertex_model.subset(vertices)
            with devices.scope():
                fitted = model.at_vertices(vertices)
        size = model.input_size
        _check_batch(config, devices)
        shards = {"num_shards": devices.num_workers, "shard": devices.worker}
        return cls(
            config,
            data,
            devices,
            model,
            fitted,
            _training_loader(config, data, vertex_model, size),
            EpochSampler(
                data.training.probabilities(config.yaw_balance),
                config.batch_size // config.accumulation_steps,
                config.steps_per_epoch * config.accumulation_steps,
                config.seed,
                **shards,
            ),
            BatchLoader(data.validation, vertex_model, Augmentation(), size),
            ValidationSteps(
                len(data.validation),
                config.batch_size,
                devices.num_replicas,
                **shards,
            ),
        )


def _training_loader(
    config: TrainingConfig,
    data: TrainingData,
    vertex_model: VertexModel,
    size: int,
) -> BatchLoader:
    parts = (data.training, vertex_model, config.augmentation, size)
    if config.loader_processes:
        return LoaderProcesses(*parts, config.loader_processes)
    return BatchLoader(*parts)


def _check_batch(config: TrainingConfig, devices: Devices) -> None:
    batch_size = config.batch_size // config.accumulation_steps
    if batch_size % devices.num_replicas:
        raise ValueError(
            f"Expected a batch that {devices.description} can share alike. "
            f"Received: batch_size={config.batch_size}, accumulation_steps="
            f"{config.accumulation_steps}"
        )


def _train(run: _Run, files: Workdir) -> None:
    """Fits the network, from the newest checkpoint on."""
    config = run.config
    steps = run.sampler.steps_per_epoch
    with run.devices.scope():
        fitted = run.devices.prepare(run.fitted)
        compile_network(
            fitted,
            config,
            run.loader.vertex_model,
            steps // config.accumulation_steps,
        )
        checkpoint = Checkpoint(
            files.checkpoints,
            f"val_{VALIDATION_METRIC}",
            writable=files.writable,
        )
        first_epoch = checkpoint.restore(fitted)
    lowest = files.cut_history(first_epoch, checkpoint.monitor)
    if (files.checkpoints / BEST_NAME).is_file():
        checkpoint.best = lowest
    if first_epoch >= config.epochs:
        if config.average_momentum:
            fitted.optimizer.finalize_variable_values(
                fitted.trainable_variables
            )
        return
    nan_stop = StopOnNaN(files.folder, run.loader, run.sampler)
    fitted.fit(
        run.devices.training_batches(
            run.loader, run.sampler, first_epoch * steps
        ),
        epochs=config.epochs,
        initial_epoch=first_epoch,
        steps_per_epoch=steps,
        validation_data=run.devices.validation_batches(
            run.validation_loader, run.validation_steps
        ),
        callbacks=[nan_stop, *_callbacks(run, files, checkpoint)],
        shuffle=False,  # The sampler has drawn the order.
        verbose=_verbosity(run.devices),
    )
    if nan_stop.failure:
        raise nan_stop.failure


def _some_photos(run: _Run) -> NDArray[np.float32]:
    """The same augmented training photos on every machine."""
    count = min(_NUM_FIRST_PHOTOS, len(run.loader.source))
    indices = np.linspace(0, len(run.loader.source) - 1, count).astype(int)
    seeds = [(run.config.seed, int(index)) for index in indices]
    images = run.loader.load(indices, seeds).images
    return np.divide(images, 255, dtype=np.float32)


def _callbacks(
    run: _Run, files: Workdir, checkpoint: Checkpoint
) -> list[keras.callbacks.Callback]:
    callbacks: list[keras.callbacks.Callback] = []
    if run.config.average_momentum:
        # Validation sees the averages, training goes on with the weights.
        callbacks.append(keras.callbacks.SwapEMAWeights())
    if files.writable:
        callbacks.append(keras.callbacks.CSVLogger(files.history, append=True))
    callbacks.append(checkpoint)
    if run.config.tensorboard and files.writable:
        callbacks += _tensorboard(run, files)
    return callbacks


def _tensorboard(run: _Run, files: Workdir) -> list[keras.callbacks.Callback]:
    if util.find_spec("tensorflow") is None:
        warnings.warn(
            "TensorBoard logs are not written, as they need TensorFlow; "
            "history.csv has the figures",
            stacklevel=2,
        )
        return []
    count = min(_NUM_PICTURES, len(run.data.validation))
    indices = np.linspace(0, len(run.data.validation) - 1, count).astype(int)
    seeds = [(int(index),) for index in indices]
    photos = run.validation_loader.load(indices, seeds).images
    return [
        keras.callbacks.TensorBoard(files.tensorboard, write_graph=False),
        MeshPictures(files.tensorboard / "validation", run.model, photos),
    ]


def _verbosity(devices: Devices) -> int:
    """A progress bar on a terminal, a line an epoch elsewhere."""
    if devices.worker:
        return 0
    return 1 if sys.stdout.isatty() else 2


def _finish(run: _Run, files: Workdir) -> Path:
    """Writes the network without its optimiser, and its figures."""
    model = run.model
    # A precision is chosen for training's speed; the weights are float32.
    inference = model.__class__.from_config(
        {**model.get_config(), "dtype": "float32"}
    )
    inference.set_weights(model.get_weights())
    if files.writable:
        renew_statistics(
            inference, run.loader, run.sampler, run.config.statistics_steps
        )
    path = files.save_model(inference, run.config.name)
    if not files.writable:
        return path
    metrics = {
        "config": run.config.name,
        "num_parameters": model.count_params(),
        "num_labels": run.data.num_labels,
        "num_rejected_labels": run.data.num_rejected_labels,
        "validation": validation_figures(
            inference, run.data, run.validation_loader, run.config.batch_size
        ),
    }
    files.write_json("metrics.json", metrics)
    return path
