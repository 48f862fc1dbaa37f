import dataclasses
import json
import math

import keras
import numpy as np
import pytest

from tf_facegcn.geometry.mesh_hierarchy import MeshHierarchy
from tf_facegcn.models.face_gcn import FaceGCN
from training import train as train_module
from training.config import get_config
from training.train import (
    make_loss,
    supervised_vertices,
    train,
    vertex_weights,
)


@pytest.fixture(scope="module")
def hierarchy(miniature_model):
    return MeshHierarchy.build(
        miniature_model.template, level_sizes=(256, 64, 16)
    )


@pytest.fixture(scope="module")
def config(miniature_folder):
    return dataclasses.replace(
        get_config("smoke"), data_dir=str(miniature_folder)
    )


@pytest.fixture
def run(hierarchy, miniature_model):
    def run(config, workdir):
        keras.utils.set_random_seed(config.seed)
        # Compiling each operator takes longer than these few steps.
        model = FaceGCN.from_preset(
            config.preset,
            hierarchy=hierarchy,
            landmarks=miniature_model.landmarks,
            lowering="gather",
        )
        return train(config, workdir, model=model, face_model=miniature_model)

    return run


class KilledError(Exception):
    """Stands for the process ending."""


@pytest.fixture
def killed_after(monkeypatch):
    """Makes a training end without any clean-up after some epochs."""

    def kill(epochs):
        original = train_module._callbacks

        class Killer(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                if epoch + 1 == epochs:
                    raise KilledError

        monkeypatch.setattr(
            train_module,
            "_callbacks",
            lambda *arguments: [*original(*arguments), Killer()],
        )
        return lambda: monkeypatch.setattr(train_module, "_callbacks", original)

    return kill


@pytest.mark.slow
def test_trains_and_writes_everything(config, run, tmp_path):
    path = run(
        dataclasses.replace(config, supervised_level=1), tmp_path / "run"
    )
    assert path == tmp_path / "run" / "smoke.keras"
    written = {p.name for p in path.parent.iterdir()}
    assert written == {
        "checkpoints",
        "config.json",
        "environment.json",
        "history.csv",
        "labels.npz",
        "metrics.json",
        "smoke.keras",
    }
    history = np.genfromtxt(
        path.parent / "history.csv", delimiter=",", names=True
    )
    assert history["epoch"].tolist() == [0, 1, 2]
    assert np.all(np.isfinite(history["val_nme"]))
    metrics = json.loads((path.parent / "metrics.json").read_text())
    assert metrics["validation"]["num_photos"] == 4
    # The moving averages were validated, and they are what is kept.
    assert metrics["validation"]["mean"] == pytest.approx(
        history["val_nme"][-1], rel=1e-3
    )
    model = keras.saving.load_model(path)
    assert model.output_shape == (None, 642, 3)
    assert getattr(model, "optimizer", None) is None
    environment = json.loads((path.parent / "environment.json").read_text())
    assert environment["packages"]["keras"] == keras.__version__
    assert len(environment["data_fingerprint"]) == 64


@pytest.mark.slow
# The log stays open, as it does when a process is killed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_interrupted_training_ends_like_an_uninterrupted_one(
    config, run, tmp_path, killed_after
):
    whole = run(config, tmp_path / "whole")
    restore = killed_after(2)
    with pytest.raises(KilledError):
        run(config, tmp_path / "killed")
    restore()
    resumed = run(config, tmp_path / "killed")
    histories = [
        np.genfromtxt(p.parent / "history.csv", delimiter=",", names=True)
        for p in (whole, resumed)
    ]
    for name in histories[0].dtype.names:
        np.testing.assert_allclose(
            histories[0][name], histories[1][name], rtol=1e-4
        )
    images = np.full((1, 32, 32, 3), 0.4, "float32")
    first, second = (
        keras.saving.load_model(p).predict_on_batch(images)
        for p in (whole, resumed)
    )
    np.testing.assert_allclose(first, second, atol=1e-2)
    # What is finished is not trained again.
    again = keras.saving.load_model(run(config, tmp_path / "killed"))
    np.testing.assert_array_equal(again.predict_on_batch(images), second)
    assert len((tmp_path / "killed" / "history.csv").read_text().split()) == 4


@pytest.mark.slow
def test_loss_that_is_no_number_ends_the_training(config, run, tmp_path):
    exploding = dataclasses.replace(
        config, learning_rate=1e30, clip_norm=1e30, average_momentum=0.0
    )
    with pytest.raises(FloatingPointError, match="learning_rate"):
        run(exploding, tmp_path)


def test_workdir_of_another_configuration_is_refused(config, run, tmp_path):
    other = dataclasses.replace(config, seed=99)
    (tmp_path / "config.json").write_text(other.to_json())
    with pytest.raises(ValueError, match="another configuration"):
        run(config, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["seed"] == 99


def test_missing_data_folder_is_named(config, run, tmp_path):
    nowhere = dataclasses.replace(config, data_dir=str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match=r"does not exist.*nowhere"):
        run(nowhere, tmp_path / "run")


def test_landmarks_and_face_weigh_as_asked():
    # Landmarks in a 10 mm cross, one more vertex near, two far away.
    vertices = np.array(
        [
            *([5, 0, 0], [-5, 0, 0], [0, 5, 0], [0, -5, 0]),
            *([0, 4, 0], [0, 0, 100], [0, 0, 90]),
        ],
        float,
    )
    landmarks = np.arange(4)
    weights = vertex_weights(
        vertices, landmarks, landmark_weight=2.0, face_weight=3.0
    )
    assert weights.mean() == pytest.approx(1.0)
    # Vertices: 5 * 3 + 2 * 1 = 17 parts; landmarks: 2 * 17 parts on top.
    expected = np.array([3 + 34 / 4] * 4 + [3, 1, 1]) * 7 / 51
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


def test_supervised_vertices_begin_with_the_landmarks(
    hierarchy, miniature_model
):
    model = FaceGCN.from_preset(
        "tiny", hierarchy=hierarchy, landmarks=miniature_model.landmarks
    )
    vertices = supervised_vertices(model, 2)
    np.testing.assert_array_equal(vertices[:68], miniature_model.landmarks)
    assert len(np.unique(vertices)) == len(vertices)
    level = hierarchy.levels[1].kept[hierarchy.levels[2].kept]
    assert set(level) | set(miniature_model.landmarks) == set(vertices)
    assert len(supervised_vertices(model, 0)) == 642


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # 4 units off in each coordinate.
        ("exponential_wing", 5 * (math.e - 1)),
        ("wing", 10 * math.log(3)),
        ("l1", 4.0),
        ("l2", 16.0),
        ("smooth_l1", 3.5),
    ],
)
def test_a_configuration_names_its_loss(name, expected):
    config = dataclasses.replace(get_config("smoke"), loss=name)
    if name == "wing":
        config = dataclasses.replace(
            config, loss_width=10.0, loss_curvature=2.0
        )
    vertices = np.zeros((1, 2, 3), "float32")
    loss = make_loss(config, np.array([2.0, 0.0]))
    assert loss.name == name
    assert float(loss(vertices, vertices + 4.0)) == pytest.approx(
        expected, rel=1e-5
    )


def test_rejects_an_unknown_loss():
    with pytest.raises(ValueError, match="loss='l3'"):
        dataclasses.replace(get_config("smoke"), loss="l3")
