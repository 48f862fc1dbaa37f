"""The control mesh of the bundled head, cut out of MakeHuman's body."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from training.makehuman_source import MakeHumanSource

Face = tuple[int, ...]

# The cut through the neck, mm above MakeHuman's origin.
NECK_HEIGHT = 600.0

# The pouches behind eyelids and lips are nets of rings around a pole. Rings
# from the pole on that are cut away: the first ring that stays is the margin
# of the lids, where they touch the eyeball, and the inside of the lips just
# behind the line where they meet.
_EYE_RINGS_CUT = 11
_MOUTH_RINGS_CUT = 11

# The patch over an eye: rings at these fractions of the way from its centre
# to the lid margin.
_PATCH_FRACTIONS = (0.85, 0.6, 0.3)


@dataclass(frozen=True, eq=False)
class ControlHead:
    """A polygon mesh whose vertices are linear in MakeHuman's.

    Attributes:
        selection: `(C, 19158)` float64 CSR, rows sum to 1.
        offset: `(C, 3)` float64 mm, added to `selection @ vertices`; zero but
            for the patches over the eyes, which bulge with the eyeballs.
        faces: Polygons, counter-clockwise seen from outside.
        source_indices: `(C,)` the MakeHuman vertex of each control vertex, -1
            on the patches.
        eyelids: Control vertices of the patches and of the lids around.
        lips: Control vertices of the red of the lips and the membrane.
    """

    selection: sparse.csr_array
    offset: NDArray[np.float64]
    faces: list[Face]
    source_indices: NDArray[np.int64]
    eyelids: NDArray[np.int64]
    lips: NDArray[np.int64]

    def vertices(self, source: NDArray[np.float64]) -> NDArray[np.float64]:
        """`(C, 3)` control vertices of `(19158, 3)` MakeHuman vertices."""
        return np.asarray(self.selection @ source + self.offset)

    def displacements(self, target: NDArray[np.float64]) -> NDArray[np.float64]:
        """`(C, 3)` displacements of a MakeHuman target's."""
        return np.asarray(self.selection @ target)


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
        the neck.
    """
    vertices = source.vertices
    faces = [
        face
        for face in source.faces_of["body"]
        if all(vertices[index, 1] > NECK_HEIGHT for index in face)
    ]
    neighbours = _face_neighbours(faces)
    eye_rings, eyeballs = [], []
    for side in ("l", "r"):
        eyeball = vertices[_members(source.faces_of[f"helper-{side}-eye"])]
        centre = (eyeball.min(axis=0) + eyeball.max(axis=0)) / 2
        radius = np.ptp(eyeball, axis=0)[:2].mean() / 2
        eyeballs.append((centre, radius))
        near = _members(faces)
        distance = np.linalg.norm(vertices[near] - centre, axis=1)
        near = near[distance < 1.6 * radius]
        pole = int(near[np.argmin(vertices[near, 2])])
        eye_rings.append(_rings(neighbours, pole))
    mouth_rings = _rings(neighbours, _mouth_pole(vertices, faces))

    kept = [
        face
        for face in faces
        if all(rings[face[0]] > 0 for rings in (*eye_rings, mouth_rings))
        and all(
            min(rings[index] for index in face) >= cut
            for rings, cut in zip(
                (*eye_rings, mouth_rings),
                (_EYE_RINGS_CUT, _EYE_RINGS_CUT, _MOUTH_RINGS_CUT),
                strict=True,
            )
        )
    ]
    source_indices = _members(kept)
    renumber = {int(v): i for i, v in enumerate(source_indices)}
    new_faces = [tuple(renumber[index] for index in face) for face in kept]
    loops = {
        min(loop): loop for loop in boundary_loops(new_faces)
    }  # neck, mouth, two eyes
    positions = vertices[source_indices]
    rows: list[tuple[list[int], list[float]]] = []
    offsets: list[NDArray[np.float64]] = []
    eyelids = {
        renumber[v]
        for rings in eye_rings
        for v, ring in rings.items()
        if _EYE_RINGS_CUT <= ring <= _EYE_RINGS_CUT + 3 and v in renumber
    }
    for loop in sorted(loops.values(), key=min):
        middle = positions[loop].mean(axis=0)
        if middle[1] < NECK_HEIGHT + 30:
            continue
        eye = [
            ball
            for ball in eyeballs
            if np.linalg.norm(middle - ball[0]) < 1.5 * ball[1]
        ]
        if eye:
            first = len(source_indices) + len(rows)
            patch = _eye_patch(loop, positions, *eye[0], first)
            rows += patch[0]
            offsets += patch[1]
            new_faces += patch[2]
            eyelids |= set(range(first, first + len(patch[0])))
        else:
            new_faces += _membrane(loop, positions)
    lips = sorted(
        renumber[v]
        for v, ring in mouth_rings.items()
        if _MOUTH_RINGS_CUT <= ring <= _MOUTH_RINGS_CUT + 6 and v in renumber
    )
    select = sparse.csr_array(
        (
            np.ones(len(source_indices)),
            (np.arange(len(source_indices)), source_indices),
        ),
        shape=(len(source_indices), len(vertices)),
    )
    hanging = _rows_matrix(rows, len(source_indices)) @ select
    return ControlHead(
        selection=sparse.csr_array(sparse.vstack([select, hanging])),
        offset=np.concatenate([np.zeros_like(positions), np.array(offsets)]),
        faces=new_faces,
        source_indices=np.concatenate(
            [source_indices, np.full(len(rows), -1, dtype=np.int64)]
        ),
        eyelids=np.array(sorted(eyelids)),
        lips=np.array(lips),
    )


def boundary_loops(faces: Iterable[Face]) -> list[list[int]]:
    """Finds the closed loops of edges that have a face on one side only.

    Args:
        faces: Polygons of a consistently oriented manifold.

    Returns:
        For each loop its vertices in the direction that a face filling the
        hole would have.
    """
    sides = {side for face in faces for side in _sides(face)}
    following = {
        second: first
        for first, second in sides
        if (second, first) not in sides
    }
    # An edge (a, b) of a face is walked from b to a by what fills the hole.
    loops = []
    while following:
        start = min(following)
        loop = [start]
        while (vertex := following.pop(loop[-1])) != start:
            loop.append(vertex)
        loops.append(loop)
    return loops


def _mouth_pole(vertices: NDArray[np.float64], faces: Sequence[Face]) -> int:
    """The deepest vertex of the mouth pouch on the plane of symmetry."""
    members = _members(faces)
    inside = members[
        (np.abs(vertices[members, 0]) < 0.1)
        & (vertices[members, 1] > 640)
        & (vertices[members, 1] < 680)
        & (vertices[members, 2] > 0)
    ]
    # Between 640 and 680 mm the pouch's back wall is the hindmost there, all
    # vertices of the nape having z < 0. Of the wall, its middle.
    return int(inside[np.argmin(vertices[inside, 2])])


def _face_neighbours(faces: Sequence[Face]) -> dict[int, set[int]]:
    neighbours: dict[int, set[int]] = {}
    for face in faces:
        for vertex in face:
            neighbours.setdefault(vertex, set()).update(face)
    return neighbours


def _rings(neighbours: dict[int, set[int]], pole: int) -> dict[int, int]:
    """Each vertex's number of steps over faces from the pole."""
    rings = {pole: 0}
    queue = deque([pole])
    while queue:
        vertex = queue.popleft()
        for neighbour in sorted(neighbours[vertex]):
            if neighbour not in rings:
                rings[neighbour] = rings[vertex] + 1
                queue.append(neighbour)
    return rings


