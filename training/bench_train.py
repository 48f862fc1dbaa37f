"""Benchmark of training steps: images a second and memory, by preset."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tf_facegcn.benchmarks.environment import describe_environment
from tf_facegcn.benchmarks.memory import peak_memory

_BATCH = 8
# Steps that warm up; then steps are timed for so many seconds, but so many of
# them at least.
_WARM_UPS = 2
_SECONDS = 5.0
_STEPS = 4
_MOST_STEPS = 1000
# Times that all cases are measured one after the other, as the speed of a
# shared machine changes within minutes.
_ROUNDS = 3
_TIMEOUT = 900


@dataclasses.dataclass(frozen=True)
class TrainingCase:
    """What is trained.

    Attributes:
        preset: Preset of `FaceGCN`.
        precision: Keras dtype policy.
        num_devices: Logical devices that share the batch.
        coma: Whether the network is CoMA's formulation.
        jit_compile: Whether XLA compiles the whole step.
        supervised_level: As in the configuration.
    """

    preset: str
    precision: str = "float32"
    num_devices: int = 1
    coma: bool = False
    jit_compile: bool = False
    supervised_level: int = 0


CASES = {
    "lite": TrainingCase("lite", supervised_level=3),
    "lite_jit": TrainingCase("lite", jit_compile=True, supervised_level=3),
    "lite_two_devices": TrainingCase("lite", num_devices=2, supervised_level=3),
    "lite_bfloat16": TrainingCase("lite", "mixed_bfloat16", supervised_level=3),
    "lite_whole_mesh": TrainingCase("lite"),
    "lite_coma": TrainingCase("lite", coma=True),
    "paper": TrainingCase("paper"),
    "paper_bfloat16": TrainingCase("paper", "mixed_bfloat16"),
    "paper_coma": TrainingCase("paper", coma=True),
}
RATIOS = {
    "two_devices_over_one": ("lite_two_devices", "lite"),
    "lite_jit_over_lite": ("lite_jit", "lite"),
    "lite_over_coma": ("lite_whole_mesh", "lite_coma"),
    "paper_over_coma": ("paper", "paper_coma"),
    "paper_bfloat16_over_float32": ("paper_bfloat16", "paper"),
}


def benchmark_training(report: Callable[[str], object]) -> dict[str, Any]:
    """Measures training steps, each case in a process of its own.

    Args:
        report: Is told what is being measured.

    Returns:
        A dictionary that JSON can hold; each time is the median of the
        rounds, the memory the largest. A ratio is of times a step.
    """
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in CASES}
    for number in range(_ROUNDS):
        for name, case in CASES.items():
            report(f"{name}, round {number + 1} of {_ROUNDS}")
            rounds[name].append(_in_a_process(case))
    figures = {name: _median(found) for name, found in rounds.items()}
    seconds = {name: each["seconds_a_step"] for name, each in figures.items()}
    return {
        "environment": describe_environment(),
        "batch_size": _BATCH,
        "cases": {
            name: {**dataclasses.asdict(case), **figures[name]}
            for name, case in CASES.items()
        },
        "ratios": {
            name: seconds[first] / seconds[second]
            for name, (first, second) in RATIOS.items()
        },
    }


def measure(case: TrainingCase) -> dict[str, float]:
    """Measures a case in this process.

    Args:
        case: What is trained.

    Returns:
        `seconds_a_step` (median), `images_per_second`, and `peak_memory_mb` of
        the process, which holds TensorFlow's own 600 to 700 MB.
    """
    from tf_facegcn.benchmarks.coma_formulation import in_coma_formulation
    from tf_facegcn.models.face_gcn import FaceGCN
    from training.compilation import make_loss, supervised_vertices
    from training.config import get_config
    from training.devices import open_devices

    config = dataclasses.replace(
        get_config("paper"),
        preset=case.preset,
        precision=case.precision,
        strategy="mirrored" if case.num_devices > 1 else "single",
        logical_devices=case.num_devices if case.num_devices > 1 else 0,
    )
    devices = open_devices(config)
    keras.utils.set_random_seed(0)
    with devices.scope():
        network = FaceGCN.from_preset(
            case.preset,
            dtype=case.precision,
            lowering="sparse" if case.coma else "auto",
        )
        size, count = network.input_size, len(network.template)
        model: keras.Model = network
        if case.coma:
            model = in_coma_formulation(network)
        elif case.supervised_level:
            vertices = supervised_vertices(network, case.supervised_level)
            count = len(vertices)
            model = network.at_vertices(vertices)
        model = devices.prepare(model)
        model.compile(
            keras.optimizers.SGD(1e-4, momentum=0.9),
            make_loss(config),
            jit_compile=case.jit_compile,
        )
    generator = np.random.default_rng(0)
    photos = generator.uniform(size=(_BATCH, size, size, 3)).astype("float32")
    truth = generator.uniform(0, 255, (_BATCH, count, 3)).astype("float32")
    times = _StepTimes()
    model.fit(
        photos,
        truth,
        batch_size=_BATCH,
        epochs=_MOST_STEPS,
        callbacks=[times],
        verbose=0,
    )
    seconds = float(np.median(times.seconds[_WARM_UPS:]))
    return {
        "seconds_a_step": seconds,
        "images_per_second": _BATCH / seconds,
        "peak_memory_mb": peak_memory() / 1e6,
    }


class _StepTimes(keras.callbacks.Callback):
    """Notes how long each step took, and ends the training in time."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._started = 0.0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        float(logs["loss"])  # Waits for the step.
        self.seconds.append(time.perf_counter() - self._started)
        timed = self.seconds[_WARM_UPS:]
        if len(timed) >= _STEPS and sum(timed) >= _SECONDS:
            self.model.stop_training = True


def _median(rounds: list[dict[str, float]]) -> dict[str, float]:
    seconds = float(np.median([each["seconds_a_step"] for each in rounds]))
    return {
        "seconds_a_step": seconds,
        "images_per_second": _BATCH / seconds,
        "peak_memory_mb": max(each["peak_memory_mb"] for each in rounds),
    }


def _in_a_process(case: TrainingCase) -> dict[str, float]:
    process = subprocess.run(
        [
            *(sys.executable, "-m", "training.bench_train"),
            json.dumps(dataclasses.asdict(case)),
        ],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
        check=False,
    )
    if process.returncode:
        last = process.stderr.strip().splitlines()[-1:]
        raise OSError(f"{case} failed: {''.join(last)}")
    found: dict[str, float] = json.loads(process.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    sys.stdout.write(
        json.dumps(measure(TrainingCase(**json.loads(sys.argv[1])))) + "\n"
    )
