import dataclasses
import json

import keras
import numpy as np
import pytest

from tf_facegcn.geometry.mesh_hierarchy import MeshHierarchy
from tf_facegcn.models.face_gcn import FaceGCN
from training import train as train_module
from training.config import get_config
from training.data.augmentation import Augmentation
from training.data.photo_source import PhotoSource
from training.nan_stop import NAN_BATCH_NAME
from training.train import train


@pytest.fixture(scope="module")
def hierarchy(miniature_model):
    return MeshHierarchy.build(
        miniature_model.template, level_sizes=(256, 64, 16)
    )


@pytest.fixture(scope="module")
def config(miniature_folder):
    return dataclasses.replace(
        get_config("smoke"),
        data_dir=str(miniature_folder),
        synthetic_share=0.0,
        batch_size=4,
        steps_per_epoch=5,
        epochs=3,
        warmup_steps=2,
        supervised_level=0,
        num_validation=4,
        tensorboard=False,
    )


@pytest.fixture
def run(hierarchy, miniature_model):
    def run(config, workdir):
        def make_model():
            # Compiling each operator takes longer than these few steps.
            return FaceGCN.from_preset(
                config.preset,
                hierarchy=hierarchy,
                landmarks=miniature_model.landmarks,
                lowering="gather",
                dtype=config.precision,
            )

        return train(config, workdir, make_model, miniature_model)

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
        dataclasses.replace(config, supervised_level=1, tensorboard=True),
        tmp_path / "run",
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
        "tensorboard",
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
        config, learning_rate=1e30, clip_norm=0.0, average_momentum=0.0
    )
    with pytest.raises(FloatingPointError, match="learning_rate"):
        run(exploding, tmp_path)
    with np.load(tmp_path / NAN_BATCH_NAME) as seen:
        assert seen["images"].shape == (4, 32, 32, 3)
        assert np.isfinite(seen["vertices"]).all()
        assert seen["epoch"] == 0


@pytest.mark.slow
def test_label_that_turns_into_nan_is_traced_to_its_example(
    config, run, tmp_path, monkeypatch
):
    load = PhotoSource.load

    def damaged(self, index, seed=()):
        example = load(self, index, seed)
        if index != 5 or len(self) < 10:
            return example
        return example._replace(parameters=example.parameters * np.nan)

    monkeypatch.setattr(PhotoSource, "load", damaged)
    with pytest.raises(FloatingPointError, match="of the examples 5 are NaN"):
        run(config, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "mixed_float16"},
        {"precision": "mixed_bfloat16", "steps_per_execution": 5},
        {"accumulation_steps": 2, "optimizer": "sgd", "clip_norm": 0.0},
        {"jit_compile": True, "schedule": "exponential"},
    ],
    ids=lambda changes: next(iter(changes.values())),
)
def test_trains_in_every_way(config, run, tmp_path, changes):
    # Photos that stay the same are learnt within a few steps.
    changed = dataclasses.replace(
        config, epochs=4, augmentation=Augmentation(), **changes
    )
    path = run(changed, tmp_path)
    history = np.genfromtxt(tmp_path / "history.csv", delimiter=",", names=True)
    assert np.isfinite(history["loss"]).all()
    assert history["loss"][2:].mean() < history["loss"][:2].mean()
    # Whoever predicts with the network chooses a precision anew.
    assert keras.saving.load_model(path).dtype_policy.name == "float32"


