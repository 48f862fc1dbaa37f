import numpy as np
import pytest
from hypothesis import given

from tests.geometry.checks import check_mesh
from tests.geometry.meshes import closed_meshes, make_tube, open_meshes
from tf_facegcn.geometry.triangle_mesh import TriangleMesh

SQUARE = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]


def directed_edges(faces):
    return [
        edge
        for a, b, c in np.asarray(faces).tolist()
        for edge in ((a, b), (b, c), (c, a))
    ]


def test_two_triangles_worked_out_by_hand():
    mesh = TriangleMesh(SQUARE, [[0, 1, 2], [0, 2, 3]])
    assert (mesh.num_vertices, mesh.num_faces) == (4, 2)
    expected = [[0, 1], [0, 2], [0, 3], [1, 2], [2, 3]]
    assert mesh.edges.tolist() == expected
    assert mesh.edges.dtype == np.int32
    assert mesh.boundary_edges.tolist() == [[0, 1], [1, 2], [2, 3], [3, 0]]
    assert mesh.boundary_edge_faces.tolist() == [0, 0, 1, 1]
    assert mesh.face_normals.tolist() == [[0, 0, 1], [0, 0, 1]]
    assert mesh.vertex_normals.tolist() == [[0, 0, 1]] * 4
    assert repr(mesh) == "TriangleMesh(num_vertices=4, num_faces=2)"
    check_mesh(mesh)


@given(open_meshes())
def test_edges_are_those_of_a_loop_over_the_faces(mesh):
    directed = directed_edges(mesh.faces)
    edges = sorted({(min(edge), max(edge)) for edge in directed})
    assert mesh.edges.tolist() == [list(edge) for edge in edges]
    boundary = [
        [start, end] for start, end in directed if (end, start) not in directed
    ]
    assert mesh.boundary_edges.tolist() == boundary
    for edge, face in zip(
        mesh.boundary_edges.tolist(), mesh.boundary_edge_faces, strict=True
    ):
        assert tuple(edge) in directed_edges(mesh.faces[face : face + 1])


@given(closed_meshes())
def test_normals_are_those_of_a_loop_over_the_faces(mesh):
    totals = np.zeros((mesh.num_vertices, 3))
    for index, face in enumerate(mesh.faces):
        a, b, c = mesh.vertices[face]
        area_vector = np.cross(b - a, c - a)
        normal = area_vector / np.linalg.norm(area_vector)
        np.testing.assert_allclose(mesh.face_normals[index], normal)
        totals[face] += area_vector
    for index, total in enumerate(totals):
        normal = total / np.linalg.norm(total)
        np.testing.assert_allclose(mesh.vertex_normals[index], normal)


def test_normals_of_a_sphere_point_outwards(icosphere):
    cosines = np.sum(icosphere.vertex_normals * icosphere.vertices, axis=1)
    assert cosines.min() > 0.99


def test_boundary_edges_chain_into_loops():
    tube = make_tube(4, 7)
    starts, ends = tube.boundary_edges.T
    assert sorted(starts) == sorted(ends)
    following = dict(tube.boundary_edges.tolist())
    vertex, length = following[0], 1
    while vertex != 0:
        vertex, length = following[vertex], length + 1
    assert length == 7


def test_counts_components_and_isolated_vertices():
    apart = np.array(SQUARE + SQUARE + SQUARE[:1])
    mesh = TriangleMesh(apart, [[0, 1, 2], [4, 5, 6], [4, 6, 7]])
    # Two parts and the vertices 3 and 8.
    assert mesh.num_components == 4
    assert mesh.unreferenced_vertices.tolist() == [3, 8]
    assert mesh.vertex_normals[3].tolist() == [0, 0, 0]


def test_tells_an_edge_of_three_faces():
    fan = TriangleMesh(
        [[0, 0, 0], [0, 0, 1], [1, 0, 0], [-1, 0, 0], [0, 1, 0]],
        [[0, 1, 2], [1, 0, 3], [0, 1, 4]],
    )
    assert not fan.is_edge_manifold
    assert not fan.is_consistently_oriented


def test_tells_a_face_turned_over():
    mesh = TriangleMesh(SQUARE, [[0, 1, 2], [0, 3, 2]])
    assert mesh.is_edge_manifold
    assert not mesh.is_consistently_oriented


def test_a_face_without_area_has_no_normal():
    line = [[0, 0, 0], [1, 0, 0], [2, 0, 0]]
    mesh = TriangleMesh(line, [[0, 1, 2]])
    assert mesh.face_normals.tolist() == [[0, 0, 0]]


def test_keeps_its_own_copies():
    vertices, faces = np.array(SQUARE, float), np.array([[0, 1, 2], [0, 2, 3]])
    mesh = TriangleMesh(vertices, faces)
    vertices[0] = 9
    faces[0] = 1
    assert mesh.vertices[0].tolist() == [0, 0, 0]
    assert mesh.faces[0].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "name",
    ["vertices", "faces", "edges", "boundary_edges", "face_normals"],
)
def test_cannot_be_changed(tetrahedron, name):
    with pytest.raises(ValueError, match="read-only"):
        getattr(tetrahedron, name)[...] = 0
    with pytest.raises(AttributeError):
        tetrahedron.faces = 0


@pytest.mark.parametrize(
    ("vertices", "faces", "message"),
    [
        (np.zeros((4, 2)), [[0, 1, 2]], r"\(V, 3\).*vertices.shape=\(4, 2\)"),
        (np.zeros((0, 3)), [[0, 1, 2]], r"\(V, 3\).*vertices.shape=\(0, 3\)"),
        (SQUARE, [[0, 1, 2, 3]], r"\(F, 3\).*faces.shape=\(1, 4\)"),
        (SQUARE, np.zeros((0, 3), int), r"\(F, 3\).*faces.shape=\(0, 3\)"),
        (SQUARE, [[0.0, 1.0, 2.0]], "integer type.*faces.dtype=float64"),
        (SQUARE, [[0, 1, 4]], r"from 0 to 3.*faces\[0\]=\[0, 1, 4\]"),
        (SQUARE, [[0, 1, -1]], r"from 0 to 3.*faces\[0\]=\[0, 1, -1\]"),
        (SQUARE, [[0, 1, 2**32]], r"from 0 to 3.*faces\[0\]"),
        (SQUARE, [[0, 1, 2], [3, 0, 3]], r"degenerate.*faces\[1\]=\[3, 0, 3"),
        (SQUARE, [[0, 1, 2], [1, 2, 0]], r"duplicates.*faces\[1\]=\[1, 2, 0"),
        (SQUARE, [[0, 1, 2], [2, 1, 0]], r"duplicates.*faces\[1\]=\[2, 1, 0"),
    ],
)
def test_rejects(vertices, faces, message):
    with pytest.raises(ValueError, match=f"{message}.*$"):
        TriangleMesh(vertices, faces)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_rejects_a_position_that_is_not_finite(bad):
    vertices = np.array(SQUARE, float)
    vertices[2, 1] = bad
    with pytest.raises(ValueError, match=r"finite.*Received: vertices\[2\]="):
        TriangleMesh(vertices, [[0, 1, 2]])
