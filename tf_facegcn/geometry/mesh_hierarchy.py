"""MeshHierarchy: a template mesh, its coarser levels and the ways between."""

import hashlib
import math
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tf_facegcn.geometry.barycentric import upsampling_matrix
from tf_facegcn.geometry.laplacian import (
    adjacency_matrix,
    laplacian_matrix,
    largest_eigenvalue,
    rescale_laplacian,
)
from tf_facegcn.geometry.quadric_decimation import decimate_sequence
from tf_facegcn.geometry.triangle_mesh import TriangleMesh

# Vertices of the coarser levels (paper, Sec. 3.4 and Fig. 3).
LEVEL_SIZES = (16384, 4096, 1024, 256, 64, 16)

# First entry of a stored hierarchy; the number changes with the layout.
_FORMAT = "tf_facegcn.MeshHierarchy/1"
# Largest error of a row sum of up-sampling weights stored as float32.
_WEIGHT_TOLERANCE = 1e-6
# What NumPy, zipfile and zlib raise for a damaged file, and what arrays that
# do not belong together lead to.
_LOADING_ERRORS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    SyntaxError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)
_VERTEX_ORDERS = ("raster", "index")


@dataclass(frozen=True, eq=False)
class HierarchyLevel:
    """One level of a `MeshHierarchy`, matrices ready for the network.

    Attributes:
        mesh: The level's surface, `V` vertices.
        laplacian: `(V, V)` float32 CSR, the rescaled Laplacian
            `2 L / lambda_max - I` (paper, Eq. 1).
        lambda_max: Largest eigenvalue of the Laplacian `L`.
        kept: `(V,)` int32, the index of each vertex in the next finer level;
            `None` on the finest.
        downsampling: `(V, V_finer)` float32 CSR `Q_d`, selects the kept
            vertices; `None` on the finest.
        upsampling: `(V_finer, V)` float32 CSR `Q_u`, barycentric weights;
            `None` on the finest.
    """

    mesh: TriangleMesh
    laplacian: sparse.csr_array
    lambda_max: float
    kept: NDArray[np.int32] | None = None
    downsampling: sparse.csr_array | None = None
    upsampling: sparse.csr_array | None = None


