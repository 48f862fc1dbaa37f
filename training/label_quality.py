"""How far landmarks are from points that people annotated, and were not shown.

python -m training.label_quality --data-dir DATA --weights lite

A quarter of the human points of each photo at a time is hidden from the
correction (`training/teacher_correction.py`) and used to measure it. Photos are
those that `facegcn train` holds out, which the network has not seen; with
`--num-photos` more of them, of which it has seen the others.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from tf_facegcn.geometry.camera import fit_camera
from tf_facegcn.geometry.morphable_model import MorphableModel
from training.config import get_config
from training.data.aflw_crops import AflwCrops
from training.data.fitted_labels import FittedLabels
from training.data.photo_source import split_indices
from training.kept_labels import labels_for
from training.scores import YAW_BINS
from training.second_teacher import MEAN_RIDGE, with_second_teacher
from training.teacher_correction import (
    TEACHER_RIDGE,
    UNUSED_POINTS,
    Ridge,
    correct_teacher,
    human_point_matrix,
)

Floats = NDArray[np.float64]

_NUM_PARTS = 4
_SEED = 0


def hidden_point_distances(
    crops: AflwCrops, reference: Floats, ridge: Ridge = TEACHER_RIDGE
) -> tuple[Floats, Floats]:
    """Measures landmarks before and after the correction.

    Args:
        crops: Photos; their `teacher_landmarks` are measured.
        reference: `(68, 3)` landmarks of a mean face in model axes.
        ridge: How firmly the correction holds the landmarks.

    Returns:
        Two `(n,)`: mean distance from the human points, in % of
        `sqrt(w * h)` of the landmarks' box, without the constant difference
        between the two definitions; uncorrected, and corrected by the other
        points of the photo. NaN for photos without a human point.
    """
    landmarks, human = crops.teacher_landmarks, crops.human_points
    used = np.array(np.isfinite(human).all(axis=-1))
    used[:, list(UNUSED_POINTS)] = False
    part_of = np.random.default_rng(_SEED).integers(0, _NUM_PARTS, used.shape)
    cameras = fit_camera(reference, landmarks)[..., :2, :3]
    totals = np.zeros((2, len(human)))
    for part in range(_NUM_PARTS):
        hidden = used & (part_of == part)
        shown = np.where(hidden[..., None], np.nan, human)
        correction = correct_teacher(landmarks, shown, reference, ridge)
        offsets = np.einsum("nij,kj->nki", cameras, correction.offsets)
        for row, points in enumerate((landmarks, correction.landmarks)):
            means = human_point_matrix() @ points[..., :2]
            distance = np.linalg.norm(human - offsets - means, axis=-1)
            totals[row] += np.where(hidden, distance, 0.0).sum(axis=1)
    extent = np.ptp(landmarks[..., :2], axis=1)
    count = used.sum(axis=1)
    scale = np.sqrt(extent.prod(axis=1)) * np.where(count > 0, count, np.nan)
    before, after = 100 * totals / scale
    return before, after


def held_out_crops(
    crops: AflwCrops, labels: Path | None, count: int
) -> AflwCrops:
    """Finds the photos that trainings hold out.

    Args:
        crops: All photos.
        labels: `labels.npz` of a workdir of any round, as the photos that have
            a label are the same in all; `None` to fit the first round's.
        count: How many photos; more include those that trainings hold out.
    """
    fitted = (
        FittedLabels.load(labels)
        if labels
        else labels_for(crops, MorphableModel.bundled(), None)
    )
    _, held_out = split_indices(len(fitted), count, get_config("lite").seed)
    indices = fitted.photo_indices[held_out]
    return crops._replace(
        names=crops.names[indices],
        jpegs=[crops.jpegs[index] for index in indices],
        human_points=crops.human_points[indices],
        teacher_landmarks=crops.teacher_landmarks[indices],
        yaw=crops.yaw[indices],
    )


def main(
    data_dir: Annotated[Path, typer.Option(help="Folder of the photos.")],
    weights: Annotated[
        str, typer.Option(help="Also of this network, and of means with it.")
    ] = "",
    labels: Annotated[
        Path | None,
        typer.Option(help="labels.npz of a workdir, to save a fit."),
    ] = None,
    num_photos: Annotated[
        int | None,
        typer.Option(
            min=1, help="How many photos; else those held out from training."
        ),
    ] = None,
) -> None:
    """Prints a table of distances by yaw."""
    model = MorphableModel.bundled()
    count = num_photos or get_config("lite").num_validation
    crops = held_out_crops(AflwCrops.load(data_dir), labels, count)
    reference = model.mean[model.landmarks].astype(np.float64)
    shares = (0.0, 0.4, 0.7, 1.0) if weights else (0.0,)
    yaw = np.searchsorted(YAW_BINS, crops.yaw, side="left")
    typer.echo(
        f"{'share of the network':<24}{'0-30':>7}{'30-60':>7}{'60-90':>7}"
    )
    for share in shares:
        if share:
            averaged = with_second_teacher(crops, weights, share)
            distances = hidden_point_distances(averaged, reference, MEAN_RIDGE)
        else:
            distances = hidden_point_distances(crops, reference)
        for name, values in zip(("", ", corrected"), distances, strict=True):
            means = [np.nanmean(values[yaw == index]) for index in range(3)]
            typer.echo(
                f"{f'{share:g}{name}':<24}"
                + "".join(f"{mean:7.2f}" for mean in means)
            )


if __name__ == "__main__":
    typer.run(main)
