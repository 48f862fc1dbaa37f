"""Trainings on Keras' JAX backend, where there is no TensorFlow."""

import importlib.util
import json

import keras
import numpy as np
import pytest

from tests.training.training_process import finish, fixed_photos, start
from tf_facegcn.models.face_gcn import FaceGCN

ON_JAX = {
    "KERAS_BACKEND": "jax",
    "JAX_PLATFORMS": "cpu",
    "WITHOUT_TENSORFLOW": "1",
}
CHANGES = {
    "optimizer": "sgd",
    "learning_rate": 1e-4,
    "average_momentum": 0.0,
    "clip_norm": 0.0,
    "batch_size": 8,
    "num_validation": 8,
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("jax") is None,
        reason="JAX is not installed, see requirements-jax.txt",
    ),
]


@pytest.fixture(scope="module")
def on_one_device(tmp_path_factory, miniature_folder):
    workdir = tmp_path_factory.mktemp("jax") / "run"
    finish(start(workdir, miniature_folder, ON_JAX, **CHANGES))
    return workdir


def losses_of(workdir):
    history = np.genfromtxt(workdir / "history.csv", delimiter=",", names=True)
    return history["loss"], history["val_loss"]


def test_weights_trained_on_jax_predict_the_same_on_tensorflow(on_one_device):
    model = keras.saving.load_model(on_one_device / "smoke.keras")
    assert type(model) is FaceGCN
    assert keras.backend.backend() == "tensorflow"
    predicted = model.predict_on_batch(fixed_photos())
    assert np.abs(predicted - model.template).max() > 1.0
    np.testing.assert_allclose(
        predicted, np.load(on_one_device / "predicted.npy"), atol=1e-3
    )
    environment = json.loads((on_one_device / "environment.json").read_text())
    assert environment["backend"] == "jax"


def test_two_devices_train_like_one(on_one_device, miniature_folder, tmp_path):
    two = {
        **ON_JAX,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
    }
    workdir = tmp_path / "run"
    finish(start(workdir, miniature_folder, two, **CHANGES))
    environment = json.loads((workdir / "environment.json").read_text())
    assert environment["devices"] == "2 devices in data parallel"
    for expected, found in zip(
        losses_of(on_one_device), losses_of(workdir), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_training_goes_on_from_the_other_backend(
    on_one_device, miniature_folder, tmp_path
):
    workdir = tmp_path / "run"
    short = {**CHANGES, "schedule": "exponential", "average_momentum": 0.5}
    finish(start(workdir, miniature_folder, **short))
    before = np.load(workdir / "predicted.npy")
    (workdir / "smoke.keras").unlink()
    finish(start(workdir, miniature_folder, ON_JAX, **short))
    # Nothing was left to train: the checkpoint alone carried the weights.
    np.testing.assert_allclose(
        np.load(workdir / "predicted.npy"), before, atol=1e-3
    )
