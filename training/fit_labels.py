"""Fits a morphable model to photos with landmarks: the training labels.

For every photo the teacher's 68 landmarks are corrected by the human points
(`teacher_correction`), then pose, identity and expression are fitted to them
(`label_fitting`). The fit runs twice: what the first leaves over on average,
in the head's own axes, is a difference between the two definitions of the
landmarks and becomes a constant displacement. What the second leaves over is
carried by a few displacement components, so that a label's landmarks end where
they were seen. Photos whose human points, or whose fit, remain far off are
dropped as badly labelled.

`refit_labels` does the same with better landmarks of the same photos.

Contour points slide along the visible contour while pose and shape are
fitted, and the teacher's points there are points of a 3D face also at large
poses, not of the silhouette, so nothing has to be moved between the two.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tf_facegcn.geometry.camera import decompose_camera, project
from tf_facegcn.geometry.morphable_model import MorphableModel
from tf_facegcn.imaging.face_crop import CROP_UNITS
from training.convention import in_convention_of
from training.data.aflw_crops import AflwCrops
from training.data.fitted_labels import FittedLabels
from training.data.landmark_mirror import LANDMARK_MIRROR
from training.data.vertex_model import VertexModel
from training.label_fitting import (
    FittingWeights,
    LandmarkFit,
    LandmarkModel,
    fit_landmarks,
)
from training.second_teacher import MEAN_RIDGE
from training.systematic_errors import find_systematic_errors, turned_back
from training.teacher_correction import Correction, correct_teacher

Floats = NDArray[np.float64]

# Raised when the method changes, so that labels kept in a workdir are remade.
_METHOD = "2"

# Components of the displacements that a label keeps.
NUM_DISPLACEMENT_COMPONENTS = 48

# Photos beyond these mean distances, in shares of the face's size, are badly
# labelled: the usual photo has 0.025 and 0.006.
_MAX_HUMAN_DISTANCE = 0.07
_MAX_FIT_DISTANCE = 0.03

# The landmarks must lie in the crop, apart from a part of it (crop units).
_MAX_OUTSIDE = 0.25 * CROP_UNITS


class LabelReport(NamedTuple):
    """How good labels are; distances in % of `sqrt(w * h)` of the landmarks.

    Attributes:
        teacher_to_human: Mean distance of the teacher's points from the human
            points, without the constant differences between the definitions.
        corrected_to_human: The same after the correction.
        fit_to_corrected: Mean distance of the morphable model's landmarks
            from the corrected ones.
        label_to_corrected: The same of the labels' landmarks.
        constant_displacement: `(68, 3)` mean displacement of the model's
            landmarks, model units, in the head's axes.
        num_photos: Photos that have a label.
        num_rejected: Photos that were dropped.
    """

    teacher_to_human: float
    corrected_to_human: float
    fit_to_corrected: float
    label_to_corrected: float
    constant_displacement: Floats
    num_photos: int
    num_rejected: int


def labels_fingerprint(crops: AflwCrops, model: MorphableModel) -> str:
    """Returns the hex digest of everything that labels depend on."""
    digest = hashlib.sha256(f"{_METHOD} {crops.fingerprint}".encode())
    for array in (model.mean, model.shape_basis, model.expression_basis):
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(np.ascontiguousarray(model.landmarks).tobytes())
    if model.signed_expressions:
        digest.update(b"signed expressions")
    return digest.hexdigest()


def fit_labels(
    crops: AflwCrops,
    model: MorphableModel,
    weights: FittingWeights | None = None,
) -> tuple[FittedLabels, LabelReport]:
    """Fits a morphable model to every photo.

    Args:
        crops: The photos with the teacher's landmarks and the human points.
        model: The morphable model.
        weights: What counts how much in the fit; `None` for the usual ones of
            the model's expressions.

    Returns:
        The labels, and figures about their quality.
    """
    correction = correct_teacher(
        crops.teacher_landmarks,
        crops.human_points,
        _landmark_model(model).mean,
    )
    targets = correction.landmarks
    sizes = _sizes(targets)
    plausible = (
        (correction.distance_after < _MAX_HUMAN_DISTANCE * sizes)
        & (targets[..., :2].min(axis=(1, 2)) > -_MAX_OUTSIDE)
        & (targets[..., :2].max(axis=(1, 2)) < CROP_UNITS + _MAX_OUTSIDE)
    )
    return _fit(
        crops,
        model,
        weights or _usual_weights(model),
        correction,
        np.flatnonzero(plausible),
        _MAX_FIT_DISTANCE,
    )


def refit_labels(
    crops: AflwCrops,
    model: MorphableModel,
    first: FittedLabels,
    averaged: AflwCrops,
    weights: FittingWeights | None = None,
) -> tuple[FittedLabels, LabelReport]:
    """Fits a morphable model again, to better landmarks of the same photos.

    The photos that have a label stay the same, so the same ones are held out
    from training. The landmarks keep the first teacher's convention, apart from
    its systematic errors, see `find_systematic_errors`.

    Args:
        crops: The photos with the teacher's landmarks and the human points.
        model: The morphable model.
        first: Labels that were fitted to them.
        averaged: The photos with the mean of two teachers, see
            `with_second_teacher`.
        weights: What counts how much in the fit; `None` for the usual ones of
            the model's expressions.

    Returns:
        The labels, and figures about their quality.
    """
    reference = _landmark_model(model).mean
    errors = find_systematic_errors(
        crops.teacher_landmarks, crops.human_points, reference
    )
    correction = correct_teacher(
        averaged.teacher_landmarks,
        crops.human_points - errors.image_shift,
        reference,
        MEAN_RIDGE,
    )
    convention = turned_back(crops.teacher_landmarks, reference, errors.turns)
    landmarks = in_convention_of(convention, correction.landmarks, reference)
    return _fit(
        crops,
        model,
        weights or _usual_weights(model),
        correction._replace(landmarks=landmarks),
        first.photo_indices,
        np.inf,
    )


def _fit(
    crops: AflwCrops,
    model: MorphableModel,
    weights: FittingWeights,
    correction: Correction,
    indices: NDArray[np.integer],
    max_distance: float,
) -> tuple[FittedLabels, LabelReport]:
    """Fits some photos and drops what stays beyond a distance (a share)."""
    landmark_model = _landmark_model(model)
    targets = correction.landmarks
    sizes = _sizes(targets)
    first = fit_landmarks(landmark_model, targets[indices], weights)
    constant = _mean_displacement(first, sizes[indices], model.mirror)
    moved = landmark_model._replace(mean=landmark_model.mean + constant)
    fit = fit_landmarks(moved, targets[indices], weights)
    distances = np.linalg.norm(fit.residuals[..., :2], axis=-1).mean(axis=1)
    good = distances < max_distance * sizes[indices]
    fit = LandmarkFit(*(field[good] for field in fit))
    indices, distances = indices[good], distances[good]

    weights_of, components = _displacements(fit)
    parameters = np.concatenate([fit.parameters, weights_of], axis=1)
    labels = FittedLabels(
        photo_indices=indices,
        parameters=parameters.astype(np.float32),
        cameras=fit.cameras.astype(np.float32),
        landmarks=targets[indices].astype(np.float32),
        yaw=np.abs(decompose_camera(fit.cameras).yaw).astype(np.float32),
        displacement_mean=constant.astype(np.float32),
        displacement_components=components.astype(np.float32),
        num_rejected=len(targets) - len(indices),
        fingerprint=labels_fingerprint(crops, model),
    )
    report = LabelReport(
        teacher_to_human=_percent(correction.distance_before, sizes, indices),
        corrected_to_human=_percent(correction.distance_after, sizes, indices),
        fit_to_corrected=float(100 * np.mean(distances / sizes[indices])),
        label_to_corrected=float(label_errors(labels, model).mean()),
        constant_displacement=constant,
        num_photos=len(labels),
        num_rejected=labels.num_rejected,
    )
    return labels, report


def label_errors(labels: FittedLabels, model: MorphableModel) -> Floats:
    """Computes `(n,)` 2D NMEs of the labels' landmarks, in %.

    The error of a label is the mean distance of its 68 landmarks from those
    that it was fitted to, over `sqrt(w * h)` of their tight box.
    """
    targets = labels.landmarks.astype(np.float64)
    distance = label_landmarks(labels, model) - targets
    distance = np.linalg.norm(distance[..., :2], axis=-1)
    return 100 * distance.mean(axis=1) / _sizes(targets)


def label_landmarks(labels: FittedLabels, model: MorphableModel) -> Floats:
    """Computes `(n, 68, 3)` landmarks of the labels' vertices, crop units."""
    vertex_model = VertexModel.of_labels(
        model, labels.displacement_mean, labels.displacement_components
    ).subset(model.landmarks)
    return project(vertex_model.vertices(labels.parameters), labels.cameras)