def test_workdir_of_another_configuration_is_refused(config, run, tmp_path):
    other = dataclasses.replace(config, seed=99)
    (tmp_path / "config.json").write_text(other.to_json())
    with pytest.raises(ValueError, match=r"differs in seed\. .* seed=99"):
        run(config, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["seed"] == 99


def test_begins_with_given_weights(config, run, tmp_path):
    path = run(dataclasses.replace(config, epochs=1), tmp_path / "first")
    still = dataclasses.replace(
        config, epochs=1, initial_weights=str(path), learning_rate=1e-12
    )
    first = keras.saving.load_model(path)
    second = keras.saving.load_model(run(still, tmp_path / "second"))
    for weight, other in zip(
        first.trainable_weights, second.trainable_weights, strict=True
    ):
        np.testing.assert_allclose(weight, other, atol=1e-6)


@pytest.mark.slow
def test_a_finer_decoder_begins_where_the_coarser_ended(
    config, hierarchy, miniature_model, tmp_path
):
    fine = {"decoder_growths": (2, 6, 6), "output_filters": (6,)}
    coarse = {
        "decoder_growths": (2, 6),
        "aggregation_widths": (4, 4),
        "aggregation_rounds": 1,
        "output_filters": (),
        "output_level": 1,
    }

    def trained(fields, config, workdir):
        def make_model():
            return FaceGCN.from_preset(
                "tiny",
                hierarchy=hierarchy,
                landmarks=miniature_model.landmarks,
                lowering="gather",
                vertex_embedding=False,
                template_transform=False,
                displacement_level=None,
                **fields,
            )

        return train(config, tmp_path / workdir, make_model, miniature_model)

    longer = dataclasses.replace(config, steps_per_epoch=20, epochs=2)
    path = trained(coarse, longer, "coarse")
    still = dataclasses.replace(
        config,
        epochs=1,
        initial_weights=str(path),
        learning_rate=1e-12,
        average_momentum=0.0,
        statistics_steps=4,
    )
    photos = np.random.default_rng(0).uniform(size=(4, 32, 32, 3))
    ended, begun = (
        keras.Model(model.input, model.get_layer("displacements").output)(
            photos.astype("float32")
        )
        for model in map(
            keras.saving.load_model, (path, trained(fine, still, "fine"))
        )
    )
    begun = np.asarray(begun)[:, hierarchy.levels[1].kept]
    difference = np.linalg.norm(begun - ended)
    assert 0 < difference < 0.5 * np.linalg.norm(ended)


def test_statistics_are_taken_anew_after_training(config, run, tmp_path):
    config = dataclasses.replace(config, epochs=1)
    anew = dataclasses.replace(config, statistics_steps=2)
    kept = keras.saving.load_model(run(config, tmp_path / "kept"))
    renewed = keras.saving.load_model(run(anew, tmp_path / "renewed"))
    for one, other in zip(
        kept.trainable_weights, renewed.trainable_weights, strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-5)
    name = "encoder_0_0"
    means = [
        model.get_layer(name).normalizations[0].moving_mean
        for model in (kept, renewed)
    ]
    assert np.abs(means[0] - means[1]).max() > 1e-3


def test_going_on_needs_no_initial_weights(config, run, tmp_path):
    path = run(dataclasses.replace(config, epochs=1), tmp_path / "first")
    then = dataclasses.replace(config, epochs=1, initial_weights=str(path))
    second = run(then, tmp_path / "second")
    path.unlink()
    before = second.stat().st_mtime_ns
    assert run(then, tmp_path / "second") == second
    assert second.stat().st_mtime_ns > before


def test_goes_on_only_with_the_data_it_began_on(config, run, tmp_path):
    config = dataclasses.replace(config, epochs=1)
    run(config, tmp_path)
    path = tmp_path / "environment.json"
    environment = json.loads(path.read_text())
    began_on = "0" * 64
    path.write_text(json.dumps({**environment, "data_fingerprint": began_on}))
    with pytest.raises(ValueError, match="second teacher of the same weights"):
        run(config, tmp_path)
    assert json.loads(path.read_text())["data_fingerprint"] == began_on


def test_initial_weights_of_another_network_are_refused(config, run, tmp_path):
    other = dataclasses.replace(config, initial_weights="lite")
    with pytest.raises(ValueError, match=r"initial_weights='lite'.*1805663"):
        run(other, tmp_path / "run")


def test_missing_data_folder_is_named(config, run, tmp_path):
    nowhere = dataclasses.replace(config, data_dir=str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match=r"does not exist.*nowhere"):
        run(nowhere, tmp_path / "run")
