import numpy as np
import pytest
from hypothesis import given

from tests.geometry.meshes import open_meshes
from tf_facegcn.geometry import quadric_error as quadric_error_module
from tf_facegcn.geometry.quadric_error import (
    quadric_error,
    quadric_errors,
    vertex_quadrics,
)
from tf_facegcn.geometry.triangle_mesh import TriangleMesh

BOUNDARY_WEIGHT = quadric_error_module._BOUNDARY_WEIGHT
SPREAD_WEIGHT = quadric_error_module._SPREAD_WEIGHT


def errors_by_loop(mesh, probe):
    """The error of each vertex's quadric at one point, from its meaning."""
    errors = np.zeros(mesh.num_vertices)
    directed = {
        (face[corner], face[corner - 2])
        for face in mesh.faces.tolist()
        for corner in range(3)
    }
    for face in mesh.faces.tolist():
        a, b, c = mesh.vertices[face]
        area_vector = np.cross(b - a, c - a) / 2
        area = np.linalg.norm(area_vector)
        normal = area_vector / area
        for corner in face:
            errors[corner] += area / 3 * np.dot(normal, probe - a) ** 2
            offset = probe - mesh.vertices[corner]
            errors[corner] += SPREAD_WEIGHT * area / 3 * np.dot(offset, offset)
        for corner in range(3):
            start, end = face[corner], face[corner - 2]
            if (end, start) not in directed:
                edge = mesh.vertices[end] - mesh.vertices[start]
                outwards = np.cross(edge, normal)
                length = np.linalg.norm(outwards)
                offset = probe - mesh.vertices[start]
                distance = np.dot(outwards / length, offset)
                weight = BOUNDARY_WEIGHT * length**2 / 2
                errors[[start, end]] += weight * distance**2
    return errors


def test_a_right_triangle_worked_out_by_hand():
    # Area 2 on the plane z = 0, a third of it for each corner.
    mesh = TriangleMesh([[0, 0, 0], [2, 0, 0], [0, 2, 0]], [[0, 1, 2]])
    quadrics = vertex_quadrics(mesh.vertices, mesh)
    # Above the corner at the origin the two short edges are not left.
    above = quadric_error(tuple(quadrics[:, 0].tolist()), (0.0, 0.0, 3.0))
    assert above == pytest.approx((2 / 3 + SPREAD_WEIGHT * 2 / 3) * 9)
    # One unit outside the edge of length 2 along x.
    beside = quadric_error(tuple(quadrics[:, 0].tolist()), (0.0, -1.0, 0.0))
    assert beside == pytest.approx(
        BOUNDARY_WEIGHT * 4 / 2 + SPREAD_WEIGHT * 2 / 3
    )


@given(open_meshes())
def test_errors_are_those_of_a_loop_over_faces_and_boundary_edges(mesh):
    probe = np.array([1.5, -0.5, 0.7])
    quadrics = vertex_quadrics(mesh.vertices, mesh)
    probes = np.broadcast_to(probe, mesh.vertices.shape)
    expected = errors_by_loop(mesh, probe)
    errors = quadric_errors(quadrics, probes)
    np.testing.assert_allclose(errors, expected, rtol=1e-9, atol=1e-9)
    for column, error in zip(quadrics.T.tolist(), errors, strict=True):
        assert quadric_error(tuple(column), tuple(probe.tolist())) == error


def test_error_of_a_vertex_at_its_own_place_is_zero(icosphere):
    quadrics = vertex_quadrics(icosphere.vertices, icosphere)
    errors = quadric_errors(quadrics, icosphere.vertices)
    np.testing.assert_allclose(errors, 0, atol=1e-15)


def test_a_face_without_area_adds_nothing():
    line = TriangleMesh([[0, 0, 0], [1, 0, 0], [2, 0, 0]], [[0, 1, 2]])
    assert not vertex_quadrics(line.vertices, line).any()
