"""Trains FaceGCN: `train(config, workdir)`.

Running it again on the same workdir goes on from the last checkpoint.
"""

from __future__ import annotations

import csv
import json
import math
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tf_facegcn.geometry.morphable_model import MorphableModel
from tf_facegcn.losses.exponential_wing import ExponentialWing
from tf_facegcn.losses.mesh_loss import MeshLoss
from tf_facegcn.losses.norm_loss import NormLoss
from tf_facegcn.losses.wing import Wing
from tf_facegcn.metrics.normalized_mean_error import NormalizedMeanError
from tf_facegcn.models.face_gcn import FaceGCN
from training.checkpoint import Checkpoint
from training.config import TrainingConfig
from training.data.aflw_crops import AflwCrops
from training.data.dataset import (
    EpochSampler,
    ExampleSource,
    training_dataset,
    validation_dataset,
)
from training.data.fitted_labels import FittedLabels
from training.data.vertex_model import VertexModel
from training.fit_labels import labels_for

VALIDATION_METRIC = "nme"

# Vertices this near to a landmark, in shares of the landmarks' spread, belong
# to the face; the others to ears, neck and the back of the head.
_FACE_DISTANCE = 0.6

_PACKAGES = ("tensorflow", "keras", "numpy", "opencv-python-headless")


class TrainingData(NamedTuple):
    """Photos and labels of a training run.

    Attributes:
        training: Examples to train on.
        validation: Examples held out.
        vertex_model: From the labels' parameters to vertices.
        labels: All labels.
        fingerprint: Hex digest of photos, model and label method.
    """

    training: ExampleSource
    validation: ExampleSource
    vertex_model: VertexModel
    labels: FittedLabels
    fingerprint: str


def train(
    config: TrainingConfig,
    workdir: str | Path,
    model: keras.Model | None = None,
    face_model: MorphableModel | None = None,
) -> Path:
    """Trains a network and writes everything to its workdir.

    The workdir receives `config.json`, `environment.json`, `labels.npz`,
    `checkpoints/`, `history.csv`, `metrics.json` and the trained network
    `<config.name>.keras`. If it holds checkpoints, training goes on from the
    newest.

    Args:
        config: What to train and how.
        workdir: Folder of the run; made if it does not exist.
        model: Network to train instead of the configuration's preset.
        face_model: Morphable model of the labels instead of the bundled head.

    Returns:
        The path of the trained network.

    Raises:
        FileNotFoundError: If the data folder has no training photos.
        ValueError: If the workdir belongs to another configuration.
        FloatingPointError: If the loss became NaN.
    """
    folder = Path(workdir)
    _write_config(config, folder)
    keras.utils.set_random_seed(config.seed)
    face_model = face_model or MorphableModel.bundled()
    data = load_data(config, folder, face_model)
    _write_environment(folder, data)

    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(config.precision)
    try:
        model = model or FaceGCN.from_preset(config.preset)
    finally:
        keras.config.set_dtype_policy(policy)
    vertex_model, fitted = data.vertex_model, model
    if config.supervised_level:
        # Landmarks first, then the level's vertices.
        vertices = supervised_vertices(model, config.supervised_level)
        vertex_model = vertex_model.subset(vertices)
        fitted = model.at_vertices(vertices)
    _compile(fitted, config, vertex_model)
    checkpoint = Checkpoint(folder / "checkpoints", f"val_{VALIDATION_METRIC}")
    first_epoch = checkpoint.restore(fitted)
    history = folder / "history.csv"
    checkpoint.best = _cut_history(history, first_epoch)

    size = model.input_shape[1]
    sampler = EpochSampler(
        data.training.probabilities(config.yaw_balance),
        config.batch_size,
        config.steps_per_epoch,
        config.seed,
    )
    if first_epoch < config.epochs:
        result = fitted.fit(
            training_dataset(
                data.training,
                vertex_model,
                config.augmentation,
                size,
                sampler,
                first_step=first_epoch * config.steps_per_epoch,
            ),
            epochs=config.epochs,
            initial_epoch=first_epoch,
            steps_per_epoch=config.steps_per_epoch,
            validation_data=validation_dataset(
                data.validation, vertex_model, size, config.batch_size
            ),
            callbacks=_callbacks(config, folder, history, checkpoint),
            shuffle=False,  # The sampler has drawn the order.
            verbose=2,
        )
        if not math.isfinite(result.history["loss"][-1]):
            raise FloatingPointError(
                "The loss is not a number any more; the last good checkpoint "
                f"is in {checkpoint.folder}. A lower learning_rate may help."
            )
    elif config.average_momentum:
        fitted.optimizer.finalize_variable_values(fitted.trainable_variables)
    return _finish(model, config, folder, data)


