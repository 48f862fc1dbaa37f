"""How far networks are from human points, by how their crop was found.

python -m training.look_errors --data-dir DATA lite

Evaluation cuts the crop around an annotation, `Predictor` first around what a
detector found, then around the landmarks that it predicted there. Here the
first crop is as inexact as a training's (`Augmentation`), the second is cut
around the landmarks of the first, and turned as `Predictor` does; other crops
are cut around the teacher's landmarks and around the labels', as evaluations
do. The photos are those that `facegcn train` holds out, the points those that
people annotated, so trainings and choices of inference can be compared without
a benchmark's photos.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from tf_facegcn.geometry.morphable_model import MorphableModel
from tf_facegcn.imaging.upright_crop import in_plane_roll, nearest_roll
from tf_facegcn.models.face_gcn import FaceGCN
from tf_facegcn.models.released_weights import load_model
from training.config import get_config
from training.data.aflw_crops import AflwCrops
from training.data.augmentation import Augmentation
from training.label_quality import (
    LabelsOption,
    NumPhotosOption,
    held_out_photos,
)
from training.scores import YAW_BINS, landmark_errors, summarize
from training.second_teacher import predict_around
from training.systematic_errors import find_systematic_errors
from training.teacher_correction import correct_teacher, human_point_matrix

Floats = NDArray[np.float64]

# As inexact as the crops of `lite`'s training that are not a second pass's.
_LITE = get_config("lite").augmentation
_FIRST = Augmentation(
    translation=_LITE.translation,
    scale_min=_LITE.scale_min,
    scale_max=_LITE.scale_max,
)
_EXACT = Augmentation()
# A look that is compared with another one of the first network.
_COMPARED_WITH = {"upright": "second"}


def look_landmarks(
    model: FaceGCN, crops: AflwCrops, label_landmarks: Floats
) -> dict[str, Floats]:
    """Predicts the landmarks of photos in crops that were found differently.

    Args:
        model: A FaceGCN.
        crops: The photos.
        label_landmarks: `(n, 68, 3)` those of the photos' labels, in units of
            the stored crops.

    Returns:
        `(n, 68, 3)` landmarks in units of the stored crops: `"label"` and
        `"teacher"`, of the crop around these landmarks; `"first"`, of a crop
        that is off by up to 8 % of its side and 0.85 to 1.2 times as
        magnified, the same for every network, and shows the reflected photo
        beyond its end; `"second"`, of the crop around `"first"`; `"upright"`,
        of that crop turned upright, as `Predictor` does.
    """
    network = model.at_vertices(model.landmarks)
    template = np.asarray(model.template)[model.landmarks]
    indices = range(len(crops.jpegs))

    def predict(
        landmarks: Floats, change: Augmentation, rolls: Floats | None = None
    ) -> Floats:
        return predict_around(
            network.predict_on_batch,
            model.input_size,
            crops,
            indices,
            landmarks,
            change,
            rolls,
        )

    first = predict(crops.teacher_landmarks, _FIRST)
    rolls = np.array([nearest_roll(face, template) for face in first])
    return {
        "label": predict(label_landmarks, _EXACT),
        "teacher": predict(crops.teacher_landmarks, _EXACT),
        "first": first,
        "second": predict(first, _EXACT),
        "upright": predict(first, _EXACT, rolls),
    }


def human_targets(crops: AflwCrops) -> Floats:
    """Finds where the human points lie in the teacher's convention.

    Args:
        crops: All photos of a training, as constant differences are found
            over thousands.

    Returns:
        `(n, 21, 2)` human points without the constant differences from the
        teacher's: their offsets in the head's axes, and their shift in the
        image. Labels are without these, too. NaN where there is no point.
    """
    head = MorphableModel.bundled()
    reference = head.mean[head.landmarks].astype(np.float64)
    teacher, human = crops.teacher_landmarks, crops.human_points
    shift = find_systematic_errors(teacher, human, reference).image_shift
    return correct_teacher(teacher, human - shift, reference).human_targets


def look_errors(crops: AflwCrops, landmarks: Floats) -> Floats:
    """Measures landmarks against the human points of their photos.

    Nothing is fitted to the landmarks, so what all of them are off by counts.

    Args:
        crops: The photos, with `human_targets` for human points.
        landmarks: `(n, 68, 3)` in units of the stored crops.

    Returns:
        `(n,)` mean distance in % of `sqrt(w * h)` of the box of the teacher's
        landmarks; NaN for photos without a human point.
    """
    found = human_point_matrix() @ landmarks[..., :2]
    distance = np.linalg.norm(crops.human_points - found, axis=-1)
    seen = np.isfinite(distance)
    count = seen.sum(axis=1)
    mean = np.where(seen, distance, 0).sum(axis=1) / np.maximum(count, 1)
    extent = np.ptp(crops.teacher_landmarks[..., :2], axis=1)
    errors = 100 * mean / np.sqrt(extent.prod(axis=1))
    return np.where(count > 0, errors, np.nan)


def main(
    weights: Annotated[
        list[str], typer.Argument(help="Networks on the bundled head.")
    ],
    data_dir: Annotated[Path, typer.Option(help="Folder of the photos.")],
    labels: LabelsOption = None,
    num_photos: NumPhotosOption = None,
    least_lean: Annotated[
        float, typer.Option(help="Only heads that lean as far, in degrees.")
    ] = 0.0,
) -> None:
    """Prints a table of distances by yaw.

    Errors are those from human points; `labels` is the mean of the bins of the
    68 landmarks' distance from the photos' labels. `change` is the mean of the
    bins less the first network's, below zero where it is better (for upright
    crops, less those of its second looks that are not turned), and `+-` the
    standard error of that difference over the photos; what another seed of the
    training would change is not in it.
    """
    count = num_photos or get_config("lite").num_validation
    crops = AflwCrops.load(data_dir)
    crops = crops._replace(human_points=human_targets(crops))
    crops, truth = held_out_photos(crops, labels, count)
    if least_lean:
        leaning = np.flatnonzero(np.abs(_leans(crops)) >= least_lean)
        if not len(leaning):
            raise typer.BadParameter(
                f"no head leans by {least_lean:g} degrees; expected fewer "
                "degrees, or more photos (--num-photos)",
                param_hint="--least-lean",
            )
        crops, truth = crops.subset(leaning), truth[leaning]
        typer.echo(f"{len(leaning)} photos")
    typer.echo(
        f"{'':<36}{'0-30':>7}{'30-60':>7}{'60-90':>7}{'bins':>7}"
        f"{'change':>8}{'+-':>6}{'labels':>8}{'change':>8}{'+-':>6}"
    )
    first: dict[str, tuple[Floats, Floats]] = {}
    for name in weights:
        found = look_landmarks(load_model(name), crops, truth)
        for look, landmarks in found.items():
            errors = (
                look_errors(crops, landmarks),
                landmark_errors(truth[..., :2], landmarks[..., :2]),
            )
            compared = first.get(_COMPARED_WITH.get(look, look))
            columns = _columns(errors, compared, crops.yaw)
            typer.echo(f"{f'{name}, {look}':<36}{columns}")
            first.setdefault(look, errors)


def _leans(crops: AflwCrops) -> Floats:
    """`(n,)` in-plane rolls of the teacher's landmarks, degrees."""
    head = MorphableModel.bundled()
    template = head.mean[head.landmarks] * [1, -1, 1]
    return np.array(
        [
            in_plane_roll(face[:, :2], template)
            for face in crops.teacher_landmarks
        ]
    )


