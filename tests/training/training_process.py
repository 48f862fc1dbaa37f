"""Trains the miniature model in a process of its own, which tests kill.

Usage: python -m tests.training.training_process WORKDIR DATA_DIR CHANGES

CHANGES is a JSON object of fields of `TrainingConfig`.
"""

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

_CHECKPOINT = "checkpoints/checkpoint-{:06d}.weights.h5"
_TIMEOUT = 240.0


def miniature_config(data_dir, **changes):
    """`smoke`, with so few steps that tests can afford them."""
    from training.config import get_config

    fields = {
        "data_dir": str(data_dir),
        "synthetic_share": 0.0,
        "batch_size": 4,
        "steps_per_epoch": 5,
        "epochs": 3,
        "warmup_steps": 2,
        "supervised_level": 0,
        "num_validation": 4,
        "tensorboard": False,
        "deterministic": True,
        **changes,
    }
    return dataclasses.replace(get_config("smoke"), **fields)


def start(workdir, data_dir, environment=None, **changes):
    """Starts a training; its output goes to a file beside the workdir."""
    path = Path(f"{workdir}.{time.monotonic_ns()}.log")
    with path.open("w") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.training.training_process"),
                *(workdir, data_dir, json.dumps(changes)),
            ],
            cwd=Path(__file__).parents[2],
            env={
                **os.environ,
                "TF_CPP_MIN_LOG_LEVEL": "3",
                **(environment or {}),
            },
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    process.log = path
    return process


def finish(process, code=0):
    """Waits for the end; returns what was printed."""
    try:
        found = process.wait(_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        found = process.wait()
    output = process.log.read_text()
    if found != code:
        raise AssertionError(f"The training ended with {found}:\n{output}")
    return output


def kill_after(process, workdir, num_epochs, delay=0.0):
    """Kills a training some time after an epoch's checkpoint is there."""
    wanted = Path(workdir) / _CHECKPOINT.format(num_epochs)
    end = time.monotonic() + _TIMEOUT
    while not wanted.exists():
        if process.poll() is not None or time.monotonic() > end:
            raise AssertionError(
                f"No checkpoint {wanted.name}:\n{process.log.read_text()}"
            )
        time.sleep(0.01)
    time.sleep(delay)
    if process.poll() is not None:
        raise AssertionError("The training ended before it could be killed.")
    process.kill()
    process.wait()


def _main(workdir, data_dir, changes):
    from tests.training.miniature import make_miniature_model
    from tf_facegcn.geometry.mesh_hierarchy import MeshHierarchy
    from tf_facegcn.models.face_gcn import FaceGCN
    from training.train import train

    face_model = make_miniature_model()
    hierarchy = MeshHierarchy.build(
        face_model.template, level_sizes=(256, 64, 16)
    )

    def make_model():
        return FaceGCN.from_preset(
            "tiny",
            hierarchy=hierarchy,
            landmarks=face_model.landmarks,
            lowering="gather",
        )

    config = miniature_config(data_dir, **json.loads(changes))
    path = train(config, workdir, make_model, face_model)
    if "TF_CONFIG" not in os.environ:
        model = keras.saving.load_model(path)
        np.save(
            Path(workdir) / "predicted.npy",
            np.asarray(model.predict_on_batch(fixed_photos())),
        )


def fixed_photos():
    """Photos that are the same in every process."""
    generator = np.random.default_rng(0)
    return generator.integers(0, 255, (2, 32, 32, 3)).astype("uint8")


class _NoTensorFlow:
    """Makes TensorFlow look as if it were not installed."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError(name, name=name)


if __name__ == "__main__":
    if "WITHOUT_TENSORFLOW" in os.environ:
        sys.meta_path.insert(0, _NoTensorFlow())
    import keras

    _main(*sys.argv[1:])
