"""Quadric edge contraction to an exact number of a mesh's own vertices.

Not given in the paper, which follows CoMA: Garland and Heckbert, "Surface
Simplification Using Quadric Error Metrics", 1997, where an edge is contracted
onto the cheaper of its two ends, so that no vertex moves. A naive run misses
its count, because one contraction can orphan a second vertex; here
contractions that would orphan, fold or pinch the surface are refused.
"""

import heapq
import math
import operator
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import numpy as np
from numpy.typing import NDArray

from tf_facegcn.geometry.quadric_error import (
    Point,
    Quadric,
    quadric_error,
    quadric_errors,
    vertex_quadrics,
)
from tf_facegcn.geometry.triangle_mesh import TriangleMesh
from tf_facegcn.geometry.vertex_rings import VertexRings

# The cosine of the largest angle that a face may turn by in one contraction.
_SMALLEST_TURN_COSINE = 0.2
# While there is a choice, no vertex gets more neighbours: padded neighbour
# tables are as wide as the worst vertex. It does not cost accuracy.
_LARGEST_DEGREE = 8
# The stamp of a contracted vertex; no sum of two stamps equals one with it.
_REMOVED = -(1 << 60)

# Cost, vertex to remove, vertex that replaces it, sum of their stamps.
_Contraction = tuple[float, int, int, int]


def decimate(
    mesh: TriangleMesh, num_vertices: int
) -> tuple[TriangleMesh, NDArray[np.int32]]:
    """Contracts edges until a number of the mesh's vertices is left.

    Topology is retained: components, handles and boundary loops stay, a
    boundary vertex is only replaced by its neighbour on the boundary, and the
    result is edge-manifold and consistently oriented as `mesh` is. Equal input
    gives equal output, bit for bit. The unit of length does not matter, as
    all errors are proportional to its fourth power.

    Args:
        mesh: Edge-manifold, consistently oriented, no unreferenced vertex.
        num_vertices: Number of vertices to keep.

    Returns:
        The decimated mesh, its vertices in the order that they have in `mesh`,
        and `(num_vertices,)` int32, the ascending indices of them in `mesh`.

    Raises:
        ValueError: If `mesh` is not as above or has too few vertices, or if
            its topology needs more vertices than asked for.

    Example:
        >>> corners = [[0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0], [1, 1, 0]]
        >>> faces = [[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]]
        >>> square, kept = decimate(TriangleMesh(corners, faces), 4)
        >>> kept.tolist(), square.num_faces
        ([0, 1, 2, 3], 2)
    """
    return decimate_sequence(mesh, [num_vertices])[0]


def decimate_sequence(
    mesh: TriangleMesh, sizes: Sequence[int]
) -> list[tuple[TriangleMesh, NDArray[np.int32]]]:
    """Decimates to several sizes in one continuous run.

    Args:
        mesh: As in `decimate`.
        sizes: Numbers of vertices to keep, descending.

    Returns:
        For each size the decimated mesh and the ascending indices of its
        vertices in the mesh before it: in `mesh` for the first, in the
        previous entry's mesh for the others.

    Raises:
        ValueError: As `decimate`, or if `sizes` do not descend.
    """
    _check_arguments(mesh, sizes)
    contraction = _EdgeContraction(mesh)
    results = []
    finer = np.arange(mesh.num_vertices, dtype=np.int32)
    for size in sizes:
        contraction.run(size)
        vertices, faces = contraction.rings.remaining()
        kept = np.searchsorted(finer, vertices).astype(np.int32)
        results.append((TriangleMesh(mesh.vertices[vertices], faces), kept))
        finer = vertices
    return results


