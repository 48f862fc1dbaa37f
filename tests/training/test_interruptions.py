"""Trainings that are killed, in processes of their own, and go on."""

import numpy as np
import pytest

from tests.training.training_process import finish, kill_after, start

EPOCHS = 8


def history_of(workdir):
    return np.genfromtxt(workdir / "history.csv", delimiter=",", names=True)


@pytest.mark.slow
def test_training_killed_three_times_ends_like_one_never_killed(
    miniature_folder, tmp_path
):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    changes = {"epochs": EPOCHS, "steps_per_epoch": 20}
    finish(start(whole, miniature_folder, **changes))
    # Right after a checkpoint, in the middle of an epoch, and late in one.
    for num_epochs, delay in ((1, 0.0), (3, 0.05), (5, 0.1)):
        process = start(killed, miniature_folder, **changes)
        kill_after(process, killed, num_epochs, delay)
    finish(start(killed, miniature_folder, **changes))
    expected, found = history_of(whole), history_of(killed)
    assert found["epoch"].tolist() == list(range(EPOCHS))
    for name in expected.dtype.names:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5)
    assert (whole / "metrics.json").read_text() == (
        killed / "metrics.json"
    ).read_text()
