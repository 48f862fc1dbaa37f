from collections import Counter

import numpy as np
import pytest
from hypothesis import given

from tests.geometry.checks import euler_characteristic
from tests.geometry.meshes import (
    closed_meshes,
    make_grid,
    make_tube,
    open_meshes,
)
from tf_facegcn.geometry.quadric_decimation import decimate
from tf_facegcn.geometry.triangle_mesh import TriangleMesh
from tf_facegcn.geometry.vertex_rings import VertexRings


def half_edges(mesh):
    return np.concatenate([mesh.edges, mesh.edges[:, ::-1]]).tolist()


def contracted_by_loop(mesh, removed, replacement):
    """The faces left when one vertex is replaced by another."""
    replaced = np.where(mesh.faces == removed, replacement, mesh.faces)
    return [face for face in replaced.tolist() if len(set(face)) == 3]


def is_allowed_by_definition(mesh, removed, replacement):
    """Whether the contracted mesh is a surface of the same topology."""
    on_boundary = set(mesh.boundary_edges.ravel().tolist())
    if removed in on_boundary and sorted((removed, replacement)) not in (
        np.sort(mesh.boundary_edges, axis=1).tolist()
    ):
        return False
    faces = contracted_by_loop(mesh, removed, replacement)
    corners = Counter(frozenset(face) for face in faces)
    if not faces or max(corners.values()) > 1:
        return False
    rest = sorted(set(range(mesh.num_vertices)) - {removed})
    if np.unique(faces).tolist() != rest:
        return False
    left = TriangleMesh(mesh.vertices[rest], np.searchsorted(rest, faces))
    boundary = on_boundary - {removed}
    return (
        left.is_edge_manifold
        and left.is_consistently_oriented
        and euler_characteristic(left) == euler_characteristic(mesh)
        and set(np.array(rest)[left.boundary_edges].ravel()) == boundary
    )


@given(closed_meshes())
def test_allows_what_keeps_the_topology_of_a_closed_mesh(mesh):
    # A coarse mesh has vertices of three neighbours, which may not be cut off.
    mesh, _ = decimate(mesh, 10)
    rings = VertexRings(mesh)
    for pair in half_edges(mesh):
        expected = is_allowed_by_definition(mesh, *pair)
        assert rings.may_contract(*pair) == expected, pair


@given(open_meshes())
def test_allows_what_keeps_the_topology_of_an_open_mesh(mesh):
    rings = VertexRings(mesh)
    for pair in half_edges(mesh)[::3]:
        expected = is_allowed_by_definition(mesh, *pair)
        assert rings.may_contract(*pair) == expected, pair


@pytest.mark.parametrize(
    "mesh",
    [make_grid(2, 2), make_grid(2, 3), make_grid(3, 3), make_tube(2, 3)],
    ids=repr,
)
def test_allows_what_keeps_the_topology_of_a_tiny_mesh(mesh):
    rings = VertexRings(mesh)
    for pair in half_edges(mesh):
        expected = is_allowed_by_definition(mesh, *pair)
        assert rings.may_contract(*pair) == expected, pair


def test_allows_nothing_on_a_tetrahedron(tetrahedron):
    rings = VertexRings(tetrahedron)
    assert not any(rings.may_contract(*p) for p in half_edges(tetrahedron))


def test_allows_nothing_on_a_single_triangle():
    triangle = TriangleMesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]])
    rings = VertexRings(triangle)
    assert not any(rings.may_contract(*p) for p in half_edges(triangle))


@given(open_meshes())
def test_contracts_as_replacing_an_index_in_the_faces(mesh):
    for removed, replacement in half_edges(mesh)[::11]:
        rings = VertexRings(mesh)
        if not rings.may_contract(removed, replacement):
            continue
        rings.contract(removed, replacement)
        vertices, faces = rings.remaining()
        expected = contracted_by_loop(mesh, removed, replacement)
        lowest_first = sorted(
            tuple(np.roll(face, -np.argmin(face)).tolist()) for face in expected
        )
        assert removed not in vertices
        assert vertices[faces].tolist() == [list(f) for f in lowest_first]


@given(open_meshes())
def test_knows_neighbours_degrees_and_the_boundary(mesh):
    rings = VertexRings(mesh)
    for vertex in range(mesh.num_vertices):
        edges = mesh.edges[(mesh.edges == vertex).any(axis=1)]
        neighbours = set(edges.ravel().tolist()) - {vertex}
        assert rings.neighbours(vertex) == neighbours
        on_loop = vertex in mesh.boundary_edges
        assert rings.on_boundary[vertex] == on_loop
        if np.sum(mesh.boundary_edges == vertex) <= 2:
            assert rings.degree(vertex) == len(neighbours)


def test_remaining_is_the_mesh_itself_before_any_contraction(icosphere):
    vertices, faces = VertexRings(icosphere).remaining()
    np.testing.assert_array_equal(vertices, np.arange(642))
    assert {frozenset(face) for face in faces.tolist()} == {
        frozenset(face) for face in icosphere.faces.tolist()
    }
    assert TriangleMesh(
        icosphere.vertices, faces
    ).face_normals.sum() == pytest.approx(icosphere.face_normals.sum())