class _EdgeContraction:
    """A mesh under contraction: its topology, quadrics and queue.

    Plain floats and lists: NumPy arrays of three or ten numbers would be
    slower by far.
    """

    def __init__(self, mesh: TriangleMesh) -> None:
        # Around the origin, where a quadric loses the least to rounding.
        lower, upper = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
        positions = mesh.vertices - (lower + upper) / 2
        self.positions: list[Point] = [
            (x, y, z) for x, y, z in positions.tolist()
        ]
        self.rings = VertexRings(mesh)
        self.count = mesh.num_vertices
        # How often each vertex has replaced another: a queued contraction
        # that was computed before is void.
        self.stamps = [0] * self.count

        quadrics = vertex_quadrics(positions, mesh)
        self.quadrics: list[Quadric] = list(
            zip(*quadrics.tolist(), strict=True)
        )
        # The error of each vertex where it is, from those that it replaced.
        self.own_errors = [0.0] * self.count
        self.queue = _initial_queue(mesh.edges, positions, quadrics)
        heapq.heapify(self.queue)
        # Contractions that were refused, by both of their vertices: they
        # return to the queue when the faces around one of them change. When
        # the queue is empty, those that break the least are next.
        self.refused: dict[int, set[_Contraction]] = {}
        self.crowding: list[_Contraction] = []
        self.folding: list[_Contraction] = []

    def run(self, target: int) -> None:
        """Contracts until `target` vertices are left."""
        while self.count > target:
            contraction = self._next_contraction()
            if contraction is None:
                raise ValueError(
                    "Expected a mesh whose topology allows the vertices asked "
                    "for: a closed part needs 4, a boundary loop 3, a handle "
                    f"more. Received: num_vertices={target}, but {self.count} "
                    "have to stay"
                )
            self._contract(*contraction)

    def _next_contraction(self) -> tuple[int, int] | None:
        """The cheapest contraction allowed; `None` if there is none at all.

        While there is one, no degree grows too large; failing that, no face
        folds over. The topology stays in any case.
        """
        while self.queue:
            contraction = heapq.heappop(self.queue)
            pair = self._valid_pair(contraction)
            if pair is None:
                continue
            if not self.rings.may_contract(*pair):
                self._refuse(contraction)
            elif not self._keeps_normals(*pair):
                self._refuse(contraction, self.folding)
            elif not self._keeps_degrees(*pair):
                self._refuse(contraction, self.crowding)
            else:
                return pair
        while self.crowding:
            pair = self._valid_pair(heapq.heappop(self.crowding))
            if (
                pair is not None
                and self.rings.may_contract(*pair)
                and self._keeps_normals(*pair)
            ):
                return pair
        while self.folding:
            pair = self._valid_pair(heapq.heappop(self.folding))
            if pair is not None and self.rings.may_contract(*pair):
                return pair
        return None

    def _valid_pair(self, contraction: _Contraction) -> tuple[int, int] | None:
        """The vertices of a contraction, unless one changed since its cost."""
        _, removed, replacement, stamp = contraction
        if self.stamps[removed] + self.stamps[replacement] != stamp:
            return None
        return removed, replacement

    def _refuse(
        self,
        contraction: _Contraction,
        reserve: list[_Contraction] | None = None,
    ) -> None:
        """Sets a contraction aside until the faces around it change."""
        for vertex in contraction[1:3]:
            self.refused.setdefault(vertex, set()).add(contraction)
        if reserve is not None:
            heapq.heappush(reserve, contraction)

    def _keeps_degrees(self, removed: int, replacement: int) -> bool:
        """Whether the vertex left would have few neighbours."""
        rings = self.rings
        degrees = rings.degree(removed) + rings.degree(replacement)
        # Themselves, and the corners opposite their edge count once.
        twice = 3 if rings.on_boundary[removed] else 4
        return degrees - twice <= _LARGEST_DEGREE

    def _keeps_normals(self, removed: int, replacement: int) -> bool:
        """Whether no face would fold over or lose its area."""
        positions = self.positions
        ux, uy, uz = positions[removed]
        vx, vy, vz = positions[replacement]
        for second, third in self.rings.around(removed).items():
            if second == replacement or third == replacement:
                continue
            ax, ay, az = positions[second]
            bx, by, bz = positions[third]
            ex, ey, ez = bx - ax, by - ay, bz - az
            px, py, pz = ax - ux, ay - uy, az - uz
            qx, qy, qz = ax - vx, ay - vy, az - vz
            # The face's normal before, p x e, and after, q x e.
            nx, ny, nz = py * ez - pz * ey, pz * ex - px * ez, px * ey - py * ex
            mx, my, mz = qy * ez - qz * ey, qz * ex - qx * ez, qx * ey - qy * ex
            before = nx * nx + ny * ny + nz * nz
            after = mx * mx + my * my + mz * mz
            product = nx * mx + ny * my + nz * mz
            if before and product <= _SMALLEST_TURN_COSINE * math.sqrt(
                before * after
            ):
                return False
        return True

    def _contract(self, removed: int, replacement: int) -> None:
        """Replaces a vertex by a neighbour and queues what that changes."""
        self.rings.contract(removed, replacement)
        stamps, queue, refused = self.stamps, self.queue, self.refused
        stamps[removed] = _REMOVED
        stamps[replacement] += 1
        self.count -= 1

        positions, quadrics = self.positions, self.quadrics
        position = positions[replacement]
        sums = map(operator.add, quadrics[removed], quadrics[replacement])
        quadric = cast(Quadric, tuple(sums))
        quadrics[replacement] = quadric
        own_error = quadric_error(quadric, position)
        own_errors = self.own_errors
        own_errors[replacement] = own_error

        refused.pop(removed, None)
        refused.pop(replacement, None)
        for neighbour in self.rings.neighbours(replacement):
            stamp = stamps[replacement] + stamps[neighbour]
            cost = quadric_error(quadric, positions[neighbour])
            cost = max(cost + own_errors[neighbour], 0.0)
            heapq.heappush(queue, (cost, replacement, neighbour, stamp))
            cost = quadric_error(quadrics[neighbour], position)
            cost = max(cost + own_error, 0.0)
            heapq.heappush(queue, (cost, neighbour, replacement, stamp))
            for contraction in refused.pop(neighbour, ()):
                heapq.heappush(queue, contraction)


