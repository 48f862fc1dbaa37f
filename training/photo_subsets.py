"""Parts of a dataset whose errors are told apart: poses, light, what is seen.

What no annotation tells was judged once, by eye, in crops of 190 pixels of
every fifth photo of AFLW2000-3D: `aflw2000_attributes.csv` names those looked
at and what they show. Age and skin are as they appear, nothing is known of the
people.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from tf_facegcn.imaging.bounding_box import BoundingBox
from tf_facegcn.imaging.photo import read_photo
from training.data.aflw2000 import Aflw2000
from training.data.photometric import LUMA

Floats = NDArray[np.float64]
Masks = NDArray[np.bool_]

_LARGE_ANGLE = 30.0
# Mean luma of the face's box, of 255: about a tenth of AFLW2000-3D is darker.
_DARK = 75.0
# The gap between the lips over the width of the mouth's inner rim.
_OPEN = 0.3
ATTRIBUTES_FILE = Path(__file__).parent / "data" / "aflw2000_attributes.csv"
_BY_EYE = "; by eye, among every fifth photo"
_CORNERS, _UPPER, _LOWER = (60, 64), (61, 62, 63), (67, 66, 65)

SUBSETS: Mapping[str, str] = MappingProxyType(
    {
        "rolled": f"roll beyond {_LARGE_ANGLE:g} degrees either way",
        "pitched": f"pitch beyond {_LARGE_ANGLE:g} degrees either way",
        "dark": f"mean luma of the 68 points' box below {_DARK:g} of 255",
        "mouth_open": "gap of the inner lips over their width above "
        f"{_OPEN:g}, yaw up to 60 degrees",
        "eyes_closed": "lids hide the iris of each eye that is seen" + _BY_EYE,
        "occluded": "hair, a hand or an object hides a landmark" + _BY_EYE,
        "glasses": "glasses or sunglasses" + _BY_EYE,
        "child": "a child, as it appears" + _BY_EYE,
        "dark_skin": "dark skin, as it appears" + _BY_EYE,
    }
)
# Those of them that were seen by eye.
_ATTRIBUTES = ("eyes_closed", "occluded", "glasses", "child", "dark_skin")


def subset_masks(data: Aflw2000) -> dict[str, Masks]:
    """Says which photos belong to each of `SUBSETS`.

    Args:
        data: The photos and their annotation; the mouth is judged by the
            re-annotated points, if there are any, as fits open it little.

    Returns:
        `(n,)` booleans by name.
    """
    points = data.landmarks[..., :2]
    if data.reannotated is not None:
        points = data.reannotated
    luma = [
        _mean_luma(read_photo(path), BoundingBox.from_points(landmarks))
        for path, landmarks in zip(data.photos, data.landmarks, strict=True)
    ]
    return {
        "rolled": data.roll > _LARGE_ANGLE,
        "pitched": data.pitch > _LARGE_ANGLE,
        "dark": np.array(luma) < _DARK,
        # In profile the mouth's width vanishes.
        "mouth_open": (_mouth_opening(points) > _OPEN) & (data.yaw <= 60),
        **_seen(data.names),
    }


def _seen(names: Sequence[str]) -> dict[str, Masks]:
    """Who has each attribute; nobody in photos that were not looked at."""
    with ATTRIBUTES_FILE.open(newline="") as file:
        rows = csv.DictReader(file)
        seen = {row["name"]: row["attributes"].split() for row in rows}
    return {
        attribute: np.array([attribute in seen.get(name, ()) for name in names])
        for attribute in _ATTRIBUTES
    }


def _mouth_opening(points: Floats) -> Floats:
    left, right = (points[:, corner] for corner in _CORNERS)
    gap = points[:, _UPPER].mean(axis=1) - points[:, _LOWER].mean(axis=1)
    width = np.linalg.norm(left - right, axis=-1)
    return np.linalg.norm(gap, axis=-1) / np.maximum(width, 1e-6)


def _mean_luma(photo: NDArray[np.uint8], box: BoundingBox) -> float:
    """The mean over the part of a box that is in the photo; NaN if none is."""
    # A negative end of a slice would count from the other side.
    left, top, right, bottom = (max(round(x), 0) for x in box.as_tuple())
    part = photo[top:bottom, left:right]
    return float((part @ LUMA).mean()) if part.size else float("nan")
