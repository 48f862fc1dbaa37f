"""What a configuration compiles a network with: loss, optimiser, metric."""

from __future__ import annotations

from collections.abc import Iterable

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tf_facegcn.losses.exponential_wing import ExponentialWing
from tf_facegcn.losses.mesh_loss import MeshLoss
from tf_facegcn.losses.norm_loss import NormLoss
from tf_facegcn.losses.wing import Wing
from tf_facegcn.metrics.normalized_mean_error import NormalizedMeanError
from tf_facegcn.models.face_gcn import FaceGCN
from training.config import TrainingConfig
from training.data.vertex_model import VertexModel

VALIDATION_METRIC = "nme"

# Vertices this near to a landmark, in shares of the landmarks' spread, belong
# to the face; the others to ears, neck and the back of the head.
_FACE_DISTANCE = 0.6

# Where the cosine ends, as a share of the highest learning rate.
_FINAL_SHARE = 0.005


def compile_network(
    model: keras.Model,
    config: TrainingConfig,
    vertex_model: VertexModel,
    steps_per_epoch: int,
) -> None:
    """Compiles a network as a configuration says.

    Args:
        model: The network; its outputs are the vertices of `vertex_model`.
        config: The configuration.
        vertex_model: Model of the vertices that are trained.
        steps_per_epoch: Updates of an epoch.
    """
    model.compile(
        make_optimizer(config, steps_per_epoch),
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
        jit_compile=_compiles_whole_step(config),
        steps_per_execution=config.steps_per_execution,
    )


def make_optimizer(
    config: TrainingConfig, steps_per_epoch: int
) -> keras.optimizers.Optimizer:
    """Makes the optimiser that a configuration names.

    Args:
        config: The configuration.
        steps_per_epoch: Updates of an epoch.
    """
    accumulation = config.accumulation_steps
    common = {
        "learning_rate": _schedule(config, steps_per_epoch * accumulation),
        "weight_decay": config.weight_decay or None,
        "global_clipnorm": config.clip_norm or None,
        "use_ema": config.average_momentum > 0,
        # Keras updates the average with each part of an accumulated batch.
        "ema_momentum": (config.average_momentum or 0.99) ** (1 / accumulation),
        "gradient_accumulation_steps": accumulation
        if accumulation > 1
        else None,
    }
    if config.optimizer == "sgd":
        return keras.optimizers.SGD(momentum=config.momentum, **common)
    return keras.optimizers.AdamW(
        **{**common, "weight_decay": config.weight_decay}
    )


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


def supervised_vertices(model: FaceGCN, level: int) -> NDArray[np.integer]:
    """Names the vertices of a mesh level, the 68 landmarks before them.

    Args:
        model: The network.
        level: Level of its hierarchy, 0 is the finest.

    Returns:
        `(68 + n,)` indices into the finest level, each once.

    Raises:
        ValueError: If there is no such level.
    """
    num_levels = len(model.hierarchy.levels)
    if level >= num_levels:
        raise ValueError(
            f"supervised_level must be below {num_levels}, the levels of the "
            f"mesh. Received: supervised_level={level}"
        )
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


def normalizations(
    layers: Iterable[keras.layers.Layer],
) -> list[keras.layers.BatchNormalization]:
    """Finds the batch normalisations of layers and of those inside them."""
    found = []
    for layer in layers:
        parts = layer._flatten_layers(include_self=True, recursive=True)
        found += [
            part
            for part in parts
            if isinstance(part, keras.layers.BatchNormalization)
        ]
    return found


def _schedule(
    config: TrainingConfig, iterations_per_epoch: int
) -> keras.optimizers.schedules.LearningRateSchedule:
    """The schedule, by the optimiser's count of batches."""
    if config.schedule == "exponential":
        return keras.optimizers.schedules.ExponentialDecay(
            config.learning_rate,
            decay_steps=iterations_per_epoch,
            decay_rate=config.decay,
            # By the epoch, as the paper says, not by the batch.
            staircase=True,
        )
    total = iterations_per_epoch * config.epochs
    warmup = config.warmup_steps * config.accumulation_steps
    warmup = min(warmup, total // 2)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=config.learning_rate / max(warmup, 1),
        decay_steps=total - warmup,
        warmup_target=config.learning_rate if warmup else None,
        warmup_steps=warmup,
        alpha=_FINAL_SHARE,
    )


def _compiles_whole_step(config: TrainingConfig) -> bool:
    # Keras' JAX backend runs a step that is not compiled operation by
    # operation, many times slower.
    return config.jit_compile or keras.backend.backend() == "jax"