def load_data(
    config: TrainingConfig, folder: Path, face_model: MorphableModel
) -> TrainingData:
    """Reads the photos, fits or loads their labels, splits them."""
    crops = AflwCrops.load(config.data_dir)
    labels = labels_for(crops, face_model, folder / "labels.npz")
    source = ExampleSource.of_photos(crops, labels)
    training, validation = source.split(config.num_validation, config.seed)
    vertex_model = VertexModel.of_labels(
        face_model, labels.displacement_mean, labels.displacement_components
    )
    return TrainingData(
        training, validation, vertex_model, labels, labels.fingerprint
    )


def supervised_vertices(model: FaceGCN, level: int) -> NDArray[np.integer]:
    """Names the vertices of a mesh level, the 68 landmarks before them.

    Args:
        model: The network.
        level: Level of its hierarchy, 0 is the finest.

    Returns:
        `(68 + n,)` indices into the finest level, each once.
    """
    vertices = np.arange(model.hierarchy.sizes[0])
    for coarser in model.hierarchy.levels[1 : level + 1]:
        vertices = vertices[coarser.kept]
    others = np.setdiff1d(vertices, model.landmarks)
    return np.concatenate([model.landmarks, others])


def vertex_weights(
    vertices: ArrayLike,
    landmarks: NDArray[np.integer],
    landmark_weight: float,
    face_weight: float,
) -> NDArray[np.float32]:
    """Computes how much each vertex counts in the loss.

    Args:
        vertices: `(V, 3)` mean face.
        landmarks: `(68,)` vertex indices.
        landmark_weight: Weight of all 68 landmarks together; all vertices
            together weigh 1.
        face_weight: Weight of a vertex of the face over one elsewhere.

    Returns:
        `(V,)` float32 of mean 1.
    """
    points = np.asarray(vertices, np.float64)
    centers = points[landmarks]
    spread = np.sqrt(np.mean((centers - centers.mean(axis=0)) ** 2))
    nearest = np.full(len(points), np.inf)
    for center in centers:
        distance = np.linalg.norm(points - center, axis=1)
        nearest = np.minimum(nearest, distance)
    weights = np.where(nearest < _FACE_DISTANCE * spread, face_weight, 1.0)
    weights /= weights.sum()
    np.add.at(weights, landmarks, landmark_weight / len(landmarks))
    return (weights * len(weights) / weights.sum()).astype(np.float32)


def make_loss(
    config: TrainingConfig, weights: NDArray[np.floating] | None = None
) -> MeshLoss:
    """Makes the loss that a configuration names.

    Args:
        config: The configuration.
        weights: `(V,)` weights of the vertices, or `None`.

    Returns:
        A Keras loss of meshes in 1/256ths of the crop.
    """
    if config.loss in ("exponential_wing", "wing"):
        kind = ExponentialWing if config.loss == "exponential_wing" else Wing
        return kind(config.loss_width, config.loss_curvature, weights)
    return NormLoss(config.loss, weights)


def _compile(
    model: keras.Model, config: TrainingConfig, vertex_model: VertexModel
) -> None:
    total = config.steps_per_epoch * config.epochs
    warmup = min(config.warmup_steps, total // 2)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=config.learning_rate / max(warmup, 1),
        decay_steps=total - warmup,
        warmup_target=config.learning_rate,
        warmup_steps=warmup,
        alpha=0.005,
    )
    optimizer = keras.optimizers.AdamW(
        schedule,
        weight_decay=config.weight_decay,
        global_clipnorm=config.clip_norm,
        use_ema=config.average_momentum > 0,
        ema_momentum=config.average_momentum or 0.99,
    )
    model.compile(
        optimizer,
        loss=make_loss(
            config,
            vertex_weights(
                vertex_model.mean,
                vertex_model.landmarks,
                config.landmark_weight,
                config.face_weight,
            ),
        ),
        metrics=[
            NormalizedMeanError(
                landmarks=vertex_model.landmarks, name=VALIDATION_METRIC
            )
        ],
        # The mesh operators compile what gains by it themselves.
        jit_compile=False,
    )


