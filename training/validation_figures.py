"""Figures of a trained network on the examples held out from training."""

from __future__ import annotations

from typing import Any

import numpy as np

from tf_facegcn.models.face_gcn import FaceGCN
from training.data.batch_loader import BatchLoader
from training.data.validation_steps import ValidationSteps
from training.training_data import TrainingData


def validation_figures(
    model: FaceGCN, data: TrainingData, loader: BatchLoader, batch_size: int
) -> dict[str, Any]:
    """Computes the 2D-68 NME on the held-out examples, in %.

    Args:
        model: The whole network.
        data: The examples.
        loader: Loads the held-out ones.
        batch_size: Examples of a batch.

    Returns:
        `mean`, `num_photos` and, for photos, `bins`: the means of 0-30, 30-60
        and 60-90 degrees of the labels' absolute yaw, `None` for an empty one.
    """
    landmarks = data.vertex_model.landmarks
    truth_landmarks = loader.vertex_model.landmarks
    errors = []
    steps = ValidationSteps(len(data.validation), batch_size)
    for number in range(len(steps)):
        images, vertices = loader.load_with_vertices(*steps.step(number))
        truth = vertices[:, truth_landmarks, :2]
        found = np.asarray(model.predict_on_batch(images))[:, landmarks, :2]
        extent = np.ptp(truth, axis=1)
        distance = np.linalg.norm(found - truth, axis=-1).mean(axis=1)
        errors.append(100 * distance / np.sqrt(extent.prod(axis=1)))
    nme = np.concatenate(errors)
    figures = {"mean": float(nme.mean()), "num_photos": len(nme)}
    yaw = data.validation_yaw
    if yaw is None:
        return figures
    parts = [yaw <= 30, (yaw > 30) & (yaw <= 60), yaw > 60]
    bins = [float(nme[part].mean()) if part.any() else None for part in parts]
    return {"bins": bins, **figures}