def _usual_weights(model: MorphableModel) -> FittingWeights:
    if model.signed_expressions:
        # Of unit deviation, as the identity's.
        return FittingWeights(expression_prior=1.0, negative_expression=0.0)
    return FittingWeights()


def _landmark_model(model: MorphableModel) -> LandmarkModel:
    bases = [model.shape_basis, model.expression_basis]
    basis = np.concatenate([b[model.landmarks] for b in bases], axis=-1)
    return LandmarkModel(
        model.mean[model.landmarks].astype(np.float64),
        basis.astype(np.float64),
        model.shape_basis.shape[-1],
    )


def _sizes(landmarks: Floats) -> Floats:
    extent = np.ptp(landmarks[..., :2], axis=1)
    return np.sqrt(extent[:, 0] * extent[:, 1])


def _percent(distances: Floats, sizes: Floats, indices: NDArray) -> float:
    return float(100 * np.mean(distances[indices] / sizes[indices]))


def _in_model_space(fit: LandmarkFit) -> Floats:
    """`(n, 68, 3)` residuals of a fit turned back into the model's axes."""
    inverse = np.linalg.inv(fit.cameras[..., :3])
    return fit.residuals @ np.swapaxes(inverse, 1, 2)


def _mean_displacement(
    fit: LandmarkFit, sizes: Floats, mirror: NDArray | None
) -> Floats:
    """`(68, 3)` mean residual over the better-fitted half of the photos."""
    distances = np.linalg.norm(fit.residuals[..., :2], axis=-1).mean(axis=1)
    share = distances / sizes
    better = share <= np.median(share)
    mean = np.median(_in_model_space(fit)[better], axis=0)
    if mirror is not None:
        flipped = mean[LANDMARK_MIRROR] * [-1.0, 1.0, 1.0]
        mean = (mean + flipped) / 2
    return mean


def _displacements(fit: LandmarkFit) -> tuple[Floats, Floats]:
    """`(n, K)` weights and `(K, 68, 3)` components of the residuals."""
    displaced = _in_model_space(fit)
    flat = displaced.reshape(len(displaced), -1)
    flipped = displaced[:, LANDMARK_MIRROR] * [-1.0, 1.0, 1.0]
    flipped = flipped.reshape(len(displaced), -1)
    # Of the photos and their mirror images, so that both can be expressed.
    _, _, axes = np.linalg.svd(flat.T @ flat + flipped.T @ flipped)
    count = min(NUM_DISPLACEMENT_COMPONENTS, len(axes))
    components = axes[:count]
    return flat @ components.T, components.reshape(count, -1, 3)