class MeshHierarchy:
    """A template mesh and its decimated levels, finest first.

    The finest level has the template's own vertex order, so indices into the
    template hold on it. With `"raster"` order the vertices of a coarser level
    run through the frontal projection row by row: of a level of `m * m`
    vertices, the first `m` are the topmost, from left to right, and so on.
    Reshaped to `(m, m)` they are neighbours in a feature map where they are
    neighbours on the face. Not given in the paper.

    Use `build` or `load` to make one.

    Args:
        levels: The levels, finest first.
        laplacian: Kind of Laplacian, `"combinatorial"` or `"normalized"`.
        vertex_order: `"raster"` or `"index"`.

    Example:
        >>> corners = [[0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0], [1, 1, 0]]
        >>> faces = [[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]]
        >>> square = TriangleMesh(corners, faces)
        >>> MeshHierarchy.build(square, level_sizes=(4,)).sizes
        (5, 4)
    """

    def __init__(
        self,
        levels: Sequence[HierarchyLevel],
        laplacian: str = "combinatorial",
        vertex_order: str = "raster",
    ) -> None:
        self.levels = tuple(levels)
        self.laplacian = laplacian
        self.vertex_order = vertex_order

    def __repr__(self) -> str:
        return (
            f"MeshHierarchy(sizes={self.sizes}, laplacian={self.laplacian!r}, "
            f"vertex_order={self.vertex_order!r})"
        )

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of vertices of each level, finest first."""
        return tuple(level.mesh.num_vertices for level in self.levels)

    @cached_property
    def fingerprint(self) -> str:
        """Hexadecimal SHA-256 of the topology.

        It covers what a network's weights depend on: sizes, faces, kept
        vertices, kind of Laplacian and vertex order, not the positions.
        """
        digest = hashlib.sha256()
        header = f"{_FORMAT} {self.laplacian} {self.vertex_order} {self.sizes}"
        digest.update(header.encode())
        for level in self.levels:
            for array in (level.mesh.faces, level.kept):
                if array is not None:
                    digest.update(f" {array.shape} ".encode())
                    digest.update(array.astype("<i4").tobytes())
        return digest.hexdigest()

    @classmethod
    def build(
        cls,
        mesh: TriangleMesh,
        level_sizes: Sequence[int] = LEVEL_SIZES,
        vertex_order: str = "raster",
        laplacian: str = "combinatorial",
    ) -> "MeshHierarchy":
        """Decimates a template mesh level by level.

        Args:
            mesh: The template: one component, edge-manifold, consistently
                oriented, every vertex with a face.
            level_sizes: Vertices of the coarser levels, descending.
            vertex_order: `"raster"`, or `"index"` for the template's order.
            laplacian: `"combinatorial"` or `"normalized"`.

        Returns:
            The hierarchy of `1 + len(level_sizes)` levels.

        Raises:
            ValueError: If an argument is not as above.
        """
        _check_vertex_order(vertex_order)
        _check_template(mesh, level_sizes)
        levels = [_level(mesh, laplacian)]
        finer = mesh
        # Where each vertex of the previous decimated mesh stands in `finer`.
        places = np.arange(mesh.num_vertices, dtype=np.int32)
        for decimated, kept in decimate_sequence(mesh, level_sizes):
            order = np.arange(decimated.num_vertices)
            if vertex_order == "raster":
                order = raster_order(decimated.vertices)
            kept = places[kept[order]]
            places = np.argsort(order).astype(np.int32)
            coarse = TriangleMesh(
                decimated.vertices[order], places[decimated.faces]
            )
            upsampling = upsampling_matrix(coarse, finer.vertices, kept)
            levels.append(_level(coarse, laplacian, None, kept, upsampling))
            finer = coarse
        return cls(levels, laplacian, vertex_order)

    def with_laplacian(self, laplacian: str) -> "MeshHierarchy":
        """Makes the same hierarchy with another kind of Laplacian.

        Args:
            laplacian: `"combinatorial"` or `"normalized"`.

        Returns:
            What `build` makes with this kind; this hierarchy itself if it is
            of the kind.

        Raises:
            ValueError: If there is no such kind.
        """
        if laplacian == self.laplacian:
            return self
        levels = [
            _level(level.mesh, laplacian, None, level.kept, level.upsampling)
            for level in self.levels
        ]
        return MeshHierarchy(levels, laplacian, self.vertex_order)

    def with_vertex_order(self, vertex_order: str) -> "MeshHierarchy":
        """Makes the same hierarchy with its coarse vertices in another order.

        Args:
            vertex_order: `"raster"` or `"index"`.

        Returns:
            What `build` makes with this order; this hierarchy itself if it
            has the order.

        Raises:
            ValueError: If there is no such order.
        """
        _check_vertex_order(vertex_order)
        if vertex_order == self.vertex_order:
            return self
        levels = [self.levels[0]]
        # Of the finer level: the former place of each vertex, the new place
        # of each former one, and the vertices of the template, in new order.
        formerly = places = template = np.arange(self.sizes[0])
        for level in self.levels[1:]:
            if level.kept is None or level.upsampling is None:
                continue  # Only the finest level, which keeps its order.
            kept = places[level.kept]
            order = np.argsort(template[kept])
            if vertex_order == "raster":
                # Of equal coordinates the first in the template comes first.
                order = order[raster_order(level.mesh.vertices[order])]
            kept, template = kept[order], template[kept[order]]
            upsampling = level.upsampling[formerly][:, order]
            formerly, places = order, np.argsort(order)
            mesh = TriangleMesh(
                level.mesh.vertices[order],
                places[level.mesh.faces].astype(np.int32),
            )
            levels.append(
                _level(
                    mesh,
                    self.laplacian,
                    level.lambda_max,
                    kept.astype(np.int32),
                    sparse.csr_array(upsampling),
                )
            )
        return MeshHierarchy(levels, self.laplacian, vertex_order)

    def save(self, path: str | Path) -> None:
        """Writes the hierarchy to one `.npz` file.

        A file of that name is replaced as a whole or not at all. Equal
        hierarchies give equal files.

        Args:
            path: The file, its folder exists.
        """
        arrays: dict[str, Any] = {
            "format": np.array(_FORMAT),
            "laplacian": np.array(self.laplacian),
            "vertex_order": np.array(self.vertex_order),
            "fingerprint": np.array(self.fingerprint),
            "lambda_max": np.array([level.lambda_max for level in self.levels]),
            "vertices": self.levels[0].mesh.vertices,
        }
        for index, level in enumerate(self.levels):
            arrays[f"faces_{index}"] = level.mesh.faces
            if level.kept is not None and level.upsampling is not None:
                arrays[f"kept_{index}"] = level.kept
                arrays[f"weights_{index}"] = level.upsampling.data
                arrays[f"columns_{index}"] = level.upsampling.indices
                arrays[f"row_ends_{index}"] = level.upsampling.indptr[1:]
        _write_whole(Path(path), arrays)

    @classmethod
    def load(cls, path: str | Path) -> "MeshHierarchy":
        """Reads a hierarchy that `save` wrote.

        Args:
            path: The `.npz` file.

        Returns:
            The hierarchy, equal to the one that was saved.

        Raises:
            OSError: If the file cannot be opened.
            ValueError: If the file is damaged or holds something else.
        """
        with Path(path).open("rb") as stream:
            try:
                with np.load(stream, allow_pickle=False) as file:
                    arrays = dict(file)
                hierarchy = cls._from_arrays(arrays)
                fingerprint = str(arrays["fingerprint"])
            except _LOADING_ERRORS as error:
                raise ValueError(
                    "Expected a file written by MeshHierarchy.save; this one "
                    f"is damaged or holds something else ({error}). Received: "
                    f"path={str(path)!r}"
                ) from error
        if hierarchy.fingerprint != fingerprint:
            raise ValueError(
                "Expected the topology to match the fingerprint stored with "
                "it, the file was changed. Received: "
                f"path={str(path)!r}"
            )
        return hierarchy

    @classmethod
    def _from_arrays(cls, arrays: dict[str, NDArray]) -> "MeshHierarchy":
        if str(arrays["format"]) != _FORMAT:
            raise ValueError(f"its format is not {_FORMAT!r}")
        kind = str(arrays["laplacian"])
        vertices = arrays["vertices"]
        mesh = TriangleMesh(vertices, arrays["faces_0"])
        levels = []
        for index, lambda_max in enumerate(arrays["lambda_max"].tolist()):
            kept = upsampling = None
            if index:
                kept = arrays[f"kept_{index}"]
                row_ends = arrays[f"row_ends_{index}"]
                upsampling = sparse.csr_array(
                    (
                        arrays[f"weights_{index}"],
                        arrays[f"columns_{index}"],
                        np.concatenate([np.zeros(1, row_ends.dtype), row_ends]),
                    ),
                    shape=(len(vertices), len(kept)),
                )
                upsampling.check_format()
                _check_weights(upsampling)
                vertices = vertices[kept]
                mesh = TriangleMesh(vertices, arrays[f"faces_{index}"])
            levels.append(_level(mesh, kind, lambda_max, kept, upsampling))
        return cls(levels, kind, str(arrays["vertex_order"]))


def raster_order(vertices: NDArray[np.floating]) -> NDArray[np.intp]:
    """Orders vertices by rows of their frontal projection.

    Rows run top to bottom (falling y), within a row left to right (rising x).
    `m * m` vertices make `m` rows of `m`; other numbers make rows as equal as
    possible. Of equal coordinates the lower index comes first.

    Args:
        vertices: `(V, 3)` float, model axes.

    Returns:
        `(V,)` int, the vertices' indices in raster order.
    """
    num_rows = max(1, round(math.sqrt(len(vertices))))
    downwards = np.argsort(-vertices[:, 1], kind="stable")
    return np.concatenate(
        [
            row[np.lexsort((row, vertices[row, 0]))]
            for row in np.array_split(downwards, num_rows)
        ]
    )


def _check_vertex_order(vertex_order: str) -> None:
    if vertex_order not in _VERTEX_ORDERS:
        raise ValueError(
            'Expected vertex_order "raster" or "index". Received: '
            f"vertex_order={vertex_order!r}"
        )


def _check_template(mesh: TriangleMesh, level_sizes: Sequence[int]) -> None:
    """Checks what `decimate_sequence` leaves open."""
    sizes = [mesh.num_vertices, *level_sizes]
    if not level_sizes or any(
        finer <= coarser for finer, coarser in pairwise(sizes)
    ):
        raise ValueError(
            "Expected level_sizes to descend from below the mesh's "
            f"{mesh.num_vertices} vertices. Received: "
            f"level_sizes={tuple(level_sizes)}"
        )
    if len(mesh.unreferenced_vertices):
        raise ValueError(
            "Expected every vertex to have a face, but "
            f"{len(mesh.unreferenced_vertices)} are isolated. Received: "
            f"isolated vertex {int(mesh.unreferenced_vertices[0])}"
        )
    if mesh.num_components != 1:
        raise ValueError(
            "Expected a mesh of one connected component, as features cannot "
            "pass between several. Received: "
            f"mesh.num_components={mesh.num_components}"
        )


def _check_weights(upsampling: sparse.csr_array) -> None:
    """Checks that the rows are barycentric weights."""
    totals = upsampling.sum(axis=1)
    if not np.all(np.abs(totals - 1.0) < _WEIGHT_TOLERANCE) or np.any(
        upsampling.data < 0
    ):
        raise ValueError("its up-sampling weights do not sum to 1")


def _level(
    mesh: TriangleMesh,
    kind: str,
    lambda_max: float | None = None,
    kept: NDArray[np.int32] | None = None,
    upsampling: sparse.csr_array | None = None,
) -> HierarchyLevel:
    """A level with its matrices; computes `lambda_max` unless it is given."""
    adjacency = adjacency_matrix(mesh.faces, mesh.num_vertices)
    laplacian = laplacian_matrix(adjacency, kind)
    if lambda_max is None:
        lambda_max = largest_eigenvalue(laplacian)
    rescaled = rescale_laplacian(laplacian, lambda_max).astype(np.float32)
    if kept is None or upsampling is None:
        return HierarchyLevel(mesh, rescaled, lambda_max)
    downsampling = sparse.csr_array(
        (
            np.ones(len(kept), dtype=np.float32),
            kept,
            np.arange(len(kept) + 1, dtype=np.int32),
        ),
        shape=(len(kept), upsampling.shape[0]),
    )
    return HierarchyLevel(
        mesh,
        rescaled,
        lambda_max,
        kept,
        downsampling,
        upsampling.astype(np.float32),
    )


def _write_whole(path: Path, arrays: dict[str, Any]) -> None:
    """Writes an `.npz` beside its place and moves it there when complete."""
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
