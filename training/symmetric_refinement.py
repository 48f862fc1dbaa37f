"""Refines a symmetric control mesh to an exact number of vertices."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tf_facegcn.geometry.quadric_decimation import decimate_sequence
from tf_facegcn.geometry.triangle_mesh import TriangleMesh
from training.catmull_clark import subdivide
from training.polygons import Face

Array = NDArray[np.float64]

# Positions are rounded to this many decimals before anything is decided by
# them: what a linear algebra library rounds differently must not decide.
_DECIMALS = 6
# How many sizes of the half are looked at beyond the first possible one.
_MOST_SIZES = 100


class RefinedMesh(NamedTuple):
    """The result of `refine`.

    Attributes:
        operator: `(V, C)` float64 CSR from control vertices to the mesh's.
        mesh: The triangle mesh.
        mirror: `(V,)` int32, the vertex that mirrors each in the plane x = 0;
            the permutation maps faces to faces.
    """

    operator: sparse.csr_array
    mesh: TriangleMesh
    mirror: NDArray[np.int32]


def refine(
    faces: list[Face],
    vertices: Array,
    mirror: NDArray[np.int64],
    num_vertices: int,
    num_subdivisions: int,
) -> RefinedMesh:
    """Subdivides a control mesh, then decimates it to an exact count.

    Only the half of x <= 0 is decimated; the other is its mirror image. A
    half of `n` vertices, `m` of them in the middle, makes `2 n - m`.

    Args:
        faces: Polygons of the control mesh, none across the middle.
        vertices: `(C, 3)` control vertices, which decide what is decimated.
        mirror: `(C,)` the control vertex that mirrors each.
        num_vertices: Vertices to keep.
        num_subdivisions: Catmull-Clark steps before.

    Returns:
        The mesh: first its half of x <= 0, then the mirror images.

    Raises:
        ValueError: If no half makes exactly `num_vertices`.
    """
    operator = sparse.eye_array(len(vertices), format="csr")
    for _ in range(num_subdivisions):
        step, faces = subdivide(faces, operator.shape[0])
        operator = sparse.csr_array(step @ operator)
    positions = np.round(operator @ vertices, _DECIMALS)
    quads = np.array(faces)
    half = quads[(positions[quads, 0] <= 0).all(axis=1)]
    if 2 * len(half) != len(quads):
        raise ValueError(
            "Expected a symmetric mesh without faces across the middle. "
            f"Received: {len(half)} of {len(quads)} faces at x <= 0"
        )
    members, corners = np.unique(
        _split_quadrilaterals(half, positions), return_inverse=True
    )
    mesh, kept = _decimated_half(
        TriangleMesh(positions[members], corners.reshape(-1, 3)), num_vertices
    )
    return _with_mirror_image(operator[members[kept]], mesh, mirror)


def _decimated_half(
    half: TriangleMesh, num_vertices: int
) -> tuple[TriangleMesh, NDArray[np.int32]]:
    """The half that makes a whole of `num_vertices` vertices."""
    in_middle = half.vertices[:, 0] == 0
    largest = min((num_vertices + int(in_middle.sum())) // 2, half.num_vertices)
    sizes = range(largest, max(largest - _MOST_SIZES, num_vertices // 2), -1)
    kept = np.arange(half.num_vertices, dtype=np.int32)
    for mesh, kept_of_finer in decimate_sequence(half, list(sizes)):
        kept = kept[kept_of_finer]
        whole = 2 * len(kept) - int(in_middle[kept].sum())
        if whole == num_vertices:
            return mesh, kept
        if whole < num_vertices:
            break
    raise ValueError(
        "Expected a number of vertices that two mirrored halves can make. "
        f"Received: num_vertices={num_vertices}; the next that can is {whole}"
    )


def _with_mirror_image(
    operator: sparse.csr_array, half: TriangleMesh, mirror: NDArray[np.int64]
) -> RefinedMesh:
    sides = np.flatnonzero(half.vertices[:, 0] < 0)
    twin = np.arange(half.num_vertices)
    twin[sides] = half.num_vertices + np.arange(len(sides))
    # A mirror image mixes the mirror images of the control vertices.
    other = sparse.csr_array(operator[sides][:, mirror])
    whole = sparse.csr_array(sparse.vstack([operator, other]))
    whole.sort_indices()
    flip = np.array([-1.0, 1.0, 1.0])
    vertices = np.concatenate([half.vertices, half.vertices[sides] * flip])
    faces = np.concatenate([half.faces, twin[half.faces][:, ::-1]])
    return RefinedMesh(
        whole,
        TriangleMesh(vertices, faces),
        np.concatenate([twin, sides]).astype(np.int32),
    )


def _split_quadrilaterals(
    quads: NDArray[np.int64], positions: Array
) -> NDArray[np.int64]:
    """Two triangles a quadrilateral, along the shorter diagonal."""
    corners = positions[quads]
    first = np.linalg.norm(corners[:, 0] - corners[:, 2], axis=1)
    second = np.linalg.norm(corners[:, 1] - corners[:, 3], axis=1)
    along_first = (np.round(first - second, _DECIMALS) <= 0)[:, None, None]
    return np.where(
        along_first,
        quads[:, [[0, 1, 2], [0, 2, 3]]],
        quads[:, [[0, 1, 3], [1, 2, 3]]],
    ).reshape(-1, 3)
