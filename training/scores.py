"""Normalised mean errors of landmarks and their means by yaw."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Upper ends of the bins of absolute yaw, degrees: [0, 30], (30, 60], (60, 90].
# The few photos with a fitted yaw beyond 90 degrees stay in the last bin.
YAW_BINS = (30.0, 60.0)


def landmark_errors(
    truth: Floats, found: Floats, box_points: Floats | None = None
) -> Floats:
    """Computes the normalised mean error of each face.

    Args:
        truth: `(n, p, d)` points of the annotation, `d` 2 or 3.
        found: `(n, p, d)` predicted points.
        box_points: `(n, q, 2)` points whose tight box sizes the error; the
            first two coordinates of `truth` by default.

    Returns:
        `(n,)` mean distance over `sqrt(w * h)` of the box, in %.
    """
    points = truth if box_points is None else box_points
    extent = np.ptp(points[..., :2], axis=1)
    distance = np.linalg.norm(found - truth, axis=-1).mean(axis=1)
    return 100 * distance / np.sqrt(extent[:, 0] * extent[:, 1])


def without_mean_depth(points: Floats) -> Floats:
    """Shifts `(n, p, 3)` points so that the mean depth of a face is 0."""
    return points - points.mean(axis=1, keepdims=True) * [0.0, 0.0, 1.0]


def summarize(errors: Floats, yaw: Floats) -> dict[str, Any]:
    """Averages errors by bins of absolute yaw.

    Args:
        errors: `(n,)` error of each face.
        yaw: `(n,)` absolute yaw in degrees.

    Returns:
        `bins` (three means, `None` for a bin without faces), `mean_of_bins`
        (of those that have faces) and `mean` over all faces.
    """
    number = np.searchsorted(YAW_BINS, yaw, side="left")
    bins = [
        float(errors[number == index].mean())
        if np.any(number == index)
        else None
        for index in range(len(YAW_BINS) + 1)
    ]
    present = [value for value in bins if value is not None]
    return {
        "bins": bins,
        "mean_of_bins": float(np.mean(present)),
        "mean": float(errors.mean()),
    }
