"""EyePatch: the control vertices that close an eye over."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.polygons import Face

Array = NDArray[np.float64]

# Places of a column's vertices on the line from margin to margin. The outer
# ones are close to the lids, so that these keep their edge.
_PLACES = (0.08, 0.25, 0.5, 0.75, 0.92)
# How far the columns next to the inner and the outer corner are pushed onto
# the eyeball, as a share: the tear duct lies beside it.
_NEXT_TO_INNER_CORNER = (0.0, 0.35, 0.75)
_NEXT_TO_OUTER_CORNER = (0.5,)
# What subdivision takes off a sphere of these control vertices, mm.
_SUBDIVISION_LOSS = 0.15
# A wider opening of the lids than MakeHuman's makes the patch bulge up to
# this many times as far.
_LARGEST_OPENING = 1.5


class Eyeball(NamedTuple):
    """A sphere.

    Attributes:
        centre: `(3,)` mm.
        radius: mm.
    """

    centre: Array
    radius: float

    @classmethod
    def around(cls, points: Array) -> Eyeball:
        """Finds the sphere of points that lie on one, all around it.

        Args:
            points: `(n, 3)`, mm.
        """
        centre = (points.min(axis=0) + points.max(axis=0)) / 2
        radius = np.linalg.norm(points - centre, axis=1).mean()
        return cls(centre, float(radius))


@dataclass(frozen=True, eq=False)
class EyePatch:
    """A grid between the upper and the lower margin of an eye's lids.

    Columns run from a margin vertex to the one across; between the corners of
    the eye lie `n` of them. A vertex is a fixed mix of these two (so that the
    patch follows every target), plus a bulge that puts it onto the eyeball
    and grows with the opening between the lids: none where they meet.

    Attributes:
        vertices: `(n * 5,)` the patch's control vertices, column by column.
        ends: `(n * 5, 2)` the two margin vertices of each.
        shares: `(n * 5,)` the share of the second of them.
        full_bulges: `(n * 5, 3)` bulges at the opening of the base mesh, mm.
        openings: `(n * 5,)` that opening, mm.
        faces: The quadrilaterals between margin and patch.
    """

    vertices: NDArray[np.int64]
    ends: NDArray[np.int64]
    shares: Array
    full_bulges: Array
    openings: Array
    faces: list[Face]

    @classmethod
    def over(
        cls, eyeball: Eyeball, margin: list[int], positions: Array, first: int
    ) -> EyePatch:
        """Fills the loop of a lid margin.

        Args:
            eyeball: The eyeball behind.
            margin: Vertices of the loop, an even number, in the direction
                that a face filling it would have.
            positions: `(C, 3)` positions of the control vertices so far, mm.
            first: Number that the first new vertex gets.
        """
        inner, there, back, outer = _split_margin(margin, positions)
        num_columns, num_rows = len(there), len(_PLACES)
        vertices = first + np.arange(num_columns * num_rows)
        ends = np.repeat(np.stack([there, back], axis=1), num_rows, axis=0)
        shares = np.tile(_PLACES, num_columns)
        upper, lower = positions[ends[:, 0]], positions[ends[:, 1]]
        flat = upper + shares[:, None] * (lower - upper)
        onto = np.ones(num_columns)
        onto[: len(_NEXT_TO_INNER_CORNER)] = _NEXT_TO_INNER_CORNER
        onto[-len(_NEXT_TO_OUTER_CORNER) :] = _NEXT_TO_OUTER_CORNER
        outwards = flat - eyeball.centre
        distance = np.linalg.norm(outwards, axis=1)
        height = eyeball.radius + _SUBDIVISION_LOSS - distance
        height *= np.repeat(onto, num_rows)
        grid = np.concatenate(
            [
                np.array(there)[:, None],
                vertices.reshape(num_columns, num_rows),
                np.array(back)[:, None],
            ],
            axis=1,
        ).tolist()
        return cls(
            vertices=vertices,
            ends=ends,
            shares=shares,
            full_bulges=outwards * (height / distance)[:, None],
            openings=np.linalg.norm(upper - lower, axis=1),
            faces=_grid_faces(grid, inner, outer),
        )

    def rows(self) -> list[tuple[list[int], list[float]]]:
        """For each vertex the two margin vertices and what each counts."""
        return [
            (pair.tolist(), [1 - share, share])
            for pair, share in zip(self.ends, self.shares, strict=True)
        ]

    def bulges(self, vertices: Array) -> Array:
        """Computes how far the patch's vertices leave the flat patch.

        Args:
            vertices: `(..., C, 3)` control vertices, mm.

        Returns:
            `(..., n * 5, 3)` displacements, mm.
        """
        across = vertices[..., self.ends[:, 0], :]
        across = across - vertices[..., self.ends[:, 1], :]
        opening = np.linalg.norm(across, axis=-1) / self.openings
        opening = np.minimum(opening, _LARGEST_OPENING)
        return np.asarray(opening[..., None] * self.full_bulges)


def _split_margin(
    margin: list[int], positions: Array
) -> tuple[int, list[int], list[int], int]:
    """The inner corner, both ways to the outer corner, and that."""
    half = len(margin) // 2
    points = positions[margin]
    steps = np.arange(1, half)

    def width(corner: int) -> float:
        ahead = points[(corner + steps) % len(margin)]
        behind = points[corner - steps]
        return float(((ahead - behind) ** 2).sum())

    corner = min(range(half), key=width)
    if abs(points[corner, 0]) > abs(points[corner + half, 0]):
        corner += half
    turned = margin[corner:] + margin[:corner]
    return turned[0], turned[1:half], turned[:half:-1], turned[half]


def _grid_faces(grid: list[list[int]], inner: int, outer: int) -> list[Face]:
    """Quadrilaterals between columns, and around each corner."""
    faces: list[Face] = []
    for column, following in pairwise(grid):
        faces += [
            (column[i], following[i], following[i + 1], column[i + 1])
            for i in range(len(column) - 1)
        ]
    # Two steps of the columns at the ends make a face with the corner.
    for i in range(0, len(grid[0]) - 1, 2):
        start, end = grid[0][i : i + 3], grid[-1][i : i + 3]
        faces.append((inner, *start))
        faces.append((outer, *end[::-1]))
    return faces
