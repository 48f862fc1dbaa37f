import keras
import numpy as np
import pytest

from training.checkpoint import BEST_NAME, Checkpoint


def make_model():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    optimizer = keras.optimizers.AdamW(0.1, use_ema=True, ema_momentum=0.5)
    model.compile(optimizer, loss="mse", metrics=["mae"])
    return model


def fit(model, checkpoint, epochs):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(8, 3)).astype("float32")
    y = generator.normal(size=(8, 2)).astype("float32")
    model.fit(
        x,
        y,
        batch_size=8,
        shuffle=False,
        epochs=epochs,
        callbacks=[checkpoint],
        verbose=0,
    )


def state(model):
    variables = model.weights + model.optimizer.variables
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def assert_same_state(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


class StateOfEpoch(keras.callbacks.Callback):
    def __init__(self, checkpoint):
        super().__init__()
        self.checkpoint = checkpoint
        self.states = []

    def on_epoch_end(self, epoch, logs=None):
        self.states.append(state(self.model))


@pytest.fixture
def trained(tmp_path):
    """A folder after three epochs, and the states at their ends."""
    model, checkpoint = make_model(), Checkpoint(tmp_path, "loss")
    recorder = StateOfEpoch(checkpoint)
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    model.fit(
        x,
        x[:, :2],
        epochs=3,
        batch_size=8,
        callbacks=[checkpoint, recorder],
        verbose=0,
    )
    return tmp_path, recorder.states


def test_restores_weights_and_optimiser(trained):
    folder, states = trained
    model = make_model()
    assert Checkpoint(folder, "loss").restore(model) == 3
    assert_same_state(state(model), states[-1])


def test_keeps_the_last_two_and_the_best(trained):
    folder, _ = trained
    assert sorted(path.name for path in folder.iterdir()) == [
        BEST_NAME,
        "checkpoint-000002.weights.h5",
        "checkpoint-000003.weights.h5",
    ]


@pytest.mark.parametrize("kept_bytes", [0, 1000, -200])
def test_truncated_checkpoint_gives_way_to_the_one_before(trained, kept_bytes):
    folder, states = trained
    newest = folder / "checkpoint-000003.weights.h5"
    newest.write_bytes(newest.read_bytes()[:kept_bytes])
    model = make_model()
    assert Checkpoint(folder, "loss").restore(model) == 2
    assert_same_state(state(model), states[1])


def test_empty_folder_starts_at_the_beginning(tmp_path):
    model = make_model()
    before = [w.numpy() for w in model.weights]
    assert Checkpoint(tmp_path / "none", "loss").restore(model) == 0
    assert_same_state([w.numpy() for w in model.weights], before)


def test_best_weights_are_the_averages(tmp_path):
    model, checkpoint = make_model(), Checkpoint(tmp_path, "loss")
    # Losses of the second epoch are lower, so its averages are the best.
    fit(model, checkpoint, epochs=2)
    recorded = state(model)
    best = make_model()
    best.optimizer.build(best.trainable_variables)
    best.load_weights(tmp_path / BEST_NAME)
    # `fit` ends by making the averages the weights.
    assert_same_state([w.numpy() for w in best.weights], recorded[:2])
    raw = make_model()
    raw.optimizer.build(raw.trainable_variables)
    raw.load_weights(tmp_path / "checkpoint-000002.weights.h5")
    assert np.any(raw.weights[0].numpy() != best.weights[0].numpy())


def test_unreadable_checkpoints_are_no_reason_to_start_anew(trained):
    folder, _ = trained
    for path in folder.glob("checkpoint-*"):
        path.write_bytes(b"broken")
    with pytest.raises(ValueError, match="None of the checkpoints"):
        Checkpoint(folder, "loss").restore(make_model())


def test_loss_that_is_no_number_is_not_saved(tmp_path):
    checkpoint = Checkpoint(tmp_path, "loss")
    checkpoint.set_model(make_model())
    checkpoint.on_epoch_end(0, {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


def test_full_disk_leaves_the_last_checkpoint_whole(trained, monkeypatch):
    folder, states = trained
    before = sorted(path.name for path in folder.iterdir())
    checkpoint = Checkpoint(folder, "loss")
    model = make_model()
    checkpoint.restore(model)
    checkpoint.set_model(model)
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(OSError, match=r"No space left .* 0\.0 MB are free"):
        checkpoint.on_epoch_end(3, {"loss": 0.0})
    assert sorted(path.name for path in folder.iterdir()) == before
    again = make_model()
    assert Checkpoint(folder, "loss").restore(again) == 3
    assert_same_state(state(again), states[-1])


def test_other_machines_write_nothing(tmp_path):
    model = make_model()
    fit(model, Checkpoint(tmp_path, "loss", writable=False), epochs=1)
    assert not list(tmp_path.iterdir())
