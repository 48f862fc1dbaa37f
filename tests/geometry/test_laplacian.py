import numpy as np
import pytest
from hypothesis import given
from scipy import sparse

from tests.geometry.meshes import (
    closed_meshes,
    make_icosphere,
    make_tube,
    open_meshes,
)
from tf_facegcn.geometry.laplacian import (
    adjacency_matrix,
    laplacian_matrix,
    largest_eigenvalue,
    rescale_laplacian,
)

KINDS = ["combinatorial", "normalized"]


def laplacian_of(mesh, kind="combinatorial"):
    adjacency = adjacency_matrix(mesh.faces, mesh.num_vertices)
    return laplacian_matrix(adjacency, kind)


def test_a_tetrahedron_worked_out_by_hand(tetrahedron):
    adjacency = adjacency_matrix(tetrahedron.faces, 4)
    ones = np.ones((4, 4))
    np.testing.assert_array_equal(adjacency.toarray(), ones - np.eye(4))
    laplacian = laplacian_of(tetrahedron)
    np.testing.assert_array_equal(laplacian.toarray(), 4 * np.eye(4) - ones)
    normalized = laplacian_of(tetrahedron, "normalized")
    np.testing.assert_allclose(
        normalized.toarray(), (4 * np.eye(4) - ones) / 3, atol=1e-15
    )
    assert largest_eigenvalue(laplacian) == pytest.approx(4)
    assert largest_eigenvalue(normalized) == pytest.approx(4 / 3)
    rescaled = rescale_laplacian(laplacian, 4.0).toarray()
    np.testing.assert_allclose(rescaled, np.eye(4) - ones / 2)


@given(open_meshes())
def test_adjacency_is_that_of_a_loop_over_the_faces(mesh):
    expected = np.zeros((mesh.num_vertices, mesh.num_vertices))
    for a, b, c in mesh.faces:
        for first, second in ((a, b), (b, c), (c, a)):
            expected[first, second] = expected[second, first] = 1
    adjacency = adjacency_matrix(mesh.faces, mesh.num_vertices)
    np.testing.assert_array_equal(adjacency.toarray(), expected)


@pytest.mark.parametrize("kind", KINDS)
@given(mesh=closed_meshes())
def test_laplacian_is_that_of_a_loop_over_the_edges(kind, mesh):
    degrees = np.bincount(mesh.edges.ravel())
    expected = np.zeros((mesh.num_vertices, mesh.num_vertices))
    for first, second in mesh.edges:
        # The energy of one edge: (x_first - x_second) ** 2, scaled.
        ends = [first, second]
        pull = np.array([1.0, -1.0])
        if kind == "normalized":
            pull /= np.sqrt(degrees[ends])
        expected[np.ix_(ends, ends)] += np.outer(pull, pull)
    result = laplacian_of(mesh, kind)
    np.testing.assert_allclose(result.toarray(), expected, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@given(mesh=open_meshes())
def test_rescaled_eigenvalues_run_from_minus_one_to_one(kind, mesh):
    laplacian = laplacian_of(mesh, kind)
    rescaled = rescale_laplacian(laplacian, largest_eigenvalue(laplacian))
    eigenvalues = np.linalg.eigvalsh(rescaled.toarray())
    np.testing.assert_allclose(eigenvalues[[0, -1]], [-1, 1], atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_largest_eigenvalue_of_a_larger_mesh(kind):
    # Many eigenvalues of a sphere are equal.
    for mesh in (make_icosphere(2), make_tube(12, 15)):
        laplacian = laplacian_of(mesh, kind)
        expected = np.linalg.eigvalsh(laplacian.toarray())[-1]
        result = largest_eigenvalue(laplacian)
        np.testing.assert_allclose(result, expected, rtol=1e-7)
        assert largest_eigenvalue(laplacian) == result


def test_largest_eigenvalue_among_many_close_ones():
    # A ring of n neighbours has the eigenvalues 2 - 2 cos(2 pi k / n).
    ring = sparse.coo_array(
        (np.ones(600), (np.arange(600), np.arange(1, 601) % 600))
    ).tocsr()
    laplacian = laplacian_matrix(ring + ring.T)
    assert largest_eigenvalue(laplacian) == pytest.approx(4, rel=1e-9)


def test_largest_eigenvalue_of_a_matrix_with_a_single_one(icosphere):
    # The iterations are exhausted after the first.
    identity = rescale_laplacian(laplacian_of(icosphere) * 0, 1.0) * -3
    assert largest_eigenvalue(identity) == pytest.approx(3)


def test_indices_are_32_bit_and_sorted(icosphere):
    for kind in KINDS:
        matrix = rescale_laplacian(laplacian_of(icosphere, kind), 11.0)
        assert matrix.indices.dtype == matrix.indptr.dtype == np.int32
        assert matrix.has_sorted_indices
        assert matrix.nnz == icosphere.num_vertices + 2 * len(icosphere.edges)


def test_rejects_an_unknown_kind(tetrahedron):
    with pytest.raises(ValueError, match="Received: kind='cotangent'"):
        laplacian_of(tetrahedron, "cotangent")


def test_rejects_an_isolated_vertex():
    adjacency = adjacency_matrix(np.array([[0, 1, 2]]), 4)
    with pytest.raises(ValueError, match="Received: vertex 3 without one"):
        laplacian_matrix(adjacency)


@pytest.mark.parametrize("lambda_max", [0.0, -1.0, np.nan, np.inf])
def test_rejects_a_lambda_max_that_is_not_positive(tetrahedron, lambda_max):
    with pytest.raises(ValueError, match=f"lambda_max={lambda_max}"):
        rescale_laplacian(laplacian_of(tetrahedron), lambda_max)
