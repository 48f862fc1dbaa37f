"""FaceChart: a map of the mean head and what is where on it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree

from tf_facegcn.geometry.morphable_model import MorphableModel
from tf_facegcn.imaging.rasterizer import render_mesh

Floats = NDArray[np.float32]

# Side of the charts and radius of the head in them, pixels.
CHART_SIZE = 512
_RADIUS = 250.0

# The mouth's inside has no area while the mouth is shut: the chart is that of
# a face with its mouth open, by this share of the expression unit.
_OPENING_UNIT = "mouth-open"
_OPENING = 0.5
# How much larger a face of the mouth's inside is then, at least.
_STRETCH = 2.0

# Fields hold distances up to this, in mm of a head of the bundled size.
_REACH = 40.0
# Height of the bundled head, mm: other models are measured in its unit.
_HEAD_HEIGHT = 251.0

# Half the thickness of a brow at its five landmarks, the inner end first, mm.
_BROW_THICKNESS = np.array([3.6, 3.9, 3.4, 2.6, 1.2])
_BROWS = ((21, 20, 19, 18, 17), (22, 23, 24, 25, 26))
# Landmarks of nose tip and cheeks (means of groups), where skin is reddest,
# and how far the redness reaches, mm.
_RED_PLACES = ((30,), (2, 31, 41), (14, 35, 46))
_RED_REACH = 17.0

# Where strands of hair run out from: directions in the mean head's axes.
_WHORLS = ((0, 0.75, -0.65), (0.5, 0.85, 0.1), (-0.5, 0.85, 0.1), (0, 0.2, 1))
_STRANDS = 42.0
# Deviation of the Gaussian that rounds the hair line, chart pixels.
_ROUNDING = 9.0


@dataclass(frozen=True)
class FaceChart:
    """A map of the head, the same for all faces of a model.

    Directions from the head's middle become points of the plane in Lambert's
    equal-area azimuthal projection: the face in the centre, the back of the
    head on the rim.

    Attributes:
        coordinates: `(V, 2)` float32, pixels of the charts.
        fields: `(512, 512, 4)` float32, two of them: how far a point lies
            inside (positive) or outside of hair, beard, redness (a share
            instead), lips; mouth, brows and eyes, mm; the last is empty.
        eye_plane: `(512, 512, 2)` float32, right and up of the eye's centre,
            mm; meaningless elsewhere.
        strands: For each hair style `(512, 512)` float32, brightness of
            hair of standard deviation 1.
        unit: Model units in a millimetre of a head of the bundled size.
    """

    coordinates: Floats
    fields: tuple[Floats, Floats]
    eye_plane: Floats
    strands: tuple[Floats, ...]
    unit: float

    @classmethod
    def of_model(
        cls, model: MorphableModel, noise: Sequence[Floats] | Floats
    ) -> FaceChart:
        """Draws the chart of a model.

        Args:
            model: Regions that it does not have become plain skin.
            noise: Tiles of smooth noise, `(n, n)`, that strands are cut from.
        """
        unit = float(np.ptp(model.mean[:, 1])) / _HEAD_HEIGHT
        opened, inside = _open_mouth(model)
        points = opened / unit
        middle = (points.min(axis=0) + points.max(axis=0)) / 2
        directions = points - middle
        radii = np.linalg.norm(directions, axis=1)
        directions /= radii[:, None]
        placed = _azimuthal(directions)
        positions = np.concatenate([placed, radii[:, None]], axis=1)
        values = _vertex_fields(model, points, inside)
        values = np.concatenate([values, _eye_plane(model, points)], axis=1)
        painted = _paint(positions, model.faces, values)
        packed = np.zeros((CHART_SIZE, CHART_SIZE, 8), np.float32)
        packed[..., :7] = painted[..., :7]
        # The region's corners make no hair line.
        packed[..., 0] = cv2.GaussianBlur(packed[..., 0], (0, 0), _ROUNDING)
        return cls(
            placed.astype(np.float32),
            (
                np.ascontiguousarray(packed[..., :4]),
                np.ascontiguousarray(packed[..., 4:]),
            ),
            np.ascontiguousarray(painted[..., 7:9]),
            _strand_charts(noise),
            unit,
        )


def _azimuthal(directions: NDArray[np.floating]) -> NDArray[np.float64]:
    """`(n, 2)` chart pixels of unit vectors."""
    x, y, z = np.asarray(directions, np.float64).T
    # sin(theta / 2) over sin(theta), theta the angle to the z axis.
    share = 1 / np.sqrt(np.maximum(2 * (1 + z), 1e-6))
    center = (CHART_SIZE - 1) / 2
    return center + _RADIUS * np.stack([x * share, -y * share], axis=1)


def _open_mouth(
    model: MorphableModel,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """`(V, 3)` mean with an open mouth, and which vertices are inside it."""
    mean = model.mean.astype(np.float64)
    inside = np.zeros(len(mean), bool)
    if _OPENING_UNIT not in model.expression_names or "lips" not in (
        model.regions
    ):
        return mean, inside
    unit = model.expression_names.index(_OPENING_UNIT)
    opened = mean + _OPENING * model.expression_basis[..., unit]
    shut_area = _areas(mean, model.faces)
    stretched = _areas(opened, model.faces) > _STRETCH * shut_area
    inside[np.unique(model.faces[stretched])] = True
    return opened, inside & _member(model, "lips")


def _areas(
    points: NDArray[np.float64], faces: NDArray[np.int32]
) -> NDArray[np.float64]:
    a, b, c = (points[faces[:, i]] for i in range(3))
    return np.asarray(np.linalg.norm(np.cross(b - a, c - a), axis=1))


def _member(model: MorphableModel, region: str) -> NDArray[np.bool_]:
    member = np.zeros(model.num_vertices, bool)
    member[model.regions.get(region, [])] = True
    return member


def _inside_distance(
    points: NDArray[np.float64], member: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """`(V,)` distance to the rest, negative outside."""
    if not member.any() or member.all():
        return np.full(len(points), -_REACH)
    to_member = cKDTree(points[member]).query(
        points, distance_upper_bound=_REACH
    )[0]
    to_rest = cKDTree(points[~member]).query(
        points, distance_upper_bound=_REACH
    )[0]
    return np.clip(to_rest, 0, _REACH) - np.clip(to_member, 0, _REACH)


def _vertex_fields(
    model: MorphableModel,
    points: NDArray[np.float64],
    inside: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """`(V, 7)` fields at the vertices."""
    landmarks = points[model.landmarks]
    lips = _member(model, "lips") & ~inside
    plain = np.full(len(points), -_REACH)
    redness = _member(model, "ears").astype(np.float64)
    for place in _RED_PLACES:
        squared = np.sum(
            (points - landmarks[list(place)].mean(axis=0)) ** 2, axis=1
        )
        bump = np.exp(-squared / (2 * _RED_REACH**2))
        redness = np.maximum(redness, bump if model.regions else 0)
    return np.stack(
        [
            _inside_distance(points, _hairy(model, points)),
            _inside_distance(points, _beard(model, points)),
            redness,
            _inside_distance(points, lips),
            _inside_distance(points, inside),
            _brow_distance(points, landmarks)
            if "brows" in model.regions
            else plain,
            _inside_distance(points, _member(model, "eyes")),
        ],
        axis=1,
    )


def _hairy(
    model: MorphableModel, points: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """The scalp less what lies below the ears."""
    lowest = points[model.landmarks[[1, 15]], 1].mean()
    return _member(model, "scalp") & (points[:, 1] > lowest)


def _beard(
    model: MorphableModel, points: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Chin, jaw, the upper lip's skin and a band before the ears."""
    landmarks = points[model.landmarks]
    x, y, z = points.T
    below_nose = (y < landmarks[33, 1] - 4) & (
        np.abs(x) < abs(landmarks[54, 0]) + 6
    )
    # The cheeks' beard line runs from the mouth's corner to the ear.
    share = np.clip(
        (np.abs(x) - abs(landmarks[54, 0]))
        / (abs(landmarks[15, 0]) - abs(landmarks[54, 0])),
        0,
        1,
    )
    line = landmarks[54, 1] + share**2 * (landmarks[15, 1] - landmarks[54, 1])
    cheeks = _member(model, "cheeks") & (below_nose | (y < line))
    neck = _member(model, "neck") & (y > landmarks[8, 1] - 6) & (z > 0)
    return _member(model, "jaw") | cheeks | neck


