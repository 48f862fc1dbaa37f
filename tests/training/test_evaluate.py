import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.fake_model import FakeFaceModel
from tests.training.miniature import make_faces, write_aflw2000
from tf_facegcn.models import released_weights
from training.evaluate import evaluate, metrics_table, read_predictions
from training.landmark_prediction import LookOptions

YAW = [5.0, 45.0, 80.0, 20.0]
CARD = Path(__file__).resolve().parents[2] / "saved_models" / "lite.md"
NUM_DEVELOPMENT = 400


@pytest.fixture(scope="module")
def landmarks(miniature_model):
    return make_faces(miniature_model, 4)[0]


@pytest.fixture
def folder(tmp_path, landmarks):
    folder = tmp_path / "data"
    folder.mkdir()
    write_aflw2000(folder, landmarks, YAW)
    return folder


def write_predictions(path, landmarks):
    names = np.array([f"image{i:05d}" for i in range(len(landmarks))])
    order = np.arange(len(names))[::-1]
    np.savez(path, names=names[order], landmarks68=landmarks[order])
    return path


def test_perfect_predictions_have_no_error(folder, landmarks, tmp_path):
    # Neither does a constant shift in depth count.
    path = write_predictions(
        tmp_path / "p.npz", landmarks + np.array([0, 0, 55])
    )
    metrics = evaluate("aflw2000", folder, None, tmp_path / "out", path)
    assert metrics["nme_2d_68"]["original"]["mean"] == pytest.approx(0)
    assert metrics["nme_3d_68"]["mean_of_bins"] == pytest.approx(0, abs=1e-9)


