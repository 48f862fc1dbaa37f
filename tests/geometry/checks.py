"""What has to hold for every mesh and every hierarchy, for tests to call."""

from collections import Counter
from itertools import pairwise

import numpy as np
from scipy.sparse import csgraph, linalg

from tf_facegcn.geometry.laplacian import adjacency_matrix


def check_mesh(mesh):
    """A connected, oriented edge-manifold without leftovers."""
    assert mesh.vertices.dtype == np.float64
    assert mesh.faces.dtype == np.int32
    assert mesh.vertices.shape == (mesh.num_vertices, 3)
    assert mesh.faces.shape == (mesh.num_faces, 3)
    assert np.isfinite(mesh.vertices).all()
    np.testing.assert_array_equal(
        np.unique(mesh.faces), np.arange(mesh.num_vertices)
    )
    # Each direction of an edge once: at most two faces, opposite directions.
    directed = Counter(
        edge
        for a, b, c in mesh.faces.tolist()
        for edge in ((a, b), (b, c), (c, a))
    )
    assert max(directed.values()) == 1
    assert all(start != end for start, end in directed)
    corners = Counter(frozenset(face) for face in mesh.faces.tolist())
    assert max(corners.values()) == 1
    adjacency = adjacency_matrix(mesh.faces, mesh.num_vertices)
    assert csgraph.connected_components(adjacency, directed=False)[0] == 1
    # The mesh says so itself.
    assert mesh.is_edge_manifold
    assert mesh.is_consistently_oriented
    assert mesh.num_components == 1
    assert len(mesh.unreferenced_vertices) == 0


def check_decimation(mesh, decimated, kept, num_vertices):
    """`decimated` is `mesh` reduced to a subset of its vertices."""
    assert decimated.num_vertices == len(kept) == num_vertices
    assert np.all(np.diff(kept) > 0)
    np.testing.assert_array_equal(decimated.vertices, mesh.vertices[kept])
    assert euler_characteristic(decimated) == euler_characteristic(mesh)
    # Boundary vertices come from boundary vertices.
    boundary = kept[np.unique(decimated.boundary_edges)]
    assert set(boundary) <= set(np.unique(mesh.boundary_edges))


def check_hierarchy(hierarchy):
    """Every level, and the ways between neighbouring levels."""
    finest = hierarchy.levels[0]
    assert finest.kept is finest.downsampling is finest.upsampling is None
    for level in hierarchy.levels:
        check_mesh(level.mesh)
        check_rescaled_laplacian(level.laplacian, level.mesh.num_vertices)
    for finer, level in pairwise(hierarchy.levels):
        check_transition(finer.mesh, level)
        if hierarchy.vertex_order == "raster":
            check_raster_order(level.mesh.vertices)
        else:
            assert np.all(np.diff(level.kept) > 0)


def check_rescaled_laplacian(laplacian, size):
    """Symmetric, float32, and no eigenvalue outside [-1, 1]."""
    assert laplacian.shape == (size, size)
    assert laplacian.dtype == np.float32
    assert abs(laplacian - laplacian.T).max() == 0
    if size < 200:
        values = np.linalg.eigvalsh(laplacian.toarray().astype(float))
        lowest, highest = values[0], values[-1]
    else:
        start = np.random.default_rng(1).standard_normal(size)
        highest = linalg.eigsh(
            laplacian.astype(float), 1, which="LA", v0=start, tol=1e-3
        )[0][0]
        lowest = -highest
    assert highest <= 1 + 1e-5
    np.testing.assert_allclose(highest, 1, rtol=1e-3)
    assert lowest >= -1 - 1e-5


def check_transition(finer_mesh, level):
    """Kept vertices, their selection and the barycentric way back."""
    size, finer_size = level.mesh.num_vertices, finer_mesh.num_vertices
    assert size < finer_size
    assert level.kept.dtype == np.int32
    assert len(np.unique(level.kept)) == size
    np.testing.assert_array_equal(
        level.mesh.vertices, finer_mesh.vertices[level.kept]
    )
    assert euler_characteristic(level.mesh) == euler_characteristic(finer_mesh)

    assert level.downsampling.shape == (size, finer_size)
    np.testing.assert_array_equal(
        level.downsampling @ finer_mesh.vertices, level.mesh.vertices
    )
    upsampling = level.upsampling
    assert upsampling.shape == (finer_size, size)
    assert upsampling.dtype == np.float32
    assert upsampling.data.min() > 0
    np.testing.assert_allclose(upsampling.sum(axis=1), 1.0, atol=1e-6)
    assert np.diff(upsampling.indptr).max() <= 3
    to_kept = upsampling[level.kept]
    np.testing.assert_array_equal(to_kept.indices, np.arange(size))
    np.testing.assert_array_equal(to_kept.data, 1.0)


def check_raster_order(vertices):
    """Rows from top to bottom, each from left to right."""
    num_rows = round(len(vertices) ** 0.5)
    rows = np.array_split(vertices, num_rows)
    for row in rows:
        assert np.all(np.diff(row[:, 0]) >= 0)
    for upper, lower in pairwise(rows):
        assert upper[:, 1].min() >= lower[:, 1].max()


def euler_characteristic(mesh):
    """Vertices minus edges plus faces."""
    return mesh.num_vertices - len(mesh.edges) + mesh.num_faces