def _initial_queue(
    edges: NDArray[np.int32],
    positions: NDArray[np.float64],
    quadrics: NDArray[np.float64],
) -> list[_Contraction]:
    """The contractions of all edges, in both directions."""
    removed, replacement = np.concatenate([edges, edges[:, ::-1]]).T
    errors = quadric_errors(quadrics[:, removed], positions[replacement])
    return list(
        zip(
            np.maximum(errors, 0.0).tolist(),
            removed.tolist(),
            replacement.tolist(),
            [0] * len(removed),
            strict=True,
        )
    )


def _check_arguments(mesh: TriangleMesh, sizes: Sequence[int]) -> None:
    if any(size <= later for size, later in pairwise(sizes)):
        raise ValueError(
            f"Expected sizes in descending order. Received: sizes={sizes}"
        )
    if not sizes or sizes[-1] < 3 or sizes[0] > mesh.num_vertices:
        raise ValueError(
            "Expected to keep at least 3 vertices and at most the mesh's "
            f"{mesh.num_vertices}. Received: sizes={list(sizes)}"
        )
    if len(mesh.unreferenced_vertices):
        raise ValueError(
            "Expected every vertex to have a face, but "
            f"{len(mesh.unreferenced_vertices)} are isolated. Received: "
            f"isolated vertex {int(mesh.unreferenced_vertices[0])}"
        )
    if not mesh.is_edge_manifold:
        raise ValueError(
            "Expected at most two faces at each edge. Received: a mesh that "
            "is not edge-manifold"
        )
    if not mesh.is_consistently_oriented:
        raise ValueError(
            "Expected neighbouring faces to run through their edge in "
            "opposite directions. Received: a mesh that is not consistently "
            "oriented"
        )
