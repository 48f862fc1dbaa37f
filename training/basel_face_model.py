"""Reads a reduced Basel Face Model, the topology that the paper predicts.

The Basel Face Model is licensed for non-commercial research and may not be
redistributed; whoever has it trains and evaluates on it as on the bundled head.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import KDTree

from tf_facegcn.geometry.morphable_model import NUM_LANDMARKS, MorphableModel
from training.data.landmark_mirror import LANDMARK_MIRROR

Floats = NDArray[np.float64]

_ARRAYS = ("mean", "shape_basis", "expression_basis", "faces", "landmarks")

# Micrometres in a millimetre.
_UNIT = 1000.0


def load_basel_face_model(
    path: str | Path,
    shape_deviations: ArrayLike,
    expression_deviations: ArrayLike,
) -> MorphableModel:
    """Reads a reduced Basel Face Model.

    Args:
        path: `.npz` with `mean` `(V, 3)` in micrometres (x to the image's
            right, y up, z towards the viewer), `shape_basis` `(V, 3, S)` and
            `expression_basis` `(V, 3, E)`, `faces` `(F, 3)` of either
            orientation and `landmarks` `(68,)`, indices from 0.
        shape_deviations: `(S,)` standard deviations of the parameters, in the
            file's own units: its components are not scaled by them.
        expression_deviations: `(E,)` the same of the expression.

    Returns:
        The model in millimetres, its components scaled to unit deviation, its
        landmarks' plane of symmetry at x = 0.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not such a file, or the deviations do not fit it.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            mean, shape, expression, faces, landmarks = (
                file[name] for name in _ARRAYS
            )
    except (
        *(ValueError, TypeError, KeyError, EOFError),
        *(zipfile.BadZipFile, zlib.error),
    ) as error:
        raise ValueError(
            f"Expected a face model with the arrays {', '.join(_ARRAYS)} "
            f"({error}). Received: face_model={str(path)!r}"
        ) from error
    _check(path, mean, faces, landmarks)
    mean = mean / _UNIT
    # The file's own origin is not quite in the middle, and whatever mirrors a
    # face here does so at x = 0. Cameras take the shift up.
    points = mean[landmarks]
    middle = points + points[LANDMARK_MIRROR] * [-1.0, 1.0, 1.0]
    mean[:, 0] -= (points - middle / 2)[:, 0].mean()
    return MorphableModel(
        mean=mean.astype(np.float32),
        shape_basis=_scaled(shape, shape_deviations),
        expression_basis=_scaled(expression, expression_deviations),
        faces=_counter_clockwise(mean, faces.astype(np.int32)),
        landmarks=landmarks.astype(np.int32),
        mirror=_nearest_mirrored(mean),
        name=Path(path).stem,
        signed_expressions=True,
    )


def _check(
    path: str | Path, mean: NDArray, faces: NDArray, landmarks: NDArray
) -> None:
    """Checks what would fail, or be wrong, before `MorphableModel` sees it."""
    for name, array, shape in (
        ("mean", mean, (len(mean), 3)),
        ("faces", faces, (len(faces), 3)),
        ("landmarks", landmarks, (NUM_LANDMARKS,)),
    ):
        if array.shape != shape:
            raise ValueError(
                f"Expected {name} of shape {shape}. Received: {array.shape} "
                f"in face_model={str(path)!r}"
            )
    for name, array in (("faces", faces), ("landmarks", landmarks)):
        if array.min() < 0 or array.max() >= len(mean):
            raise ValueError(
                f"Expected {name} to index {len(mean)} vertices from 0; "
                "subtract 1 if they count from 1. Received: "
                f"{array.min()} to {array.max()} in face_model={str(path)!r}"
            )


def _scaled(basis: NDArray, deviations: ArrayLike) -> NDArray[np.float32]:
    factors = np.asarray(deviations, np.float64)
    if basis.shape[-1:] != factors.shape:
        raise ValueError(
            "Expected a deviation of each component. Received: "
            f"{basis.shape[-1]} components and {factors.shape} deviations"
        )
    return (basis * (factors / _UNIT)).astype(np.float32)


def _counter_clockwise(mean: Floats, faces: NDArray) -> NDArray[np.int32]:
    """Turns triangles so that they look away from the head's middle."""
    first, second, third = np.moveaxis(mean[faces] - mean.mean(axis=0), 1, 0)
    # Six times the volume between the middle and the triangles.
    volume = np.sum(np.cross(first, second) * third)
    return faces if volume > 0 else faces[:, ::-1].copy()


def _nearest_mirrored(mean: Floats) -> NDArray[np.int32]:
    _, nearest = KDTree(mean).query(mean * [-1.0, 1.0, 1.0])
    return nearest.astype(np.int32)
