"""How far landmarks are from points that people annotated, and were not shown.

python -m training.label_quality --data-dir DATA --weights lite

A quarter of the human points of each photo at a time is hidden from the
correction (`training/teacher_correction.py`) and from the labels that are
fitted to it, and used to measure both. Photos are those that `facegcn train`
holds out, which the network has not seen; with `--num-photos` more of them, of
which it has seen the others.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer
from numpy.typing import NDArray

from tf_facegcn.geometry.camera import fit_camera
from tf_facegcn.geometry.morphable_model import MorphableModel
from training.config import get_config
from training.data.aflw_crops import AflwCrops
from training.data.fitted_labels import FittedLabels
from training.data.photo_source import split_indices
from training.fit_labels import fit_labels, label_landmarks, refit_labels
from training.kept_labels import labels_for
from training.scores import summarize
from training.second_teacher import MEAN_RIDGE, with_second_teacher
from training.teacher_correction import (
    TEACHER_RIDGE,
    UNUSED_POINTS,
    Ridge,
    correct_teacher,
    human_point_matrix,
)

Floats = NDArray[np.float64]

# Options of commands that measure on `held_out_photos`.
LabelsOption = Annotated[
    Path | None, typer.Option(help="labels.npz of a workdir, to save a fit.")
]
NumPhotosOption = Annotated[
    int | None,
    typer.Option(
        min=1, help="How many photos; else those held out from training."
    ),
]

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
    landmarks = crops.teacher_landmarks

    def correct(shown: AflwCrops) -> _Placed:
        found = correct_teacher(landmarks, shown.human_points, reference, ridge)
        offsets = _in_crops(found.offsets, landmarks, reference)
        return _Placed(offsets, (landmarks, found.landmarks))

    before, after = _hidden_distances(crops, correct)
    return before, after


def hidden_label_distances(
    crops: AflwCrops, model: MorphableModel, averaged: AflwCrops | None = None
) -> Floats:
    """Measures labels that were fitted without a part of the human points.

    Args:
        crops: Photos.
        model: The morphable model to fit.
        averaged: The photos with the mean of two teachers, for labels of a
            second round; without, labels of the first are measured.

    Returns:
        `(n,)` as `hidden_point_distances` returns them, of the landmarks of
        the labels' vertices; NaN also for photos without a label.
    """
    reference = model.mean[model.landmarks].astype(np.float64)

    def fit(shown: AflwCrops) -> _Placed:
        labels, _ = fit_labels(shown, model)
        if averaged is not None:
            mean = averaged._replace(human_points=shown.human_points)
            labels, _ = refit_labels(shown, model, labels, mean)
        indices = labels.photo_indices
        found = label_landmarks(labels, model)
        human = shown.human_points[indices]
        constant = correct_teacher(found, human, reference).offsets
        landmarks = np.full(crops.teacher_landmarks.shape, np.nan)
        offsets = np.full(crops.human_points.shape, np.nan)
        landmarks[indices] = found
        offsets[indices] = _in_crops(constant, found, reference)
        return _Placed(offsets, (landmarks,))

    (distances,) = _hidden_distances(crops, fit)
    return distances


class _Placed(NamedTuple):
    """Where landmarks lie, NaN for photos without.

    Attributes:
        offsets: `(n, 21, 2)` constant offsets of the human points from them.
        landmarks: Several kinds, each `(n, 68, 3)`.
    """

    offsets: Floats
    landmarks: tuple[Floats, ...]


def _hidden_distances(
    crops: AflwCrops, place: Callable[[AflwCrops], _Placed]
) -> Floats:
    """`(m, n)` distances of human points, which `place` was not shown."""
    human = crops.human_points
    used = np.array(np.isfinite(human).all(axis=-1))
    used[:, list(UNUSED_POINTS)] = False
    part_of = np.random.default_rng(_SEED).integers(0, _NUM_PARTS, used.shape)
    totals = []
    for part in range(_NUM_PARTS):
        hidden = used & (part_of == part)
        shown = np.where(hidden[..., None], np.nan, human)
        placed = place(crops._replace(human_points=shown))
        means = human_point_matrix() @ np.stack(placed.landmarks)[..., :2]
        distance = np.linalg.norm(human - placed.offsets - means, axis=-1)
        totals.append(np.where(hidden, distance, 0.0).sum(axis=-1))
    extent = np.ptp(crops.teacher_landmarks[..., :2], axis=1)
    count = used.sum(axis=1)
    scale = np.sqrt(extent.prod(axis=1)) * np.where(count > 0, count, np.nan)
    return 100 * np.sum(totals, axis=0) / scale


def _in_crops(offsets: Floats, landmarks: Floats, reference: Floats) -> Floats:
    """`(n, 21, 2)` of `(21, 3)` offsets in the heads' axes."""
    cameras = fit_camera(reference, landmarks)[..., :2, :3]
    return np.einsum("nij,kj->nki", cameras, offsets)


