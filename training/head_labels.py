"""Landmarks and regions of the bundled head."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from training.data.landmark_mirror import LANDMARK_MIRROR

Array = NDArray[np.float64]
Indices = NDArray[np.int32]

# Where the 68 points (iBUG order) lie on the mean head, mm in MakeHuman's
# frame; the nearest vertex is the landmark. They were placed so that they
# agree with 300W-LP's 3D points and then checked on renderings from the front
# and both sides (docs/head_landmarks.png): the jaw line runs on the head from
# the front of the ear to the chin, whatever part of it a photo shows. Only
# the image's left half and the middle are listed; the other half mirrors it.
_LANDMARK_POSITIONS = {
    0: (-71.6, 720.3, 58.8),
    1: (-69.5, 703.3, 62.0),
    2: (-64.8, 686.0, 59.0),
    3: (-60.0, 670.5, 56.6),
    4: (-55.5, 655.8, 64.9),
    5: (-47.6, 643.7, 82.3),
    6: (-35.6, 636.2, 100.9),
    7: (-19.7, 631.0, 118.7),
    8: (0.0, 628.6, 125.6),
    17: (-54.0, 747.6, 117.0),
    18: (-47.4, 752.4, 127.9),
    19: (-37.4, 754.0, 137.0),
    20: (-27.5, 752.2, 141.4),
    21: (-17.9, 748.9, 142.6),
    27: (0.0, 729.9, 142.2),
    28: (0.0, 717.4, 149.0),
    29: (0.0, 704.8, 157.5),
    30: (0.0, 695.0, 160.1),
    31: (-12.1, 691.9, 143.5),
    32: (-8.0, 690.4, 146.7),
    33: (0.0, 688.7, 149.2),
    36: (-44.2, 733.1, 124.8),
    37: (-36.8, 736.6, 131.4),
    38: (-28.1, 736.6, 131.3),
    39: (-19.8, 732.2, 129.0),
    40: (-27.3, 731.0, 131.6),
    41: (-36.1, 731.3, 129.7),
    48: (-22.8, 668.4, 138.1),
    49: (-16.0, 674.8, 146.1),
    50: (-5.7, 678.8, 150.7),
    51: (0.0, 677.7, 151.7),
    57: (0.0, 659.7, 147.7),
    58: (-7.4, 660.2, 146.6),
    59: (-14.0, 663.5, 144.5),
    60: (-20.7, 669.2, 137.6),
    61: (-7.1, 671.0, 146.3),
    62: (0.0, 671.4, 148.3),
    66: (0.0, 668.4, 147.3),
    67: (-6.5, 668.5, 146.1),
}
# Half the width of a brow, mm.
_BROW_HALF_WIDTH = 5.0
# Height of the forehead above the brows, mm: about the hairline.
_FOREHEAD_HEIGHT = 55.0
# How far behind the outer corners of the eyes the face still is, mm.
_FACE_DEPTH = 45.0
# The nose: half its width at the wings beyond landmark 31, and how far it
# reaches below landmark 33, mm.
_NOSE_WING = 6.0
_NOSE_BELOW = 1.0


def place_landmarks(vertices: Array, mirror: Indices) -> Indices:
    """Finds the vertices nearest to the landmarks' places.

    Args:
        vertices: `(V, 3)` mean head in MakeHuman's frame, mm.
        mirror: `(V,)` the vertex that mirrors each in the plane x = 0.

    Returns:
        `(68,)` int32 vertex indices, mirror-symmetric.
    """
    landmarks = np.empty(len(LANDMARK_MIRROR), dtype=np.int32)
    in_middle = np.flatnonzero(mirror == np.arange(len(mirror)))
    for landmark, place in _LANDMARK_POSITIONS.items():
        distance = np.linalg.norm(vertices - place, axis=1)
        if place[0] == 0:
            nearest = in_middle[np.argmin(distance[in_middle])]
        else:
            nearest = np.argmin(distance)
        landmarks[landmark] = nearest
        landmarks[LANDMARK_MIRROR[landmark]] = mirror[nearest]
    return landmarks


def label_regions(
    vertices: Array,
    landmarks: Indices,
    ears: NDArray[np.bool_],
    eyes: NDArray[np.bool_],
    lips: NDArray[np.bool_],
) -> dict[str, Indices]:
    """Divides the head into regions; each vertex is in exactly one.

    Args:
        vertices: `(V, 3)` mean head, mm.
        landmarks: `(68,)` vertex indices.
        ears: `(V,)` true on the ears.
        eyes: `(V,)` true on the lids and what they enclose.
        lips: `(V,)` true on the red of the lips.

    Returns:
        Vertex indices of `ears`, `eyes`, `lips`, `brows`, `nose`, `neck`,
        `forehead`, `jaw`, `cheeks` and `scalp`.
    """
    x, y, z = vertices.T
    points = vertices[landmarks]
    front = z > points[[36, 45], 2].mean() - _FACE_DEPTH
    before_ears = z > points[[1, 15], 2].mean()
    brow_height = np.interp(
        np.abs(x), np.abs(points[21:16:-1, 0]), points[21:16:-1, 1]
    )
    claims = {
        "ears": ears,
        "eyes": eyes,
        "lips": lips,
        "brows": front & _near_brows(vertices, points),
        "nose": front & _on_nose(vertices, points),
        "neck": _below_jaw(vertices, points),
        "forehead": front
        & (y > brow_height)
        & (y < points[17:27, 1].mean() + _FOREHEAD_HEIGHT),
        "jaw": before_ears & (y < points[[48, 54], 1].min()),
        "cheeks": before_ears & (y <= brow_height),
        "scalp": np.ones(len(vertices), dtype=bool),
    }
    free = np.ones(len(vertices), dtype=bool)
    regions = {}
    for name, claim in claims.items():
        regions[name] = np.flatnonzero(claim & free).astype(np.int32)
        free &= ~claim
    return regions


def _near_brows(vertices: Array, points: Array) -> NDArray[np.bool_]:
    """Within half a brow's width of the lines through the brow landmarks."""
    near = np.zeros(len(vertices), dtype=bool)
    for brow in (points[17:22], points[22:27]):
        for start, end in pairwise(brow):
            along = end - start
            place = (vertices - start) @ along / (along @ along)
            foot = start + np.clip(place, 0, 1)[:, None] * along
            distance = np.linalg.norm(vertices - foot, axis=1)
            near |= distance < _BROW_HALF_WIDTH
    return near


def _on_nose(vertices: Array, points: Array) -> NDArray[np.bool_]:
    """Between the bridge and the wings, seen from the front."""
    x, y, _ = vertices.T
    top, bottom = points[27, 1], points[33, 1] - _NOSE_BELOW
    wing = np.abs(points[[31, 35], 0]).mean() + _NOSE_WING
    share = np.clip((top - y) / (top - points[30, 1]), 0, 1)
    half_width = _NOSE_WING + share * (wing - _NOSE_WING)
    return (y < top) & (y > bottom) & (np.abs(x) < half_width)


def _below_jaw(vertices: Array, points: Array) -> NDArray[np.bool_]:
    """Below the plane through chin and jaw corners, or behind its end."""
    chin, corners = points[8], points[[4, 12]].mean(axis=0)
    slope = (corners - chin)[1:]
    behind = vertices[:, 2] < points[[3, 13], 2].mean()
    offset = vertices[:, 1:] - chin[1:]
    below = offset[:, 0] - offset[:, 1] * slope[0] / slope[1] < 0
    nape = behind & (vertices[:, 1] < points[[2, 14], 1].mean())
    return (below & ~behind) | nape
