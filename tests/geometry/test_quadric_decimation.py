import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.geometry.checks import check_decimation, check_mesh
from tests.geometry.meshes import (
    closed_meshes,
    make_grid,
    make_icosphere,
    make_torus,
    make_tube,
    open_meshes,
)
from tf_facegcn.geometry import quadric_decimation
from tf_facegcn.geometry.quadric_decimation import decimate, decimate_sequence
from tf_facegcn.geometry.quadric_error import quadric_errors, vertex_quadrics
from tf_facegcn.geometry.triangle_mesh import TriangleMesh
from tf_facegcn.geometry.vertex_rings import VertexRings


def test_a_pyramid_keeps_its_tip_and_its_corners():
    # A grid of 3 x 3 whose middle is raised; the middles of the sides are
    # what its shape needs the least.
    heights = [[0, 0, 0], [0, 2, 0], [0, 0, 0]]
    mesh = make_grid(3, 3, heights)
    decimated, kept = decimate(mesh, 5)
    assert kept.tolist() == [0, 2, 4, 6, 8]
    corners = {frozenset(face) for face in decimated.faces.tolist()}
    # The tip is vertex 2 of those left.
    assert corners == {
        frozenset(face) for face in [(0, 1, 2), (1, 2, 4), (2, 3, 4), (0, 2, 3)]
    }
    assert (decimated.face_normals[:, 2] > 0).all()


def make_bumpy_sphere(generator):
    sphere = make_icosphere(2)
    bumps = np.exp(0.2 * generator.normal(size=(sphere.num_vertices, 1)))
    return TriangleMesh(sphere.vertices * bumps, sphere.faces)


def make_bumpy_grid(generator):
    return make_grid(9, 11, generator.normal(size=(9, 11)))


def decimate_by_loop(mesh, size):
    """Looks at every edge before each contraction, with all of its costs."""
    quadrics = vertex_quadrics(mesh.vertices, mesh)
    left, faces = np.arange(mesh.num_vertices), mesh.faces
    while len(left) > size:
        current = TriangleMesh(mesh.vertices[left], faces)
        removed, replacement = cheapest_contraction(current, quadrics)
        quadrics[:, replacement] += quadrics[:, removed]
        faces = np.where(faces == removed, replacement, faces)
        is_face = [len(set(face)) == 3 for face in faces.tolist()]
        faces = faces[is_face] - (faces[is_face] > removed)
        left = np.delete(left, removed)
        quadrics = np.delete(quadrics, removed, axis=1)
    return left


def cheapest_contraction(mesh, quadrics):
    pairs = np.concatenate([mesh.edges, mesh.edges[:, ::-1]])
    targets = mesh.vertices[pairs[:, 1]]
    costs = quadric_errors(quadrics[:, pairs[:, 0]], targets)
    costs += quadric_errors(quadrics[:, pairs[:, 1]], targets)
    rings = VertexRings(mesh)
    for removed, replacement in pairs[np.argsort(costs)].tolist():
        faces = np.where(mesh.faces == removed, replacement, mesh.faces)
        is_face = [len(set(face)) == 3 for face in faces.tolist()]
        if not rings.may_contract(removed, replacement):
            continue
        contracted = TriangleMesh(mesh.vertices, faces[is_face])
        degree = np.sum(contracted.edges == replacement)
        turns = np.sum(
            contracted.face_normals * mesh.face_normals[is_face], axis=1
        )
        if degree <= quadric_decimation._LARGEST_DEGREE and turns.min() > 0.2:
            return removed, replacement
    raise AssertionError("no contraction is left")


@pytest.mark.parametrize("seed", [2, 3])
@pytest.mark.parametrize(
    ("make", "degree"),
    [
        (make_bumpy_sphere, 8),
        (make_bumpy_sphere, 7),
        (make_bumpy_grid, 8),
        (make_bumpy_grid, 6),
    ],
)
def test_takes_the_cheapest_contraction_of_all_each_time(
    make, seed, degree, monkeypatch
):
    monkeypatch.setattr(quadric_decimation, "_LARGEST_DEGREE", degree)
    mesh = make(np.random.default_rng(seed))
    _, kept = decimate(mesh, 20)
    np.testing.assert_array_equal(kept, decimate_by_loop(mesh, 20))


