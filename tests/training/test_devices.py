"""Trainings on several devices and machines, in processes of their own."""

import dataclasses
import json
import socket

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)

from tests.training.training_process import (
    finish,
    kill_after,
    start,
)
from training.config import get_config
from training.devices import Devices, open_devices

# The paper's optimiser: one that divides by the size of gradients makes
# rounding errors of tiny ones large. Keras clips the gradients of each device
# before it adds them up, so a clipped training is another one.
CHANGES = {
    "clip_norm": 0.0,
    "optimizer": "sgd",
    "learning_rate": 1e-4,
    "average_momentum": 0.0,
    "batch_size": 8,
    "num_validation": 11,
}


def history_of(workdir):
    return np.genfromtxt(workdir / "history.csv", delimiter=",", names=True)


def assert_same_histories(first, second, names, rtol):
    one, other = history_of(first), history_of(second)
    assert len(one) == len(other)
    for name in names:
        np.testing.assert_allclose(one[name], other[name], rtol=rtol)


@pytest.fixture(scope="module")
def one_device(tmp_path_factory, miniature_folder):
    """A training on one device, with which the others are compared."""
    workdir = tmp_path_factory.mktemp("one") / "run"
    finish(start(workdir, miniature_folder, **CHANGES))
    return workdir


@pytest.mark.slow
def test_two_mirrored_devices_train_like_one(
    one_device, miniature_folder, tmp_path
):
    workdir = tmp_path / "run"
    changes = {"strategy": "mirrored", "logical_devices": 2}
    finish(start(workdir, miniature_folder, **CHANGES, **changes))
    environment = json.loads((workdir / "environment.json").read_text())
    assert environment["devices"] == "2 mirrored devices"
    # Statistics of batch normalisation are the whole batch's, so that losses
    # agree; two devices validate 10 of the 11 photos.
    assert_same_histories(one_device, workdir, ("loss", "nme"), 1e-5)
    assert_same_histories(one_device, workdir, ("val_loss",), 0.1)


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def pictures_of(workdir):
    """How many pictures of meshes TensorBoard's log has."""
    accumulator = EventAccumulator(str(workdir / "tensorboard" / "validation"))
    accumulator.Reload()
    return len(accumulator.Tensors("meshes"))


def start_workers(workdir, data_dir, **changes):
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    return [
        start(
            workdir,
            data_dir,
            {
                "TF_CONFIG": json.dumps(
                    {
                        "cluster": {"worker": addresses},
                        "task": {"type": "worker", "index": index},
                    }
                )
            },
            **{**CHANGES, **changes},
        )
        for index in range(2)
    ]


@pytest.mark.slow
def test_two_machines_take_averages_and_draw_pictures(
    miniature_folder, tmp_path
):
    workdir = tmp_path / "run"
    changes = {"average_momentum": 0.5, "tensorboard": True, "epochs": 2}
    for process in start_workers(workdir, miniature_folder, **changes):
        finish(process)
    assert len(history_of(workdir)) == 2
    assert pictures_of(workdir) == 2
    assert (workdir / "checkpoints" / "best.weights.h5").is_file()


@pytest.mark.slow
def test_two_machines_train_like_one_and_survive_a_kill(
    one_device, miniature_folder, tmp_path
):
    workdir = tmp_path / "run"
    first, second = start_workers(workdir, miniature_folder)
    kill_after(second, workdir, 1)
    # The other says what happened, and does not wait for ever.
    output = finish(first, code=1)
    assert "ConnectionError: A machine that trains" in output
    for process in start_workers(workdir, miniature_folder):
        finish(process)
    environment = json.loads((workdir / "environment.json").read_text())
    assert environment["devices"] == "2 devices of 2 machines"
    assert_same_histories(one_device, workdir, ("loss", "nme"), 1e-5)
    assert (workdir / "smoke.keras").is_file()


def test_batch_must_divide_among_devices(tmp_path, miniature_folder):
    changes = {"strategy": "mirrored", "logical_devices": 2, "batch_size": 5}
    process = start(tmp_path / "run", miniature_folder, **changes)
    assert "that 2 mirrored devices can share" in finish(process, code=1)


def test_tf_config_that_is_no_json_is_shown(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "{worker}")
    with pytest.raises(ValueError, match=r"TF_CONFIG='\{worker\}'"):
        open_devices(get_config("smoke"))


def test_one_device_is_the_default(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert type(open_devices(get_config("smoke"))) is Devices
    single = dataclasses.replace(get_config("smoke"), strategy="single")
    assert open_devices(single).num_replicas == 1
