"""Configurations of training runs."""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Mapping
from dataclasses import dataclass, field

from tf_facegcn.models.face_gcn_presets import ABLATIONS, PRESETS
from training.config_overrides import hint
from training.data.augmentation import Augmentation

LOSSES = ("exponential_wing", "wing", "l1", "l2", "smooth_l1")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
OPTIMIZERS = ("adamw", "sgd")
SCHEDULES = ("cosine", "exponential")
STRATEGIES = ("auto", "single", "mirrored", "multi_worker")


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that determines a training run.

    Attributes:
        name: Name of the configuration, and of the weights it makes.
        preset: Preset of `FaceGCN`.
        data_dir: Folder of the training photos; not read where all examples
            are synthetic.
        face_model: `.npz` of a reduced Basel Face Model, see
            `load_basel_face_model`, whose mesh is predicted instead of the
            bundled head's; needs the photos. Empty for the bundled head.
        initial_weights: Weights to begin with, a name or a `.keras` file of
            the same preset, or of another mesh, with fewer DenseGCN blocks or
            encoder stages, see `set_initial_weights`; empty for random ones.
        second_teacher: Weights whose landmarks of the photos are averaged with
            the teacher's before labels are fitted; empty for none.
        second_teacher_share: Their share in the mean.
        synthetic_share: Share of the examples that are rendered faces; 1
            needs no photos.
        num_synthetic: Rendered faces of one pass; each epoch has new ones.
        keep_synthetic: Whether one pass of faces, the same for every seed, is
            kept in memory (13 kB each) and used again, instead of new ones.
        seed: Seed of initial weights, order and augmentation.
        batch_size: Examples of an update of the weights, on all devices
            together.
        accumulation_steps: Into how many parts a batch is divided, whose
            gradients are added up: the same update with less memory, apart
            from batch normalisation, whose statistics are a part's.
        steps_per_epoch: Updates between two validations and checkpoints; an
            interruption loses less than these. 0 for one pass over all
            examples.
        epochs: Epochs to train.
        optimizer: `"adamw"` or `"sgd"` (paper).
        learning_rate: Highest learning rate, reached after the warm-up.
        schedule: What follows: `"cosine"` to nearly zero, or `"exponential"`,
            `decay` an epoch (paper).
        decay: Factor of the exponential schedule, an epoch (paper: 0.99).
        warmup_steps: Updates of linear warm-up; the cosine's only.
        momentum: Momentum of SGD (paper: 0.9).
        weight_decay: Decoupled weight decay.
        clip_norm: Largest norm of the gradient of all weights together; 0
            for no limit.
        average_momentum: Momentum of the exponential moving average of the
            weights that is validated and kept; 0 keeps the weights as they
            are.
        statistics_steps: Batches from which the statistics of batch
            normalisation are taken anew after training, see
            `renew_statistics`; 0 keeps those of the training.
        precision: Keras dtype policy of the training; `"mixed_float16"` scales
            the loss. The trained network is saved to compute in float32.
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
        yaw_balance: 0 draws every photo alike, 1 every range of yaw alike; an
            epoch then has rare ones several times.
        num_validation: Examples held out for validation.
        strategy: `"mirrored"` for all devices of this machine,
            `"multi_worker"` for the machines in TF_CONFIG, `"single"` for one
            device, `"auto"` for what is there.
        logical_devices: Into how many logical devices the CPU is divided, to
            try a strategy without GPUs; 0 leaves it as it is.
        jit_compile: Whether XLA compiles the whole training step; the mesh
            operators compile what gains by it themselves.
        steps_per_execution: Steps between two returns to Python.
        loader_processes: Processes that load and augment photos; 0 does it in
            threads of this one, enough for CPUs. A GPU may need one for each
            core. Scripts of your own then need `if __name__ == "__main__":`.
        deterministic: Whether TensorFlow's operations are made deterministic,
            which some pay for in speed.
        tensorboard: Whether TensorBoard logs are written.
        augmentation: Random changes of the training photos.
    """

    name: str
    preset: str
    data_dir: str = "data"
    face_model: str = ""
    initial_weights: str = ""
    second_teacher: str = ""
    second_teacher_share: float = 0.5
    synthetic_share: float = 0.0
    num_synthetic: int = 20_000
    keep_synthetic: bool = False
    seed: int = 0
    batch_size: int = 32
    accumulation_steps: int = 1
    steps_per_epoch: int = 200
    epochs: int = 60
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    schedule: str = "cosine"
    decay: float = 0.99
    warmup_steps: int = 300
    momentum: float = 0.9
    weight_decay: float = 1e-4
    clip_norm: float = 10.0
    average_momentum: float = 0.998
    statistics_steps: int = 0
    precision: str = "float32"
    loss: str = "exponential_wing"
    loss_width: float = 5.0
    loss_curvature: float = 4.0
    landmark_weight: float = 1.0
    face_weight: float = 1.0
    supervised_level: int = 0
    yaw_balance: float = 0.5
    num_validation: int = 1000
    strategy: str = "auto"
    logical_devices: int = 0
    jit_compile: bool = False
    steps_per_execution: int = 1
    loader_processes: int = 0
    deterministic: bool = False
    tensorboard: bool = True
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            if not getattr(self, name) > 0:
                raise ValueError(
                    f"{name} must be positive. Received: {name}="
                    f"{getattr(self, name)}"
                )
        for name in _NOT_NEGATIVE:
            if not getattr(self, name) >= 0:
                raise ValueError(
                    f"{name} must not be negative. Received: {name}="
                    f"{getattr(self, name)}"
                )
        for name in _SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(
                    f"{name} must be from 0 to 1. Received: {name}="
                    f"{getattr(self, name)}"
                )
        for name, known in _CHOICES.items():
            value = getattr(self, name)
            if value not in known:
                raise ValueError(
                    f"{name} must be one of {', '.join(known)}. "
                    f"Received: {name}={value!r}"
                )
        if self.batch_size % self.accumulation_steps:
            raise ValueError(
                "batch_size must be a multiple of accumulation_steps. "
                f"Received: batch_size={self.batch_size}, accumulation_steps="
                f"{self.accumulation_steps}"
            )

    def to_json(self) -> str:
        """Returns the configuration as indented JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"