def _callbacks(
    config: TrainingConfig, folder: Path, history: Path, checkpoint: Checkpoint
) -> list[keras.callbacks.Callback]:
    callbacks: list[keras.callbacks.Callback] = [
        keras.callbacks.TerminateOnNaN()
    ]
    if config.average_momentum:
        # Validation sees the averages, training goes on with the weights.
        callbacks.append(keras.callbacks.SwapEMAWeights())
    callbacks.append(keras.callbacks.CSVLogger(history, append=True))
    callbacks.append(checkpoint)
    if config.tensorboard:
        callbacks.append(keras.callbacks.TensorBoard(folder / "tensorboard"))
    return callbacks


def _finish(
    model: keras.Model,
    config: TrainingConfig,
    folder: Path,
    data: TrainingData,
) -> Path:
    """Writes the network without its optimiser, and its figures."""
    inference = model.__class__.from_config(model.get_config())
    inference.set_weights(model.get_weights())
    path = folder / f"{config.name}.keras"
    partial = folder / f"partial-{config.name}.keras"
    inference.save(partial)
    partial.replace(path)
    metrics = {
        "config": config.name,
        "num_parameters": model.count_params(),
        "num_labels": len(data.labels),
        "num_rejected_labels": data.labels.num_rejected,
        "validation": _validate(model, config, data),
    }
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    return path


def _validate(
    model: keras.Model, config: TrainingConfig, data: TrainingData
) -> dict[str, Any]:
    """2D-68 NME on the held-out photos, by absolute yaw of the labels."""
    landmarks = data.vertex_model.landmarks
    errors = []
    batches = validation_dataset(
        data.validation,
        data.vertex_model,
        model.input_shape[1],
        config.batch_size,
    )
    for images, vertices in batches:
        truth = vertices.numpy()[:, landmarks, :2]
        found = np.asarray(model.predict_on_batch(images))[:, landmarks, :2]
        extent = np.ptp(truth, axis=1)
        distance = np.linalg.norm(found - truth, axis=-1).mean(axis=1)
        errors.append(100 * distance / np.sqrt(extent.prod(axis=1)))
    nme = np.concatenate(errors)
    yaw = data.validation.yaw
    parts = [yaw <= 30, (yaw > 30) & (yaw <= 60), yaw > 60]
    bins = [float(nme[part].mean()) if part.any() else None for part in parts]
    return {"bins": bins, "mean": float(nme.mean()), "num_photos": len(nme)}


def _write_config(config: TrainingConfig, folder: Path) -> None:
    path = folder / "config.json"
    text = config.to_json()
    if path.is_file() and path.read_text() != text:
        raise ValueError(
            "Expected a new workdir, or the one that this configuration was "
            "trained in; it holds another configuration, see config.json. "
            f"Received: workdir={str(folder)!r}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _write_environment(folder: Path, data: TrainingData) -> None:
    environment = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "packages": {name: metadata.version(name) for name in _PACKAGES},
        "git_revision": _git_revision(),
        "data_fingerprint": data.fingerprint,
    }
    text = json.dumps(environment, indent=2) + "\n"
    (folder / "environment.json").write_text(text)


def _git_revision() -> str | None:
    try:
        result = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return result.stdout.strip()


def _cut_history(path: Path, num_epochs: int) -> float:
    """Drops what was logged after the checkpoint; returns the lowest error."""
    if not path.is_file():
        return math.inf
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    kept = rows[:num_epochs]
    if not kept:
        path.unlink()
        return math.inf
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(kept[0]))
        writer.writeheader()
        writer.writerows(kept)
    return min(float(row[f"val_{VALIDATION_METRIC}"]) for row in kept)
