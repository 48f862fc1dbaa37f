"""TriangleMesh: an immutable triangle mesh that checks itself."""

from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.sparse import csgraph


class TriangleMesh:
    """A triangle mesh: vertex positions and the triangles between them.

    The arrays are copies of the arguments and write-protected, so everything
    derived from them is computed once, when it is first asked for. Model axes:
    x to the right, y up, z towards the viewer, right-handed; the corners of a
    face run counter-clockwise seen from outside.

    Args:
        vertices: `(V, 3)` float, the positions, all finite.
        faces: `(F, 3)` int, three vertex indices a face. No face names a
            vertex twice and no two faces name the same three vertices.

    Raises:
        ValueError: If a shape, an index or a position breaks these rules.

    Example:
        >>> corners = [[0, 0, 0], [1, 0, 0], [0, 1, 0]]
        >>> mesh = TriangleMesh(corners, [[0, 1, 2]])
        >>> mesh.edges.tolist()
        [[0, 1], [0, 2], [1, 2]]
    """

    def __init__(self, vertices: ArrayLike, faces: ArrayLike) -> None:
        self._vertices = _checked_vertices(vertices)
        self._faces = _checked_faces(faces, len(self._vertices))

    def __repr__(self) -> str:
        return (
            f"TriangleMesh(num_vertices={self.num_vertices}, "
            f"num_faces={self.num_faces})"
        )

    @property
    def vertices(self) -> NDArray[np.float64]:
        """`(V, 3)` float64: the positions, write-protected."""
        return self._vertices

    @property
    def faces(self) -> NDArray[np.int32]:
        """`(F, 3)` int32: vertex indices, write-protected."""
        return self._faces

    @property
    def num_vertices(self) -> int:
        """Number of vertices `V`."""
        return len(self.vertices)

    @property
    def num_faces(self) -> int:
        """Number of faces `F`."""
        return len(self.faces)

    @cached_property
    def edges(self) -> NDArray[np.int32]:
        """`(E, 2)` int32: each edge once, smaller index first, sorted."""
        return _protected(self._edges_and_uses[0])

    @cached_property
    def boundary_edges(self) -> NDArray[np.int32]:
        """`(B, 2)` int32: the edges of one face only, directed as in it.

        On a consistently oriented manifold mesh they chain into loops: the
        second vertex of one edge is the first of the next.
        """
        return _protected(_directed_edges(self.faces)[self._on_boundary])

    @cached_property
    def boundary_edge_faces(self) -> NDArray[np.intp]:
        """`(B,)` int: the face that each of `boundary_edges` belongs to."""
        return _protected(np.flatnonzero(self._on_boundary) // 3)

    @cached_property
    def num_components(self) -> int:
        """Number of connected parts; an unreferenced vertex counts as one."""
        first, second = self.edges.T
        graph = sparse.coo_array(
            (np.ones(len(first), np.int8), (first, second)),
            shape=(self.num_vertices, self.num_vertices),
        )
        return int(
            csgraph.connected_components(
                graph, directed=False, return_labels=False
            )
        )

    @cached_property
    def is_edge_manifold(self) -> bool:
        """Whether no edge belongs to more than two faces."""
        return bool(np.all(self._edges_and_uses[1] <= 2))

    @cached_property
    def is_consistently_oriented(self) -> bool:
        """Whether no two faces run through an edge in the same direction."""
        directed = _directed_edges(self.faces).astype(np.int64)
        keys = directed[:, 0] * self.num_vertices + directed[:, 1]
        return len(np.unique(keys)) == len(keys)

    @cached_property
    def face_normals(self) -> NDArray[np.float64]:
        """`(F, 3)` float64: unit outward normals, zero without an area."""
        return _protected(_unit(self._face_area_vectors))

    @cached_property
    def vertex_normals(self) -> NDArray[np.float64]:
        """`(V, 3)` float64: unit normals, the faces' weighted by their area.

        Zero where a vertex has no face.
        """
        corners = self.faces.ravel()
        area_vectors = np.repeat(self._face_area_vectors, 3, axis=0)
        totals = np.zeros((self.num_vertices, 3))
        for axis in range(3):
            totals[:, axis] = np.bincount(
                corners, area_vectors[:, axis], self.num_vertices
            )
        return _protected(_unit(totals))

    @cached_property
    def unreferenced_vertices(self) -> NDArray[np.int32]:
        """`(U,)` int32: ascending indices of the vertices without a face."""
        uses = np.bincount(self.faces.ravel(), minlength=self.num_vertices)
        return _protected(np.flatnonzero(uses == 0).astype(np.int32))

    @cached_property
    def _edges_and_uses(
        self,
    ) -> tuple[NDArray[np.int32], NDArray[np.intp], NDArray[np.intp]]:
        """The edges, the faces of each, and each directed edge's edge."""
        undirected = np.sort(_directed_edges(self.faces), axis=1)
        keys = undirected[:, 0].astype(np.int64) * self.num_vertices
        unique, inverse, uses = np.unique(
            keys + undirected[:, 1], return_inverse=True, return_counts=True
        )
        edges = np.stack(np.divmod(unique, self.num_vertices), axis=1)
        return edges.astype(np.int32), uses, inverse

    @property
    def _on_boundary(self) -> NDArray[np.bool_]:
        """`(3 F,)`: whether each directed edge is its edge's only one."""
        _, uses, inverse = self._edges_and_uses
        return uses[inverse] == 1

    @cached_property
    def _face_area_vectors(self) -> NDArray[np.float64]:
        """`(F, 3)` normals whose length is twice the face's area."""
        first, second, third = np.moveaxis(self.vertices[self.faces], 1, 0)
        return np.cross(second - first, third - first)


def _checked_vertices(vertices: ArrayLike) -> NDArray[np.float64]:
    array = np.array(vertices, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 3 or not len(array):
        raise ValueError(
            "Expected vertices as a non-empty (V, 3) array. Received: "
            f"vertices.shape={array.shape}"
        )
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(bad):
        raise ValueError(
            "Expected finite vertex positions, but "
            f"{len(bad)} are not. Received: vertices[{bad[0]}]="
            f"{array[bad[0]].tolist()}"
        )
    return _protected(array)


def _checked_faces(faces: ArrayLike, num_vertices: int) -> NDArray[np.int32]:
    given = np.asarray(faces)
    if given.ndim != 2 or given.shape[1] != 3 or not len(given):
        raise ValueError(
            "Expected faces as a non-empty (F, 3) array. Received: "
            f"faces.shape={given.shape}"
        )
    if not np.issubdtype(given.dtype, np.integer):
        raise ValueError(
            "Expected faces of an integer type, they are vertex indices. "
            f"Received: faces.dtype={given.dtype}"
        )
    bad = np.flatnonzero(((given < 0) | (given >= num_vertices)).any(axis=1))
    if len(bad):
        raise ValueError(
            f"Expected face indices from 0 to {num_vertices - 1}, as there "
            f"are {num_vertices} vertices. Received: faces[{bad[0]}]="
            f"{given[bad[0]].tolist()}"
        )
    array = given.astype(np.int32)
    ordered = np.sort(array, axis=1)
    bad = np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(axis=1))
    if len(bad):
        raise ValueError(
            "Expected three different vertices in each face, but "
            f"{len(bad)} faces are degenerate. Received: faces[{bad[0]}]="
            f"{array[bad[0]].tolist()}"
        )
    order = np.lexsort(ordered.T[::-1])
    repeats = (ordered[order[1:]] == ordered[order[:-1]]).all(axis=1)
    bad = order[1:][repeats]
    if len(bad):
        raise ValueError(
            "Expected each face once, but "
            f"{len(bad)} are duplicates. Received: faces[{bad[0]}]="
            f"{array[bad[0]].tolist()}"
        )
    return _protected(array)


def _directed_edges(faces: NDArray[np.int32]) -> NDArray[np.int32]:
    """`(3 F, 2)`: the edges of each face in the direction of its corners."""
    return np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1).reshape(-1, 2)


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1.0)


def _protected(array: NDArray) -> NDArray:
    array.setflags(write=False)
    return array
