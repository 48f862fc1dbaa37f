"""A second teacher: a trained network's own view of its training photos.

A network that has seen all photos errs less than the teacher it learnt from,
and differently: corrected by some of the points that people annotated, the
mean of the two is nearer to the others than the teacher alone
(`python -m training.label_quality`, figures in docs/training.md).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tf_facegcn.models.face_gcn import FaceGCN
from tf_facegcn.models.released_weights import load_model
from training.data.aflw_crops import AflwCrops
from training.data.augmentation import Augmentation, augment
from training.data.landmark_mirror import mirror_averaged
from training.scores import without_mean_depth
from training.teacher_correction import Ridge

Floats = NDArray[np.float64]
Images = NDArray[np.float32]

# How firmly the mean of two teachers is held when human points correct it:
# people err about as much as it does. Measured on hidden points of photos that
# the network had not seen (shift 2 to 4 differ by less than 0.01 %).
MEAN_RIDGE = Ridge(shift=3.0, linear=12.0)

_BATCH = 64
# The crops whose predictions are averaged, each with its mirror image: somewhat
# wider and somewhat narrower than evaluation cuts them, so that a network that
# relies on nearly right crops (`Augmentation.second_pass`) does not repeat the
# size of the first teacher's landmarks, around which they are cut.
_MAGNIFICATIONS = (0.9, 1.1)


def with_second_teacher(
    crops: AflwCrops, name_or_path: str | Path, share: float
) -> AflwCrops:
    """Averages the teacher's landmarks with a network's.

    Args:
        crops: The photos.
        name_or_path: Released weights or a `.keras` file.
        share: The network's share in the mean, 0 to 1.

    Returns:
        The same photos with other `teacher_landmarks`; their mean depth is 0.

    Raises:
        ValueError: If there are no such weights.
    """
    found = predict_crops(
        load_model(name_or_path), crops, range(len(crops.jpegs))
    )
    landmarks = share * without_mean_depth(found)
    landmarks += (1 - share) * without_mean_depth(crops.teacher_landmarks)
    return crops._replace(teacher_landmarks=landmarks)


def predict_crops(
    model: FaceGCN, crops: AflwCrops, indices: Sequence[int]
) -> Floats:
    """Predicts `(n, 68, 3)` landmarks of some photos, in crop units.

    The mean over crops of two sizes around the teacher's landmarks, and
    over their mirror images.
    """
    network = model.at_vertices(model.landmarks)
    total = np.zeros((len(indices), 68, 3))
    for magnification in _MAGNIFICATIONS:
        change = Augmentation(scale_min=magnification, scale_max=magnification)
        total += predict_around(
            functools.partial(mirror_averaged, network.predict_on_batch),
            model.input_size,
            crops,
            indices,
            crops.teacher_landmarks[list(indices)],
            change,
        )
    return total / len(_MAGNIFICATIONS)


def predict_around(
    predict: Callable[[Images], NDArray[np.floating]],
    size: int,
    crops: AflwCrops,
    indices: Sequence[int],
    landmarks: Floats,
    change: Augmentation,
    rolls: Floats | None = None,
) -> Floats:
    """Predicts landmarks in crops cut around others.

    Args:
        predict: From `(64, size, size, 3)` images in [0, 1] to landmarks of
            the 68 in crop units.
        size: Side of the network's input in pixels.
        crops: The photos.
        indices: Which of them.
        landmarks: `(n, 68, 3)` in units of the stored crops, n as many as
            `indices`.
        change: How the crops differ from the exact ones; what is random in
            it depends on a photo's index alone.
        rolls: `(n,)` degrees by which the crops are turned besides, as in
            `FaceCrop`.

    Returns:
        `(n, 68, 3)` in units of the stored crops.
    """
    found = np.zeros((len(indices), 68, 3))
    for start in range(0, len(indices), _BATCH):
        part = indices[start : start + _BATCH]
        # Always as many, as compiled parts are made for each batch size.
        images = np.zeros((_BATCH, size, size, 3), np.float32)
        affines = []
        for row, index in enumerate(part):
            crop = augment(
                crops.image(index),
                landmarks[start + row],
                change,
                size,
                np.random.default_rng(index),
                0.0 if rolls is None else rolls[start + row],
            )
            images[row] = crop.image / np.float32(255)
            affines.append(crop.affine)
        matrices = np.stack(affines)
        points = np.asarray(predict(images), np.float64)[: len(part)]
        points = points - matrices[:, None, :, 3]
        inverse = np.linalg.inv(matrices[..., :3])
        found[start : start + len(part)] = points @ np.swapaxes(inverse, 1, 2)
    return found