def _brow_distance(
    points: NDArray[np.float64], landmarks: NDArray[np.float64]
) -> NDArray[np.float64]:
    """`(V,)` how far inside a brow, which thins towards its outer end."""
    distance = np.full(len(points), -_REACH)
    steps = np.linspace(0, 1, 16)[:, None]
    for brow in _BROWS:
        for k, (first, second) in enumerate(itertools.pairwise(brow)):
            line = landmarks[first] * (1 - steps) + landmarks[second] * steps
            near, index = cKDTree(line).query(points)
            share = steps[index, 0]
            half = _BROW_THICKNESS[k] * (1 - share)
            half = half + _BROW_THICKNESS[k + 1] * share
            distance = np.maximum(distance, half - near)
    return distance


def _eye_plane(
    model: MorphableModel, points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """`(V, 2)` right and up of the centre of the eye on the same side."""
    plane = points[:, :2].copy()
    eyes = points[_member(model, "eyes")]
    for side in (-1, 1):
        eye = eyes[eyes[:, 0] * side > 0]
        if len(eye):
            rows = points[:, 0] * side > 0
            middle = (eye.min(axis=0) + eye.max(axis=0)) / 2
            plane[rows] -= middle[:2]
    return np.clip(plane, -_REACH, _REACH)


def _paint(
    positions: NDArray[np.float64],
    faces: NDArray[np.int32],
    values: NDArray[np.float64],
) -> Floats:
    """`(512, 512, n)` values at the vertices, interpolated over the chart."""
    corners = positions[faces, :2]
    # Faces around the point opposite to the centre span the whole chart.
    compact = np.ptp(corners, axis=1).max(axis=1) < _RADIUS / 2
    layers = []
    nearest = None
    for start in range(0, values.shape[1], 3):
        part = values[:, start : start + 3]
        colors = np.zeros((len(values), 3))
        # The rasteriser's colours are from 0 to 1.
        colors[:, : part.shape[1]] = (part / _REACH + 1) / 2
        rendered = render_mesh(
            positions, faces[compact], CHART_SIZE, CHART_SIZE, colors
        )
        if nearest is None:
            nearest = distance_transform_edt(
                ~rendered.mask, return_distances=False, return_indices=True
            )
        filled = rendered.colors[nearest[0], nearest[1]]
        layers.append((filled[..., : part.shape[1]] * 2 - 1) * _REACH)
    return np.concatenate(layers, axis=-1)


def _strand_charts(noise: Sequence[Floats] | Floats) -> tuple[Floats, ...]:
    """Noise in polar coordinates about some whorls."""
    rows, columns = np.mgrid[:CHART_SIZE, :CHART_SIZE].astype(np.float64)
    charts = []
    for number, whorl in enumerate(_WHORLS):
        direction = np.array(whorl) / np.linalg.norm(whorl)
        x, y = _azimuthal(direction[None])[0]
        angle = np.arctan2(rows - y, columns - x)
        distance = np.hypot(rows - y, columns - x)
        tile = noise[number % len(noise)]
        size = len(tile)
        # Whole turns of the periodic tile, so that there is no seam.
        turn = angle / (2 * math.pi) * size * max(1, round(_STRANDS / 16))
        chart = cv2.remap(
            tile,
            turn.astype(np.float32) % size,
            (distance * 0.35).astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_WRAP,
        )
        charts.append(np.asarray(chart, np.float32))
    return tuple(charts)
