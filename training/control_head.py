"""The control mesh of the bundled head, cut out of MakeHuman's body."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from training.eye_patch import Eyeball, EyePatch
from training.makehuman_source import MakeHumanSource
from training.polygons import (
    Face,
    boundary_loops,
    face_neighbours,
    members_of,
    rings_around,
)

# The cut through the neck, mm: what lies above `height + slope * depth` stays.
# It follows MakeHuman's edge loops, which descend towards the front.
_NECK_HEIGHT = 612.0
_NECK_SLOPE = -0.33

# The pouches behind eyelids and lips are nets of rings around a pole. Rings
# from the pole on that are cut away: the first ring that stays is the margin
# of the lids, where they touch the eyeball, and the inside of the lips just
# behind the line where they meet.
_EYE_RINGS_CUT = 11
_MOUTH_RINGS_CUT = 11
# Rings from there on that belong to the eyelids and to the red of the lips.
_EYELID_RINGS = 3
_LIP_RINGS = 6

# A control vertex and its mirror image agree to this, mm.
_MIRROR_TOLERANCE = 1e-6

# An eye socket reaches this far around an eyeball's centre, in its radii.
_SOCKET_SIZE = 1.5


@dataclass(frozen=True, eq=False)
class ControlHead:
    """A polygon mesh that follows MakeHuman's vertices.

    Attributes:
        selection: `(C, 19158)` float64 CSR, rows sum to 1: the control
            vertices, those of the patches over the eyes still flat.
        patches: The patches over the two eyes.
        faces: Polygons, counter-clockwise seen from outside.
        mirror: `(C,)` the control vertex that mirrors each in the plane x = 0.
        eyelids: Control vertices of the patches and of the lids around.
        lips: Control vertices of the red of the lips and the membrane.
    """

    selection: sparse.csr_array
    patches: tuple[EyePatch, ...]
    faces: list[Face]
    mirror: NDArray[np.int64]
    eyelids: NDArray[np.int64]
    lips: NDArray[np.int64]

    def flat_vertices(self, source: NDArray[np.float64]) -> NDArray[np.float64]:
        """Selects control vertices, the patches over the eyes flat.

        Args:
            source: `(19158, 3)` positions or displacements of MakeHuman's
                vertices, in which the result is linear.

        Returns:
            `(C, 3)` positions or displacements.
        """
        return np.asarray(self.selection @ source)

    def rounded(self, flat: NDArray[np.float64]) -> NDArray[np.float64]:
        """Lets the patches bulge with the eyeballs.

        Args:
            flat: `(..., C, 3)` positions of `flat_vertices`.

        Returns:
            `(..., C, 3)` positions.
        """
        vertices = flat.copy()
        for patch in self.patches:
            vertices[..., patch.vertices, :] += patch.bulges(flat)
        return vertices


def cut_control_head(source: MakeHumanSource) -> ControlHead:
    """Cuts head, ears and upper neck, closes the eyes over and the mouth.

    What goes: everything below the neck's cut, eye sockets, inner mouth and
    all helper geometry. What closes the holes: over each eye a patch on the
    eyeball that hangs on the lid margin, so that it follows every target and
    a closing lid; between the lips a membrane of one strip, which opens with
    the jaw. The nostrils stay, as shallow pouches.

    Args:
        source: MakeHuman's data.

    Returns:
        The control mesh: one component, edge-manifold, one boundary loop at
        the neck, mirror-symmetric.

    Raises:
        ValueError: If the data is not the mesh that this is written for.
    """
    vertices = source.vertices
    above = vertices[:, 1] - _NECK_SLOPE * vertices[:, 2] > _NECK_HEIGHT
    faces = [face for face in source.faces_of["body"] if all(above[list(face)])]
    neighbours = face_neighbours(faces)
    eyeballs = [
        Eyeball.around(
            vertices[members_of(source.faces_of[f"helper-{side}-eye"])]
        )
        for side in ("l", "r")
    ]
    eye_rings = [
        rings_around(neighbours, _socket_pole(vertices, faces, eyeball))
        for eyeball in eyeballs
    ]
    mouth_rings = rings_around(neighbours, _mouth_pole(vertices, faces))
    cuts = [
        *((rings, _EYE_RINGS_CUT) for rings in eye_rings),
        (mouth_rings, _MOUTH_RINGS_CUT),
    ]
    kept = [
        face
        for face in faces
        if all(rings[v] >= cut for rings, cut in cuts for v in face)
    ]
    members = members_of(kept)
    number_of = {int(vertex): i for i, vertex in enumerate(members)}
    new_faces = [tuple(number_of[index] for index in face) for face in kept]
    eyelids, lips = (
        {
            number_of[vertex]
            for rings in nets
            for vertex, ring in rings.items()
            if ring <= cut + width and vertex in number_of
        }
        for nets, cut, width in (
            (eye_rings, _EYE_RINGS_CUT, _EYELID_RINGS),
            ([mouth_rings], _MOUTH_RINGS_CUT, _LIP_RINGS),
        )
    )

    positions = vertices[members]
    loops = boundary_loops(new_faces)
    new_faces += _membrane(_loop_near(loops, lips), positions)
    patches: list[EyePatch] = []
    count = len(members)
    for eyeball in eyeballs:
        margin = min(loops, key=partial(_distance, positions, eyeball.centre))
        patch = EyePatch.over(eyeball, margin, positions, count)
        new_faces += patch.faces
        patches.append(patch)
        count += len(patch.vertices)
        eyelids |= set(patch.vertices.tolist())
    select = _rows_matrix([([v], [1.0]) for v in members], len(vertices))
    hanging = [
        _rows_matrix(patch.rows(), len(members)) @ select for patch in patches
    ]
    selection = sparse.csr_array(sparse.vstack([select, *hanging]))
    return ControlHead(
        selection=selection,
        patches=tuple(patches),
        faces=new_faces,
        mirror=_exact_mirror(selection @ vertices),
        eyelids=np.array(sorted(eyelids)),
        lips=np.array(sorted(lips)),
    )


def _socket_pole(
    vertices: NDArray[np.float64], faces: Sequence[Face], eyeball: Eyeball
) -> int:
    """The deepest vertex of the pouch that an eyeball lies in."""
    members = members_of(faces)
    distance = np.linalg.norm(vertices[members] - eyeball.centre, axis=1)
    near = members[distance < _SOCKET_SIZE * eyeball.radius]
    return int(near[np.argmin(vertices[near, 2])])


def _mouth_pole(vertices: NDArray[np.float64], faces: Sequence[Face]) -> int:
    """The deepest vertex of the mouth pouch on the plane of symmetry."""
    members = members_of(faces)
    inside = members[
        (np.abs(vertices[members, 0]) < 0.1)
        & (vertices[members, 1] > 640)
        & (vertices[members, 1] < 680)
        & (vertices[members, 2] > 0)
    ]
    # Between 640 and 680 mm the pouch's back wall is the hindmost there, all
    # vertices of the nape having z < 0. Of the wall, its middle.
    return int(inside[np.argmin(vertices[inside, 2])])


def _membrane(loop: list[int], positions: NDArray[np.float64]) -> list[Face]:
    """One strip between the upper and the lower half of the lips' loop.

    It pairs the vertices by their steps from the middle of each lip.
    """
    count = len(loop)
    in_middle = np.flatnonzero(np.abs(positions[loop, 0]) < _MIRROR_TOLERANCE)
    first, second = in_middle.tolist()
    faces: list[Face] = []
    for start, other in ((first, second), (second, first)):
        steps = (other - start) % count
        for i in range((steps + 1) // 2):
            corners = (
                loop[(start + i) % count],
                loop[(start + i + 1) % count],
                loop[(other - i - 1) % count],
                loop[(other - i) % count],
            )
            face = tuple(dict.fromkeys(corners))
            if len(face) > 2:
                faces.append(face)
    return faces


def _loop_near(loops: list[list[int]], members: set[int]) -> list[int]:
    """The loop that shares most vertices with a set."""
    return max(loops, key=lambda loop: len(members.intersection(loop)))


def _distance(
    positions: NDArray[np.float64],
    point: NDArray[np.float64],
    loop: list[int],
) -> float:
    """From the middle of a loop to a point."""
    return float(np.linalg.norm(positions[loop].mean(axis=0) - point))


def _exact_mirror(vertices: NDArray[np.float64]) -> NDArray[np.int64]:
    distance, mirror = cKDTree(vertices).query(vertices * [-1.0, 1.0, 1.0])
    if distance.max() > _MIRROR_TOLERANCE:
        raise ValueError(
            "Expected a mirror-symmetric base mesh. Received: a vertex that "
            f"is {distance.max():.2g} mm off its mirror image"
        )
    return np.asarray(mirror, dtype=np.int64)


def _rows_matrix(
    rows: list[tuple[list[int], list[float]]], num_columns: int
) -> sparse.csr_array:
    matrix = sparse.lil_array((len(rows), num_columns))
    for number, (indices, weights) in enumerate(rows):
        matrix[number, indices] = weights
    return sparse.csr_array(matrix)