def _columns(
    errors: tuple[Floats, Floats],
    compared: tuple[Floats, Floats] | None,
    yaw: Floats,
) -> str:
    """A row of the table, without its name."""
    human, from_labels = errors
    measured = np.isfinite(human)
    row = summarize(human[measured], yaw[measured])
    line = "".join(
        f"{'-':>7}" if value is None else f"{value:7.2f}"
        for value in (*row["bins"], row["mean_of_bins"])
    )
    line += _change(human, compared and compared[0], yaw)
    line += f"{summarize(from_labels, yaw)['mean_of_bins']:8.3f}"
    return line + _change(from_labels, compared and compared[1], yaw)


def _change(errors: Floats, compared: Floats | None, yaw: Floats) -> str:
    if compared is None:
        return " " * 14
    change = errors - compared
    measured = np.isfinite(change)
    change, yaw = change[measured], yaw[measured]
    mean = summarize(change, yaw)["mean_of_bins"]
    return f"{mean:8.3f}{standard_error(change, yaw):6.3f}"


def standard_error(values: Floats, yaw: Floats) -> float:
    """Computes the standard error of a mean of the bins.

    Args:
        values: `(n,)`, one a photo.
        yaw: `(n,)` absolute yaw in degrees.

    Returns:
        NaN if a bin has one value only.
    """
    number = np.searchsorted(YAW_BINS, yaw, side="left")
    bins = [values[number == index] for index in np.unique(number)]
    if min(map(len, bins)) < 2:
        return float("nan")
    variances = [part.var(ddof=1) / len(part) for part in bins]
    return float(np.sqrt(np.sum(variances)) / len(bins))


if __name__ == "__main__":
    typer.run(main)
