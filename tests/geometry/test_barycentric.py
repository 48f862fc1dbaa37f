import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.geometry.meshes import closed_meshes, make_grid, open_meshes
from tf_facegcn.geometry import barycentric
from tf_facegcn.geometry.barycentric import closest_points, upsampling_matrix
from tf_facegcn.geometry.quadric_decimation import decimate
from tf_facegcn.geometry.triangle_mesh import TriangleMesh

# A right triangle with legs of 2 in the plane z = 0.
TRIANGLE = TriangleMesh([[0, 0, 0], [2, 0, 0], [0, 2, 0]], [[0, 1, 2]])


def closest_on_triangle(corners, point):
    """Ericson, Real-Time Collision Detection, 2005, section 5.1.5."""
    a, b, c = corners
    ab, ac, ap = b - a, c - a, point - a
    d1, d2 = ab @ ap, ac @ ap
    if d1 <= 0 and d2 <= 0:
        return a
    bp = point - b
    d3, d4 = ab @ bp, ac @ bp
    if d3 >= 0 and d4 <= d3:
        return b
    cp = point - c
    d5, d6 = ab @ cp, ac @ cp
    if d6 >= 0 and d5 <= d6:
        return c
    vc = d1 * d4 - d3 * d2
    if vc <= 0 and d1 >= 0 and d3 <= 0:
        return a + d1 / (d1 - d3) * ab
    vb = d5 * d2 - d1 * d6
    if vb <= 0 and d2 >= 0 and d6 <= 0:
        return a + d2 / (d2 - d6) * ac
    va = d3 * d6 - d5 * d4
    if va <= 0 and d4 - d3 >= 0 and d5 - d6 >= 0:
        return b + (d4 - d3) / ((d4 - d3) + (d5 - d6)) * (c - b)
    return a + (vb * ab + vc * ac) / (va + vb + vc)


def distances_by_loop(mesh, points):
    return [
        min(
            np.linalg.norm(closest_on_triangle(corners, point) - point)
            for corners in mesh.vertices[mesh.faces]
        )
        for point in points
    ]


@pytest.mark.parametrize(
    ("point", "weights"),
    [
        ([0.5, 1.0, 3.0], [0.25, 0.25, 0.5]),
        ([0.5, -1.0, 0.0], [0.75, 0.25, 0.0]),
        ([2.0, 2.0, 1.0], [0.0, 0.5, 0.5]),
        ([-1.0, 0.5, -1.0], [0.75, 0.0, 0.25]),
        ([-1.0, -1.0, 0.0], [1.0, 0.0, 0.0]),
        ([5.0, 0.5, 0.0], [0.0, 1.0, 0.0]),
        ([0.0, 9.0, 0.0], [0.0, 0.0, 1.0]),
        ([1.0, 1.0, 0.0], [0.0, 0.5, 0.5]),
    ],
)
def test_weights_worked_out_by_hand(point, weights):
    faces, result = closest_points(TRIANGLE, np.array([point]))
    assert faces.tolist() == [0]
    np.testing.assert_allclose(result[0], weights, atol=1e-15)


@given(st.one_of(closed_meshes(), open_meshes()), st.integers(0, 2**32 - 1))
def test_no_face_is_closer(mesh, seed):
    # Not much of a mesh is left, and its faces differ in size.
    coarse, _ = decimate(mesh, max(mesh.num_vertices // 2, 4))
    generator = np.random.default_rng(seed)
    points = np.concatenate([mesh.vertices, generator.normal(size=(10, 3)) * 4])
    faces, weights = closest_points(coarse, points)
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-12)
    found = np.sum(
        weights[:, :, None] * coarse.vertices[coarse.faces[faces]], axis=1
    )
    np.testing.assert_allclose(
        np.linalg.norm(found - points, axis=1),
        distances_by_loop(coarse, points),
        rtol=1e-7,
        atol=1e-8,
    )


def test_many_points_are_worked_on_in_parts(icosphere, monkeypatch):
    coarse, _ = decimate(icosphere, 64)
    faces, weights = closest_points(coarse, icosphere.vertices)
    monkeypatch.setattr(barycentric, "_CHUNK", 7)
    in_parts = closest_points(coarse, icosphere.vertices)
    np.testing.assert_array_equal(in_parts[0], faces)
    np.testing.assert_array_equal(in_parts[1], weights)


def test_of_equally_close_faces_the_first_counts():
    mesh = make_grid(3, 3)
    faces, weights = closest_points(mesh, np.array([[1.0, 1.0, 0.5]]))
    touching = np.flatnonzero((mesh.faces == 4).any(axis=1))
    assert faces[0] == touching[0]
    assert sorted(weights[0]) == [0, 0, 1]


def test_a_face_without_area_is_a_line():
    line = TriangleMesh([[0, 0, 0], [1, 0, 0], [4, 0, 0]], [[0, 1, 2]])
    faces, weights = closest_points(line, np.array([[3.0, 1.0, 0.0]]))
    closest = weights[0] @ line.vertices[line.faces[faces[0]]]
    np.testing.assert_allclose(closest, [3, 0, 0], atol=1e-12)


@given(st.one_of(closed_meshes(), open_meshes()))
def test_rows_are_weights_and_kept_vertices_stay(mesh):
    size = max(mesh.num_vertices // 2, 4)
    coarse, kept = decimate(mesh, size)
    matrix = upsampling_matrix(coarse, mesh.vertices, kept)
    assert matrix.shape == (mesh.num_vertices, size)
    assert matrix.dtype == np.float64
    assert matrix.data.min() > 0
    assert np.diff(matrix.indptr).max() <= 3
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_array_equal(matrix[kept].toarray(), np.eye(size))


def test_kept_vertices_may_come_in_any_order(icosphere):
    coarse, kept = decimate(icosphere, 50)
    order = np.random.default_rng(0).permutation(50)
    shuffled = TriangleMesh(
        coarse.vertices[order], np.argsort(order)[coarse.faces]
    )
    expected = upsampling_matrix(coarse, icosphere.vertices, kept)
    result = upsampling_matrix(shuffled, icosphere.vertices, kept[order])
    np.testing.assert_allclose(
        result.toarray(), expected[:, order].toarray(), atol=1e-12
    )


@given(st.integers(4, 79))
def test_linear_functions_on_a_flat_mesh_are_exact(size):
    grid = make_grid(8, 10)
    turn = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))[0]
    mesh = TriangleMesh(grid.vertices @ turn, grid.faces)
    coarse, kept = decimate(mesh, size)
    matrix = upsampling_matrix(coarse, mesh.vertices, kept)
    slope = np.array([[3.0, -2.0], [0.5, 1.0], [-1.0, 7.0]])
    np.testing.assert_allclose(
        matrix @ (coarse.vertices @ slope + 5),
        mesh.vertices @ slope + 5,
        rtol=1e-12,
        atol=1e-12,
    )


@pytest.mark.parametrize("kept", [[0, 1, 2], [0, 1, 2, 4]])
def test_rejects_a_kept_that_is_of_another_mesh(kept, tetrahedron):
    fine = np.concatenate([tetrahedron.vertices, [[0, 0, 0]]])
    with pytest.raises(ValueError, match=r"fine_vertices\[kept\].*Received"):
        upsampling_matrix(tetrahedron, fine, np.array(kept))
