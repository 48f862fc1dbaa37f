import numpy as np
import pytest

from tests.layers.gradients import finite_difference, gradient
from tf_facegcn.layers.chebyshev import clenshaw, propagate
from tf_facegcn.layers.mesh_operator import MeshOperator

ORDERS = range(1, 7)


@pytest.fixture
def operator(grid_laplacian, lowering):
    # Scaled, so that rounding leaves no eigenvalue beyond 1.
    return MeshOperator(0.9 * grid_laplacian, lowering)


def _polynomials(operator, order):
    """`T_k(L)` by definition: cosines of the eigenvalues' angles."""
    dense = operator.matrix.toarray().astype("float64")
    values, vectors = np.linalg.eigh(dense)
    assert np.abs(values).max() <= 1.0
    angles = np.arccos(values)
    return [(vectors * np.cos(k * angles)) @ vectors.T for k in range(order)]


@pytest.mark.parametrize("order", ORDERS)
def test_propagates_each_polynomial(order, operator):
    inputs = np.random.default_rng(0).normal(size=(2, 80, 3))
    expected = [T @ inputs for T in _polynomials(operator, order)]
    np.testing.assert_allclose(
        propagate(operator, inputs, order),
        np.concatenate(expected, axis=-1),
        atol=1e-12,
    )


@pytest.mark.parametrize("order", ORDERS)
def test_clenshaw_sums_the_polynomials(order, operator):
    inputs = np.random.default_rng(0).normal(size=(2, 80, 3 * order))
    terms = np.split(inputs, order, axis=-1)
    polynomials = _polynomials(operator, order)
    expected = sum(T @ y for T, y in zip(polynomials, terms, strict=True))
    np.testing.assert_allclose(
        clenshaw(operator, inputs, order), expected, atol=1e-12
    )


@pytest.mark.parametrize("order", [1, 3, 6])
@pytest.mark.parametrize("function", [propagate, clenshaw])
def test_gradients_are_finite_differences(order, function, operator):
    generator = np.random.default_rng(0)
    inputs, direction = generator.normal(size=(2, 1, 80, 2 * order))

    def cubes(x):
        return function(operator, x, order) ** 3

    np.testing.assert_allclose(
        (gradient(cubes, inputs) * direction).sum(),
        finite_difference(cubes, inputs, direction),
        rtol=1e-6,
    )


def test_gradients_of_an_asymmetric_operator(random_matrix, lowering):
    # No mesh has one, but the formulas hold.
    matrix = random_matrix[:9] / 4.0
    operator = MeshOperator(matrix, lowering)
    dense = matrix.toarray().astype("float64")
    polynomials = [np.eye(9), dense, 2 * dense @ dense - np.eye(9)]
    narrow = np.random.default_rng(0).normal(size=(1, 9, 2))
    wide = np.random.default_rng(1).normal(size=(1, 9, 6))
    np.testing.assert_allclose(
        gradient(lambda x: clenshaw(operator, x, 3) * narrow, wide),
        np.concatenate([t.T @ narrow for t in polynomials], axis=-1),
        atol=1e-12,
    )
    terms = np.split(wide, 3, axis=-1)
    np.testing.assert_allclose(
        gradient(lambda x: propagate(operator, x, 3) * wide, narrow),
        sum(t.T @ y for t, y in zip(polynomials, terms, strict=True)),
        atol=1e-12,
    )


def test_rejects_another_mesh(operator):
    for function in (propagate, clenshaw):
        with pytest.raises(ValueError, match="acts on 80 vertices"):
            function(operator, np.zeros((1, 81, 3), "float32"), 3)
