"""Configurations of training runs."""

from __future__ import annotations

import dataclasses
import difflib
import json
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from training.data.augmentation import Augmentation

LOSSES = ("exponential_wing", "wing", "l1", "l2", "smooth_l1")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that determines a training run.

    Attributes:
        name: Name of the configuration, and of the weights it makes.
        preset: Preset of `FaceGCN`.
        data_dir: Folder of the training photos.
        seed: Seed of initial weights, order and augmentation.
        batch_size: Photos of a step.
        steps_per_epoch: Steps between two validations and checkpoints; an
            epoch here is not a pass over the data.
        epochs: Epochs to train.
        learning_rate: Highest learning rate, reached after the warm-up and
            followed by a cosine to zero.
        warmup_steps: Steps of linear warm-up.
        weight_decay: Decoupled weight decay of AdamW.
        clip_norm: Largest norm of the gradient of all weights together.
        average_momentum: Momentum of the exponential moving average of the
            weights that is validated and kept; 0 keeps the weights as they
            are.
        precision: Keras dtype policy of the network.
        loss: Loss of a coordinate's error: `"exponential_wing"` (paper,
            Eq. 3) or, to compare, `"wing"`, `"l1"`, `"l2"`, `"smooth_l1"`.
        loss_width: `W` of the two wing losses, crop units (paper: 5).
        loss_curvature: `epsilon` of them (paper: 4).
        landmark_weight: Weight of all 68 landmarks together in the loss; all
            vertices together weigh 1.
        face_weight: Weight of a vertex of the face over one of neck, ears and
            back of the head.
        supervised_level: Mesh level whose vertices the loss sees, with the 68
            landmarks; 0 is the whole mesh. Coordinates are interpolated from
            coarse levels, so few vertices say almost as much as all.
        yaw_balance: 0 draws every photo alike, 1 every range of yaw alike.
        num_validation: Photos held out for validation.
        tensorboard: Whether TensorBoard logs are written.
        augmentation: Random changes of the training photos.
    """

    name: str
    preset: str
    data_dir: str = "data"
    seed: int = 0
    batch_size: int = 32
    steps_per_epoch: int = 200
    epochs: int = 60
    learning_rate: float = 1e-3
    warmup_steps: int = 300
    weight_decay: float = 1e-4
    clip_norm: float = 10.0
    average_momentum: float = 0.998
    precision: str = "float32"
    loss: str = "exponential_wing"
    loss_width: float = 5.0
    loss_curvature: float = 4.0
    landmark_weight: float = 1.0
    face_weight: float = 1.0
    supervised_level: int = 0
    yaw_balance: float = 0.5
    num_validation: int = 1000
    tensorboard: bool = False
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        positive = ("batch_size", "steps_per_epoch", "epochs", "learning_rate")
        for name in (*positive, "loss_width", "loss_curvature", "clip_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(
                    f"{name} must be positive. Received: {name}="
                    f"{getattr(self, name)}"
                )
        for name, known in (("precision", PRECISIONS), ("loss", LOSSES)):
            value = getattr(self, name)
            if value not in known:
                raise ValueError(
                    f"{name} must be one of {', '.join(known)}. "
                    f"Received: {name}={value!r}"
                )

    def to_json(self) -> str:
        """Returns the configuration as indented JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"


_LITE_AUGMENTATION = Augmentation(
    rotation=30.0,
    translation=0.06,
    scale_min=0.9,
    scale_max=1.15,
    mirror=0.5,
    color=0.8,
    greyscale=0.1,
    blur=0.25,
    noise=0.1,
    occluder=0.15,
)

CONFIGS: Mapping[str, TrainingConfig] = types.MappingProxyType(
    {
        "lite": TrainingConfig(
            name="lite",
            preset="lite",
            supervised_level=2,
            epochs=36,
            augmentation=_LITE_AUGMENTATION,
        ),
        # Seconds: shows that the whole chain works, not that it learns much.
        "smoke": TrainingConfig(
            name="smoke",
            preset="tiny",
            batch_size=4,
            steps_per_epoch=5,
            epochs=3,
            warmup_steps=2,
            average_momentum=0.5,
            num_validation=4,
            augmentation=_LITE_AUGMENTATION,
        ),
    }
)


def get_config(name: str) -> TrainingConfig:
    """Returns a configuration by its name.

    Raises:
        ValueError: If there is none of this name; the message names the
            nearest.
    """
    if name not in CONFIGS:
        raise ValueError(
            f"There is no configuration of this name{_hint(name, CONFIGS)} "
            f"Received: name={name!r}"
        )
    return CONFIGS[name]


def override(
    config: TrainingConfig, assignments: Sequence[str]
) -> TrainingConfig:
    """Changes fields of a configuration.

    Args:
        config: The configuration, which stays as it is.
        assignments: Strings `key=value`; a field of the augmentation is
            `augmentation.key=value`.

    Returns:
        The changed configuration.

    Raises:
        ValueError: If a key does not exist (the message names the nearest) or
            a value is not of its type.

    Example:
        >>> config = override(get_config("lite"), ["epochs=2"])
        >>> config.epochs
        2
    """
    for assignment in assignments:
        key, separator, value = assignment.partition("=")
        if not separator:
            raise ValueError(f"Expected key=value. Received: {assignment!r}")
        config = _replaced(config, key.strip(), value.strip(), prefix="")
    return config


def _replaced(
    config: typing.Any, key: str, value: str, prefix: str
) -> typing.Any:
    first, _, rest = key.partition(".")
    kinds = typing.get_type_hints(type(config))
    if first not in kinds or bool(rest) != dataclasses.is_dataclass(
        kinds[first]
    ):
        names = [f"{prefix}{name}" for name in _keys(type(config))]
        raise ValueError(
            f"There is no such configuration key"
            f"{_hint(prefix + key, names)} Received: {prefix}{key}={value}"
        )
    if rest:
        nested = _replaced(
            getattr(config, first), rest, value, f"{prefix}{first}."
        )
        return dataclasses.replace(config, **{first: nested})
    parsed = _parsed(value, kinds[first], f"{prefix}{key}")
    return dataclasses.replace(config, **{first: parsed})


def _keys(kind: typing.Any) -> list[str]:
    names = []
    for name, field_kind in typing.get_type_hints(kind).items():
        if dataclasses.is_dataclass(field_kind):
            names += [f"{name}.{inner}" for inner in _keys(field_kind)]
        else:
            names.append(name)
    return names


def _parsed(value: str, kind: type, key: str) -> str | int | float | bool:
    try:
        if kind is bool:
            return {"true": True, "false": False}[value.lower()]
        if kind in (int, float):
            return kind(value)
    except (KeyError, ValueError):
        wanted = {bool: "true or false", int: "a whole number"}.get(
            kind, "a number"
        )
        raise ValueError(
            f"{key} must be {wanted}. Received: {key}={value}"
        ) from None
    return value


def _hint(name: str, names: typing.Iterable[str]) -> str:
    nearest = difflib.get_close_matches(name, list(names), n=1, cutoff=0.4)
    if nearest:
        return f"; did you mean {nearest[0]!r}?"
    return f"; there are {', '.join(names)}."