def test_how_the_network_looked_is_written_down(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(
        released_weights, "load_model", lambda _: FakeFaceModel()
    )
    look = LookOptions(narrower=True)
    output = tmp_path / "out"
    evaluate("aflw2000", folder, "w.keras", output, look=look)
    written = json.loads((output / "metrics.json").read_text())
    assert written["weights"] == "w.keras"
    assert written["narrower"] is True
    assert written["mirror"] is False
    assert written["num_refinements"] == 0
    assert "refinements" not in written["protocol"]
    look = LookOptions(num_refinements=2)
    metrics = evaluate("aflw2000", folder, "w.keras", output, look=look)
    told = metrics["protocol"]["refinements"]
    assert told.startswith("2: ")
    assert "15 degrees" in told


def test_figures_and_files_worked_out_by_hand(folder, landmarks, tmp_path):
    found = landmarks.copy()
    found[2, :, :2] += [3.0, 4.0]
    path = write_predictions(tmp_path / "p.npz", found)
    output = tmp_path / "out"
    metrics = evaluate("aflw2000", folder, None, output, path)
    extent = np.ptp(landmarks[2, :, :2], axis=0)
    error = 100 * 5.0 / np.sqrt(extent.prod())
    original = metrics["nme_2d_68"]["original"]
    np.testing.assert_allclose(original["bins"], [0, 0, error], atol=1e-9)
    assert original["mean_of_bins"] == pytest.approx(error / 3)
    assert original["mean"] == pytest.approx(error / 4)
    dark = metrics["subsets"]["dark"]
    assert dark["num_photos"] == 4
    assert dark["nme_2d_68_original"] == pytest.approx(error / 4)
    assert metrics["subsets"]["rolled"]["nme_2d_68_original"] is None
    line = f"2D-68, dark, 4 photos: mean {error / 4:.3f} (original)"
    assert line in metrics_table(metrics)
    assert json.loads((output / "metrics.json").read_text()) == metrics
    assert "sqrt(w * h)" in metrics["protocol"]["size"]
    with (output / "images.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows][2] == "image00002"
    assert float(rows[2]["nme_2d_68_original"]) == pytest.approx(
        error, abs=1e-4
    )
    pictures = sorted(path.name for path in (output / "worst").iterdir())
    assert len(pictures) == 4
    assert pictures[0].startswith("01_image00002_")
    assert cv2.imread(str(output / "worst" / pictures[0])).shape == (
        256,
        256,
        3,
    )
    stored = read_predictions(output / "predictions.npz", ["image00002"])
    np.testing.assert_allclose(stored[0], found[2], atol=1e-3)


def test_without_reannotation_only_the_original_is_scored(
    folder, landmarks, tmp_path
):
    path = write_predictions(tmp_path / "p.npz", landmarks)
    metrics = evaluate("aflw2000", folder, None, tmp_path / "out", path)
    assert set(metrics["nme_2d_68"]) == {"original"}
    assert "reannotated left out" in metrics["note"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": "w300"}, "aflw2000.*dataset='w300'"),
        ({"predictions": None}, "either weights or predictions"),
        ({"weights": "lite"}, "either weights or predictions"),
    ],
)
def test_wrong_arguments_are_refused(folder, tmp_path, change, message):
    arguments = {
        "dataset": "aflw2000",
        "data_dir": folder,
        "weights": None,
        "output": tmp_path / "out",
        "predictions": tmp_path / "p.npz",
    }
    with pytest.raises(ValueError, match=message):
        evaluate(**(arguments | change))
    assert not (tmp_path / "out").exists()


def test_predictions_that_do_not_fit_are_refused(landmarks, tmp_path):
    path = write_predictions(tmp_path / "p.npz", landmarks)
    with pytest.raises(ValueError, match="1 of 2, such as image00009"):
        read_predictions(path, ["image00000", "image00009"])
    broken = landmarks.copy()
    broken[1, 3, 0] = np.nan
    path = write_predictions(tmp_path / "p.npz", broken)
    with pytest.raises(ValueError, match="NaN or infinity for image00001"):
        read_predictions(path, ["image00000", "image00001"])
    path = write_predictions(tmp_path / "p.npz", landmarks[..., :2])
    with pytest.raises(ValueError, match=r"\(4, 68, 2\)"):
        read_predictions(path, ["image00000"])
    np.savez(tmp_path / "p.npz", names=np.array(["image00000"]))
    with pytest.raises(ValueError, match="no landmarks68"):
        read_predictions(tmp_path / "p.npz", ["image00000"])


def test_gives_the_known_figures_of_the_public_peer(real_data, tmp_path):
    folder = real_data / "AFLW2000"
    predictions = folder / "peer_predictions.npz"
    metrics = evaluate("aflw2000", folder, None, tmp_path, predictions)
    expected = {
        "original": ([2.821, 3.571, 4.872], 3.755, 3.230),
        "reannotated": ([2.142, 2.800, 3.999], 2.980, 2.508),
    }
    summaries = dict(metrics["nme_2d_68"])
    summaries["3d"] = metrics["nme_3d_68"]
    expected["3d"] = ([3.965, 4.977, 6.699], 5.214, 4.513)
    for name, (bins, mean_of_bins, mean) in expected.items():
        np.testing.assert_allclose(summaries[name]["bins"], bins, atol=5e-4)
        assert summaries[name]["mean_of_bins"] == pytest.approx(
            mean_of_bins, abs=5e-4
        )
        assert summaries[name]["mean"] == pytest.approx(mean, abs=5e-4)


@pytest.mark.slow
def test_released_lite_has_the_figures_of_its_card(real_data, tmp_path):
    metrics = evaluate("aflw2000", real_data / "AFLW2000", "lite", tmp_path)
    if metrics["num_photos"] != NUM_DEVELOPMENT:
        pytest.skip("the card's figures are of the 400 development images")
    found = [
        metrics["nme_2d_68"]["original"],
        metrics["nme_2d_68"]["reannotated"],
        metrics["nme_3d_68"],
    ]
    lines = CARD.read_text().splitlines()
    # One look from the true box comes first.
    rows = [line.split("|") for line in lines if "-68, " in line][:3]
    for summary, row in zip(found, rows, strict=True):
        printed = [float(cell) for cell in row[2:7]]
        expected = [*summary["bins"], summary["mean_of_bins"], summary["mean"]]
        # Other processors round otherwise.
        np.testing.assert_allclose(printed, expected, atol=0.011)