def _eye_patch(
    loop: list[int],
    positions: NDArray[np.float64],
    centre: NDArray[np.float64],
    radius: float,
    first: int,
) -> tuple[
    list[tuple[list[int], list[float]]], list[NDArray[np.float64]], list[Face]
]:
    """Rings on the eyeball from the lid margin to a centre.

    A ring's vertex is `fraction` of its margin vertex and the rest of the mean
    of the margin, plus the constant that puts it onto the eyeball.
    """
    count = len(loop)
    rows: list[tuple[list[int], list[float]]] = []
    offsets = []
    middle = positions[loop].mean(axis=0)
    for fraction in (*_PATCH_FRACTIONS, 0.0):
        for place in range(count if fraction else 1):
            weights = np.full(count, (1 - fraction) / count)
            weights[place] += fraction
            flat = fraction * positions[loop[place]] + (1 - fraction) * middle
            direction = flat - centre
            margin = np.linalg.norm(positions[loop[place]] - centre)
            # The margin leaves the eyeball at the tear duct: the cube keeps
            # that to the patch's outermost ring.
            height = radius + (margin - radius) * fraction**3
            on_eyeball = centre + direction * height / np.linalg.norm(direction)
            rows.append((list(loop), weights.tolist()))
            offsets.append(on_eyeball - flat)
    faces: list[Face] = []
    outer = list(loop)
    for ring in range(len(_PATCH_FRACTIONS)):
        inner = [first + ring * count + place for place in range(count)]
        faces += [
            (outer[i], outer[(i + 1) % count], inner[(i + 1) % count], inner[i])
            for i in range(count)
        ]
        outer = inner
    # Two of the innermost ring's edges make one quadrilateral with the centre.
    last = first + len(rows) - 1
    faces += [
        (outer[i], outer[i + 1], outer[(i + 2) % count], last)
        for i in range(0, count, 2)
    ]
    return rows, offsets, faces


def _membrane(loop: list[int], positions: NDArray[np.float64]) -> list[Face]:
    """One strip between the upper and the lower half of the lips' loop."""
    count = len(loop)
    start = int(np.argmin(positions[loop, 0]))
    loop = loop[start:] + loop[:start]
    faces: list[Face] = []
    for i in range(count // 2):
        a, b = loop[i], loop[i + 1]
        c, d = loop[count - i - 1], loop[(count - i) % count]
        faces.append(tuple(dict.fromkeys((a, b, c, d))))
    return faces


def _rows_matrix(
    rows: list[tuple[list[int], list[float]]], num_columns: int
) -> sparse.csr_array:
    matrix = sparse.lil_array((len(rows), num_columns))
    for number, (indices, weights) in enumerate(rows):
        matrix[number, indices] = weights
    return sparse.csr_array(matrix)


def _members(faces: Iterable[Face]) -> NDArray[np.int64]:
    return np.unique(np.array([index for face in faces for index in face]))


def _sides(face: Face) -> list[tuple[int, int]]:
    return list(zip(face, (*face[1:], face[0]), strict=True))
