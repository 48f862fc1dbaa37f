"""Labels of a training: fitted once, and kept in its workdir."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tf_facegcn.geometry.morphable_model import MorphableModel
from tf_facegcn.models.released_weights import weights_digest
from training.data.aflw_crops import AflwCrops
from training.data.fitted_labels import FittedLabels
from training.fit_labels import fit_labels, labels_fingerprint, refit_labels
from training.second_teacher import with_second_teacher

# Raised when the method of the second round changes.
_SECOND_METHOD = "5"


def labels_for(
    crops: AflwCrops,
    model: MorphableModel,
    path: str | Path | None,
    second_teacher: str = "",
    share: float = 0.5,
) -> FittedLabels:
    """Loads the labels kept at a path, or fits them and keeps them there.

    Args:
        crops: The photos.
        model: The morphable model to fit.
        path: Where the labels are kept. Labels of other photos, of another
            model, of other teachers or of another version of the method are
            replaced. `None` keeps them nowhere.
        second_teacher: Weights of a network whose landmarks are averaged with
            the teacher's, see `with_second_teacher`; empty for none.
        share: Its share in the mean.

    Raises:
        ValueError: If there are no such weights.
    """
    if second_teacher:
        # Noted before it predicts anything, which is not needed for labels
        # that are there.
        parts = (
            *(_SECOND_METHOD, crops.fingerprint),
            *(weights_digest(second_teacher), f"{share:g}"),
        )
        digest = hashlib.sha256(" ".join(parts).encode()).hexdigest()
        crops = crops._replace(fingerprint=digest)
    fingerprint = labels_fingerprint(crops, model)
    if path is not None and Path(path).is_file():
        labels = FittedLabels.load(path)
        if labels.fingerprint == fingerprint:
            return labels
    labels, _ = fit_labels(crops, model)
    if second_teacher:
        averaged = with_second_teacher(crops, second_teacher, share)
        labels, _ = refit_labels(crops, model, labels, averaged)
    if path is not None:
        labels.save(path)
    return labels