_POSITIVE = (
    *("batch_size", "accumulation_steps", "epochs", "learning_rate"),
    *("decay", "loss_width", "loss_curvature", "num_validation"),
    *("steps_per_execution", "num_synthetic"),
)
_NOT_NEGATIVE = (
    *("steps_per_epoch", "warmup_steps", "weight_decay", "clip_norm"),
    *("landmark_weight", "face_weight", "supervised_level", "seed"),
    *("logical_devices", "statistics_steps", "loader_processes"),
)
_SHARES = (
    *("synthetic_share", "second_teacher_share", "momentum"),
    *("average_momentum", "yaw_balance"),
)
_CHOICES = {
    "preset": tuple(PRESETS),
    "precision": PRECISIONS,
    "loss": LOSSES,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "strategy": STRATEGIES,
}

# Sec. IV-B of the paper, and no other change.
_PAPER_AUGMENTATION = Augmentation(
    rotation=45.0, translation=0.1, scale_min=0.9, scale_max=1.2
)
# Shifts and scales as far as detectors' boxes are off, or as little as boxes of
# landmarks just predicted are; rolls of heads that lie.
_LITE_AUGMENTATION = Augmentation(
    rotation=30.0,
    large_rotation=0.15,
    translation=0.08,
    scale_min=0.85,
    scale_max=1.2,
    second_pass=0.5,
    mirror=0.5,
    color=0.8,
    greyscale=0.1,
    blur=0.25,
    noise=0.1,
    jpeg=0.1,
    occluder=0.15,
    smeared_border=0.25,
    black_border=0.1,
)
# What a small network makes progress on within seconds.
_SMOKE_AUGMENTATION = dataclasses.replace(
    _LITE_AUGMENTATION,
    large_rotation=0.0,
    second_pass=0.0,
    translation=0.06,
    scale_min=0.9,
    scale_max=1.15,
)

# Optimiser, rates, batch and augmentation are the paper's (Sec. IV-B). It does
# not give the number of epochs, and trains on the 122,450 photos of 300W-LP.
_PAPER = TrainingConfig(
    name="paper",
    preset="paper",
    batch_size=48,
    steps_per_epoch=0,
    epochs=100,
    optimizer="sgd",
    learning_rate=1e-3,
    schedule="exponential",
    decay=0.99,
    warmup_steps=0,
    momentum=0.9,
    weight_decay=0.0,
    clip_norm=0.0,
    average_momentum=0.0,
    landmark_weight=0.0,
    yaw_balance=0.0,
    augmentation=_PAPER_AUGMENTATION,
)
_LITE = TrainingConfig(
    name="lite",
    preset="lite",
    supervised_level=3,
    landmark_weight=2.0,
    yaw_balance=0.7,
    weight_decay=0.01,
    average_momentum=0.999,
    statistics_steps=100,
    steps_per_epoch=500,
    epochs=96,
    augmentation=_LITE_AUGMENTATION,
)
# Free of the photos' licence. 40,000 faces fit into 0.5 GB; pictures that are
# too clean are what separates them most from photos.
_LITE_SYNTHETIC = dataclasses.replace(
    _LITE,
    name="lite_synthetic",
    synthetic_share=1.0,
    num_synthetic=40_000,
    keep_synthetic=True,
    jit_compile=True,
    epochs=30,
    augmentation=dataclasses.replace(
        _LITE_AUGMENTATION,
        second_pass=0.0,  # As the released weights were trained.
        color=1.0,
        blur=0.35,
        noise=0.2,
        jpeg=0.25,
    ),
)
# Seconds, and no files: shows that the whole chain works and learns.
_SMOKE = TrainingConfig(
    name="smoke",
    preset="tiny",
    synthetic_share=1.0,
    num_synthetic=640,
    batch_size=8,
    steps_per_epoch=20,
    epochs=4,
    learning_rate=4e-3,
    warmup_steps=10,
    average_momentum=0.5,
    supervised_level=3,
    num_validation=32,
    augmentation=_SMOKE_AUGMENTATION,
)

CONFIGS: Mapping[str, TrainingConfig] = types.MappingProxyType(
    {
        "paper": _PAPER,
        "lite": _LITE,
        "lite_synthetic": _LITE_SYNTHETIC,
        "smoke": _SMOKE,
        **{
            f"{base.name}_{ablation}": dataclasses.replace(
                base,
                name=f"{base.name}_{ablation}",
                preset=f"{base.preset}_{ablation}",
            )
            for base in (_PAPER, _LITE)
            for ablation in ABLATIONS
        },
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
            f"There is no configuration of this name{hint(name, CONFIGS)} "
            f"Received: name={name!r}"
        )
    return CONFIGS[name]
