"""Neighbours, rings and boundary loops of polygon meshes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Face = tuple[int, ...]


def members_of(faces: Iterable[Face]) -> NDArray[np.int64]:
    """The ascending vertices of faces."""
    return np.unique(np.array([index for face in faces for index in face]))


def sides_of(face: Face) -> list[tuple[int, int]]:
    """The directed edges of a face."""
    return list(zip(face, (*face[1:], face[0]), strict=True))


def boundary_loops(faces: Iterable[Face]) -> list[list[int]]:
    """Finds the closed loops of edges that have a face on one side only.

    Args:
        faces: Polygons of a consistently oriented manifold.

    Returns:
        For each loop its vertices in the direction that a face filling the
        hole would have.
    """
    sides = {side for face in faces for side in sides_of(face)}
    # An edge (a, b) of a face is walked from b to a by what fills the hole.
    following = {
        second: first for first, second in sides if (second, first) not in sides
    }
    loops = []
    while following:
        start = min(following)
        loop = [start]
        while (vertex := following.pop(loop[-1])) != start:
            loop.append(vertex)
        loops.append(loop)
    return loops


def face_neighbours(faces: Sequence[Face]) -> dict[int, set[int]]:
    """For each vertex all vertices of its faces, itself among them."""
    neighbours: dict[int, set[int]] = {}
    for face in faces:
        for vertex in face:
            neighbours.setdefault(vertex, set()).update(face)
    return neighbours


def rings_around(neighbours: dict[int, set[int]], pole: int) -> dict[int, int]:
    """Each vertex's number of steps over faces from a pole."""
    rings = {pole: 0}
    queue = deque([pole])
    while queue:
        vertex = queue.popleft()
        for neighbour in sorted(neighbours[vertex]):
            if neighbour not in rings:
                rings[neighbour] = rings[vertex] + 1
                queue.append(neighbour)
    return rings
