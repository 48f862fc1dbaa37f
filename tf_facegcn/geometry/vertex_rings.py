"""VertexRings: the faces of a mesh around each vertex, under contraction."""

import numpy as np
from numpy.typing import NDArray

from tf_facegcn.geometry.triangle_mesh import TriangleMesh


class VertexRings:
    """The topology of an oriented manifold whose edges are contracted.

    The faces are stored around each vertex: `rings[v][a] == b` for a face
    `(v, a, b)`. On an edge-manifold, consistently oriented mesh that is a
    function, and stays one. Plain dictionaries: they are small, and NumPy
    arrays of their size would be slower by far.

    Args:
        mesh: Edge-manifold and consistently oriented.

    Attributes:
        on_boundary: Whether each vertex is on a boundary loop. It does not
            change, as the topology does not.
    """

    def __init__(self, mesh: TriangleMesh) -> None:
        self._rings: list[dict[int, int]] = [
            {} for _ in range(mesh.num_vertices)
        ]
        for a, b, c in mesh.faces.tolist():
            self._rings[a][b] = c
            self._rings[b][c] = a
            self._rings[c][a] = b
        on_boundary = np.zeros(mesh.num_vertices, dtype=bool)
        on_boundary[mesh.boundary_edges] = True
        self.on_boundary: list[bool] = on_boundary.tolist()

    def around(self, vertex: int) -> dict[int, int]:
        """The other corners of a vertex's faces: second to third."""
        return self._rings[vertex]

    def neighbours(self, vertex: int) -> set[int]:
        """The vertices that share an edge with a vertex."""
        ring = self._rings[vertex]
        return {*ring, *ring.values()}

    def degree(self, vertex: int) -> int:
        """The number of neighbours of a vertex with one fan of faces."""
        return len(self._rings[vertex]) + self.on_boundary[vertex]

    def may_contract(self, removed: int, replacement: int) -> bool:
        """Whether contracting leaves a surface of the same topology.

        The link condition (Dey, Edelsbrunner, Guha and Nekhayev, 1999): the
        two vertices share no neighbours but the corners opposite their edge,
        and no edge between neighbours. It is applied as if one further vertex
        closed every boundary loop. A vertex on a boundary loop is only
        replaced along the loop.
        """
        rings, on_boundary = self._rings, self.on_boundary
        ring, other = rings[removed], rings[replacement]
        left, right = ring.get(replacement), other.get(removed)
        if on_boundary[removed]:
            shared = self.neighbours(removed) & self.neighbours(replacement)
        elif on_boundary[replacement]:
            shared = ring.keys() & self.neighbours(replacement)
        else:
            shared = ring.keys() & other.keys()
        if left is not None and right is not None:
            closes = ring.get(left) == right and other.get(right) == left
            return len(shared) == 2 and not (on_boundary[removed] or closes)
        if len(shared) != 1:
            return False
        # The edge is on a boundary loop. If the other two edges of its face
        # are as well, the corner opposite would lose its only face.
        if left is not None:
            return left in ring or replacement in rings[left]
        return right in other or removed in rings[shared.pop()]

    def contract(self, removed: int, replacement: int) -> None:
        """Replaces a vertex by its neighbour in every face."""
        rings = self._rings
        ring, other = rings[removed], rings[replacement]
        rings[removed] = {}
        left, right = ring.get(replacement), other.get(removed)
        if left is not None:
            # Face (removed, replacement, left).
            del ring[replacement]
            del other[left]
            del rings[left][removed]
        if right is not None:
            # Face (replacement, removed, right).
            del ring[right]
            del other[removed]
            del rings[right][replacement]
        for second, third in ring.items():
            other[second] = third
            rings[second][third] = replacement
            del rings[third][removed]
            rings[third][replacement] = second

    def remaining(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The mesh that is left.

        Returns:
            `(n,)` int32, the ascending indices of the vertices with a face,
            and `(F, 3)` int32, the faces, numbered by the position of their
            corners among those. Faces start at their lowest corner, sorted.
        """
        vertices = np.array(
            [vertex for vertex, ring in enumerate(self._rings) if ring],
            dtype=np.int32,
        )
        faces = np.array(
            [
                (vertex, second, third)
                for vertex in vertices.tolist()
                for second, third in sorted(self._rings[vertex].items())
                if vertex < second and vertex < third
            ],
            dtype=np.int32,
        ).reshape(-1, 3)
        return vertices, np.searchsorted(vertices, faces).astype(np.int32)