@given(closed_meshes(), st.data())
def test_closed_meshes_have_exact_counts_and_their_topology(mesh, data):
    size = data.draw(st.integers(4, mesh.num_vertices))
    decimated, kept = decimate(mesh, size)
    check_mesh(decimated)
    check_decimation(mesh, decimated, kept, size)
    assert len(decimated.boundary_edges) == 0


@given(open_meshes(), st.data())
def test_open_meshes_have_exact_counts_and_their_topology(mesh, data):
    size = data.draw(st.integers(mesh.num_vertices // 2, mesh.num_vertices))
    decimated, kept = decimate(mesh, size)
    check_mesh(decimated)
    check_decimation(mesh, decimated, kept, size)


@pytest.mark.parametrize(
    ("mesh", "size"),
    [
        (make_icosphere(2), 4),
        (make_grid(9, 9), 3),
        (make_tube(9, 9), 6),
        (make_torus(9, 12), 16),
    ],
    ids=["sphere", "disc", "tube", "torus"],
)
def test_gets_down_to_few_vertices(mesh, size):
    decimated, kept = decimate(mesh, size)
    check_mesh(decimated)
    check_decimation(mesh, decimated, kept, size)


def test_a_flat_part_is_not_folded_and_keeps_its_outline():
    mesh = make_grid(9, 12)
    for decimated, _ in decimate_sequence(mesh, [60, 30, 12, 4]):
        normals = decimated.face_normals
        np.testing.assert_allclose(normals[:, 2], 1, rtol=1e-12)
        corners = {(0, 0), (0, 8), (11, 0), (11, 8)}
        assert corners <= set(map(tuple, decimated.vertices[:, :2].tolist()))


def test_a_flat_part_is_thinned_evenly():
    decimated, _ = decimate(make_grid(30, 30), 100)
    first, second = decimated.vertices[decimated.edges].swapaxes(0, 1)
    lengths = np.linalg.norm(first - second, axis=1)
    # 10 x 10 vertices would be 3.2 apart, the diagonals 4.6.
    assert lengths.max() < 10
    assert lengths.std() / lengths.mean() < 0.35


def test_vertices_gather_where_the_surface_bends():
    x = np.mgrid[-1:1:21j, -1:1:21j][1]
    ridge = np.exp(-((5 * x) ** 2))
    mesh = make_grid(21, 21, 10 * ridge)
    decimated, _ = decimate(mesh, 60)
    on_ridge = np.abs(decimated.vertices[:, 0] - 10) <= 5
    # The strip is half of the grid.
    assert on_ridge.mean() > 0.6


def test_the_boundary_stays_a_boundary():
    tube = make_tube(20, 24)
    decimated, _ = decimate(tube, 40)
    heights = decimated.vertices[np.unique(decimated.boundary_edges), 1]
    assert set(heights) == {-1.0, 1.0}


def test_degrees_stay_small(icosphere):
    for mesh in (icosphere, make_tube(30, 30)):
        for size in (200, 60, 20):
            decimated, _ = decimate(mesh, size)
            assert np.bincount(decimated.edges.ravel()).max() <= 8


def test_a_large_degree_of_the_input_is_no_obstacle():
    # One vertex in the middle of a fan of forty.
    angles = np.arange(40) * 2 * np.pi / 40
    rim = np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)
    vertices = np.concatenate([[[0, 0, 0.5]], rim])
    faces = [[0, i + 1, (i + 1) % 40 + 1] for i in range(40)]
    decimated, kept = decimate(TriangleMesh(vertices, faces), 9)
    check_decimation(TriangleMesh(vertices, faces), decimated, kept, 9)
    assert 0 in kept


def test_equal_input_gives_equal_output(icosphere):
    first, first_kept = decimate(icosphere, 100)
    second, second_kept = decimate(icosphere, 100)
    np.testing.assert_array_equal(first_kept, second_kept)
    np.testing.assert_array_equal(first.faces, second.faces)


def test_unit_and_place_do_not_matter():
    heights = np.random.default_rng(0).integers(0, 100, (12, 12)) / 64
    mesh = make_grid(12, 12, heights)
    # Powers of two, so that not even rounding differs.
    larger = TriangleMesh(mesh.vertices * 1024, mesh.faces)
    far = TriangleMesh(mesh.vertices + 2**30, mesh.faces)
    kept = decimate(mesh, 40)[1]
    np.testing.assert_array_equal(decimate(larger, 40)[1], kept)
    np.testing.assert_array_equal(decimate(far, 40)[1], kept)


def test_a_sequence_continues_one_run(icosphere):
    sequence = decimate_sequence(icosphere, [300, 100, 20])
    finer, place = icosphere, np.arange(642)
    for size, (decimated, kept) in zip([300, 100, 20], sequence, strict=True):
        check_decimation(finer, decimated, kept, size)
        alone, alone_kept = decimate(icosphere, size)
        place = place[kept]
        np.testing.assert_array_equal(place, alone_kept)
        np.testing.assert_array_equal(decimated.faces, alone.faces)
        finer = decimated


def test_parts_that_are_apart_stay_apart(icosphere):
    vertices = np.concatenate([icosphere.vertices, icosphere.vertices + 9])
    faces = np.concatenate([icosphere.faces, icosphere.faces + 642])
    decimated, _ = decimate(TriangleMesh(vertices, faces), 40)
    assert decimated.num_components == 2


def test_faces_without_area_go_first():
    # The fourth ring is a second one in the place of the third.
    tube = make_tube(6, 8)
    vertices = tube.vertices.copy()
    vertices[24:32] = vertices[16:24]
    mesh = TriangleMesh(vertices, tube.faces)
    lengths = np.linalg.norm(mesh.face_normals, axis=1)
    assert np.sum(lengths < 0.5) == 16
    decimated, kept = decimate(mesh, 40)
    check_decimation(mesh, decimated, kept, 40)
    assert np.linalg.norm(decimated.face_normals, axis=1).min() > 0.5
    assert len(np.unique(decimated.vertices, axis=0)) == 40


def test_a_mesh_without_any_area_has_exact_counts_too():
    grid = make_grid(5, 5)
    mesh = TriangleMesh(grid.vertices * [1, 0, 0], grid.faces)
    decimated, kept = decimate(mesh, 6)
    check_decimation(mesh, decimated, kept, 6)


def test_counts_come_before_degrees(monkeypatch):
    monkeypatch.setattr(quadric_decimation, "_LARGEST_DEGREE", 2)
    mesh = make_grid(9, 9)
    decimated, kept = decimate(mesh, 20)
    check_decimation(mesh, decimated, kept, 20)
    # There was no need to fold anything.
    np.testing.assert_allclose(decimated.face_normals[:, 2], 1)


def test_counts_come_before_normals(monkeypatch):
    monkeypatch.setattr(quadric_decimation, "_SMALLEST_TURN_COSINE", 1.1)
    mesh = make_tube(12, 12)
    decimated, kept = decimate(mesh, 30)
    check_mesh(decimated)
    check_decimation(mesh, decimated, kept, 30)


def test_nothing_to_do_gives_the_same_mesh(tetrahedron):
    decimated, kept = decimate(tetrahedron, 4)
    assert kept.tolist() == [0, 1, 2, 3]
    assert {frozenset(face) for face in decimated.faces.tolist()} == {
        frozenset(face) for face in tetrahedron.faces.tolist()
    }


@pytest.mark.parametrize("size", [5, 2, 0, -1])
def test_rejects_a_size_that_is_not_between_three_and_all(tetrahedron, size):
    with pytest.raises(ValueError, match=rf"Received: sizes=\[{size}\]"):
        decimate(tetrahedron, size)


def test_rejects_sizes_that_do_not_descend(icosphere):
    with pytest.raises(ValueError, match=r"descending.*Received: sizes="):
        decimate_sequence(icosphere, [64, 256])


def test_rejects_fewer_vertices_than_the_topology_needs():
    with pytest.raises(ValueError, match="num_vertices=5, but 6 have to stay"):
        decimate(make_tube(8, 8), 5)


def test_rejects_isolated_vertices():
    mesh = TriangleMesh(np.eye(4, 3), [[0, 1, 2]])
    with pytest.raises(ValueError, match="Received: isolated vertex 3"):
        decimate(mesh, 3)


def test_rejects_an_edge_of_three_faces():
    vertices = [[0, 0, 0], [0, 0, 1], [1, 0, 0], [-1, 0, 0], [0, 1, 0]]
    mesh = TriangleMesh(vertices, [[0, 1, 2], [1, 0, 3], [0, 1, 4]])
    with pytest.raises(ValueError, match="not edge-manifold"):
        decimate(mesh, 4)


def test_rejects_a_face_turned_over():
    mesh = TriangleMesh(np.eye(4, 3), [[0, 1, 2], [0, 3, 2]])
    with pytest.raises(ValueError, match="not consistently oriented"):
        decimate(mesh, 3)
