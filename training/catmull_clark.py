"""Catmull-Clark subdivision as a sparse linear operator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from training.polygons import Face, sides_of


def subdivide(
    faces: Sequence[Face], num_vertices: int
) -> tuple[sparse.csr_array, list[Face]]:
    """Subdivides a polygon mesh once.

    Catmull and Clark, "Recursively generated B-spline surfaces on arbitrary
    topological meshes", 1978. Boundary vertices take the cubic B-spline
    curve's rule, so a boundary does not depend on the inside.

    Args:
        faces: Polygons of three or more vertices, edge-manifold.
        num_vertices: Number of vertices, each used by a face.

    Returns:
        `(V', V)` float64 CSR, which maps the vertices to the new ones (first
        the old vertices, then one point an edge, then one point a face), and
        the quadrilaterals between those.

    Example:
        >>> operator, quads = subdivide([(0, 1, 2, 3)], 4)
        >>> operator.shape, len(quads)
        ((9, 4), 4)
    """
    edge_of: dict[tuple[int, int], int] = {}
    faces_at: list[list[int]] = []
    for number, face in enumerate(faces):
        for first, second in sides_of(face):
            key = (min(first, second), max(first, second))
            if key not in edge_of:
                edge_of[key] = len(faces_at)
                faces_at.append([])
            faces_at[edge_of[key]].append(number)
    ends = np.array(list(edge_of), dtype=np.int64)
    on_boundary = np.array([len(near) == 1 for near in faces_at])

    face_points = _averages(faces, num_vertices)
    edge_points = _averages(ends.tolist(), num_vertices)
    faces_of_edges = _averages(faces_at, len(faces)) @ face_points
    inner = sparse.diags_array((~on_boundary).astype(float))
    new_edges = edge_points - inner @ edge_points / 2
    new_edges = new_edges + inner @ faces_of_edges / 2

    num_edges = len(ends)
    old_vertices = _vertex_rule(
        ends, on_boundary, edge_points, face_points, faces, num_vertices
    )
    quads: list[Face] = [
        (
            corner,
            num_vertices + edge_of[_key(corner, following)],
            num_vertices + num_edges + number,
            num_vertices + edge_of[_key(previous, corner)],
        )
        for number, face in enumerate(faces)
        for previous, corner, following in zip(
            (face[-1], *face[:-1]), face, (*face[1:], face[0]), strict=True
        )
    ]
    operator = sparse.vstack([old_vertices, new_edges, face_points])
    return sparse.csr_array(operator), quads


def _vertex_rule(
    ends: NDArray[np.int64],
    on_boundary: NDArray[np.bool_],
    edge_points: sparse.csr_array,
    face_points: sparse.csr_array,
    faces: Sequence[Face],
    num_vertices: int,
) -> sparse.csr_array:
    """`(F + 2 R + (n - 3) P) / n` inside, `(E + P) / 2` on the boundary."""
    edges_at = _incidence(ends.tolist(), num_vertices)
    faces_at = _incidence(faces, num_vertices)
    valence = np.asarray(edges_at.sum(axis=1)).ravel()
    boundary_at = edges_at @ sparse.diags_array(on_boundary.astype(float))
    fixed = np.asarray(boundary_at.sum(axis=1)).ravel() > 0
    num_faces = np.asarray(faces_at.sum(axis=1)).ravel()
    identity = sparse.eye_array(num_vertices, format="csr")
    inside = (
        sparse.diags_array(1 / num_faces / valence) @ (faces_at @ face_points)
        + sparse.diags_array(2 / valence**2) @ (edges_at @ edge_points)
        + sparse.diags_array((valence - 3) / valence) @ identity
    )
    # Two boundary edges meet at each boundary vertex of a manifold.
    boundary = (boundary_at @ edge_points) / 4 + identity / 2
    return sparse.csr_array(
        sparse.diags_array((~fixed).astype(float)) @ inside
        + sparse.diags_array(fixed.astype(float)) @ boundary
    )


def _incidence(
    members: Sequence[Sequence[int]], num_vertices: int
) -> sparse.csr_array:
    """`(V, n)`: 1 where a vertex is a member of a set."""
    columns = np.repeat(np.arange(len(members)), [len(m) for m in members])
    rows = np.concatenate([np.asarray(m) for m in members])
    return sparse.csr_array(
        (np.ones(len(rows)), (rows, columns)),
        shape=(num_vertices, len(members)),
    )


def _averages(
    members: Sequence[Sequence[int]], num_vertices: int
) -> sparse.csr_array:
    """`(n, V)`: the mean of each set's members."""
    sizes = np.array([len(m) for m in members], dtype=float)
    incidence = _incidence(members, num_vertices)
    return sparse.csr_array(sparse.diags_array(1 / sizes) @ incidence.T)


def _key(first: int, second: int) -> tuple[int, int]:
    return (min(first, second), max(first, second))