class HeldOutPhotos(NamedTuple):
    """Photos that trainings hold out.

    Attributes:
        crops: The photos.
        label_landmarks: `(n, 68, 3)` landmarks of their labels, in units of
            the stored crops.
    """

    crops: AflwCrops
    label_landmarks: Floats


def held_out_photos(
    crops: AflwCrops, labels: Path | None, count: int
) -> HeldOutPhotos:
    """Finds the photos that trainings hold out.

    Args:
        crops: All photos.
        labels: `labels.npz` of a workdir on the bundled head, of any round, as
            the photos that have a label are the same in all; `None` to fit the
            first round's.
        count: How many photos; more include those that trainings hold out.

    Raises:
        ValueError: If the labels are of another morphable model, with which
            other photos are held out.
    """
    head = MorphableModel.bundled()
    fitted = (
        FittedLabels.load(labels) if labels else labels_for(crops, head, None)
    )
    expected = (
        head.num_shape
        + head.num_expression
        + len(fitted.displacement_components)
    )
    if fitted.parameters.shape[1] != expected:
        raise ValueError(
            f"{labels}: expected labels of the bundled head, with {expected} "
            f"parameters. Received: {fitted.parameters.shape[1]}"
        )
    _, held_out = split_indices(len(fitted), count, get_config("lite").seed)
    return HeldOutPhotos(
        crops.subset(fitted.photo_indices[held_out]),
        label_landmarks(fitted, head)[held_out],
    )


def main(
    data_dir: Annotated[Path, typer.Option(help="Folder of the photos.")],
    weights: Annotated[
        str, typer.Option(help="Also of this network, and of means with it.")
    ] = "",
    labels: LabelsOption = None,
    num_photos: NumPhotosOption = None,
) -> None:
    """Prints a table of distances by yaw."""
    model = MorphableModel.bundled()
    count = num_photos or get_config("lite").num_validation
    crops = held_out_photos(AflwCrops.load(data_dir), labels, count).crops
    reference = model.mean[model.landmarks].astype(np.float64)
    shares = (0.0, 0.4, 0.7, 1.0) if weights else (0.0,)
    typer.echo(
        f"{'share of the network':<24}{'0-30':>7}{'30-60':>7}{'60-90':>7}"
    )
    for share in shares:
        if share:
            averaged = with_second_teacher(crops, weights, share)
            rows = hidden_point_distances(averaged, reference, MEAN_RIDGE)
            fitted = hidden_label_distances(crops, model, averaged)
        else:
            rows = hidden_point_distances(crops, reference)
            fitted = hidden_label_distances(crops, model)
        names = ("", ", corrected", ", fitted")
        for name, values in zip(names, (*rows, fitted), strict=True):
            there = np.isfinite(values)
            bins = summarize(values[there], crops.yaw[there])["bins"]
            typer.echo(
                f"{f'{share:g}{name}':<24}"
                + "".join(
                    f"{'-':>7}" if mean is None else f"{mean:7.2f}"
                    for mean in bins
                )
            )


if __name__ == "__main__":
    typer.run(main)
