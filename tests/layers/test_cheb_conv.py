import numpy as np
import pytest

from tests.layers.contract import check_layer
from tf_facegcn.geometry.laplacian import (
    adjacency_matrix,
    laplacian_matrix,
    rescale_laplacian,
)
from tf_facegcn.layers.cheb_conv import ChebConv
from tf_facegcn.layers.mesh_operator import MeshOperator


@pytest.fixture(scope="module")
def grid_operator(open_grid):
    laplacian = laplacian_matrix(
        adjacency_matrix(open_grid.faces, open_grid.num_vertices),
        "combinatorial",
    )
    return MeshOperator(rescale_laplacian(laplacian, 12.0), "sparse")


@pytest.mark.parametrize("filters", [3, 8])
def test_keeps_the_contract(filters, rescaled_tetrahedron, tmp_path):
    def make_layer(**kwargs):
        return ChebConv(filters, operator=rescaled_tetrahedron, **kwargs)

    check_layer(make_layer, [(2, 4, 5)], [(2, 4, filters)], tmp_path)


def test_impulse_response_on_a_tetrahedron(rescaled_tetrahedron):
    layer = ChebConv(filters=1, order=3, operator=rescaled_tetrahedron)
    layer.build((1, 4, 1))
    layer.kernel.assign([[[1.0]], [[10.0]], [[100.0]]])
    impulse = np.array([[[1.0], [0.0], [0.0], [0.0]]], dtype="float32")
    # L is 1/2 on and -1/2 off the diagonal, L @ L = I, so T_2 = I.
    expected = [[1 + 5 + 100], [-5], [-5], [-5]]
    np.testing.assert_allclose(layer(impulse)[0], expected, rtol=1e-6)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("filters", [2, 7], ids=["mix first", "propagate"])
def test_equals_the_dense_polynomial(order, filters, open_grid):
    matrix = rescale_laplacian(
        laplacian_matrix(
            adjacency_matrix(open_grid.faces, open_grid.num_vertices),
            "combinatorial",
        ),
        12.0,
    )
    layer = ChebConv(
        filters, MeshOperator(matrix, "gather"), order, dtype="float64"
    )
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(2, len(open_grid.vertices), 4))
    outputs = layer(inputs)
    kernel = np.array(layer.kernel)
    dense = layer.operator.matrix.toarray().astype("float64")
    # T_k by its definition, as matrices.
    polynomials = [np.eye(len(dense)), dense]
    while len(polynomials) < order:
        polynomials.append(2 * dense @ polynomials[-1] - polynomials[-2])
    expected = sum(polynomials[k] @ inputs @ kernel[k] for k in range(order))
    np.testing.assert_allclose(outputs, expected, rtol=1e-10, atol=1e-10)


def test_a_list_of_inputs_is_their_concatenation(grid_operator):
    generator = np.random.default_rng(0)
    parts = [
        generator.normal(size=(1, 80, channels)).astype("float32")
        for channels in (3, 2)
    ]
    for filters in (4, 6):
        layer = ChebConv(filters, grid_operator)
        np.testing.assert_allclose(
            layer(parts), layer(np.concatenate(parts, axis=-1)), atol=1e-5
        )


def test_the_scale_of_outputs_does_not_grow_with_the_order(grid_operator):
    inputs = np.random.default_rng(0).normal(size=(1, 80, 64))
    for order in (1, 6):
        layer = ChebConv(64, grid_operator, order)
        assert 0.4 < np.std(layer(inputs.astype("float32"))) < 1.6


def test_rejects_inputs_of_another_mesh(rescaled_tetrahedron):
    layer = ChebConv(2, rescaled_tetrahedron)
    with pytest.raises(ValueError, match=r"vertices of the operator, 4\."):
        layer(np.zeros((1, 5, 3), "float32"))


def test_rejects_a_rectangular_operator(random_matrix):
    with pytest.raises(ValueError, match=r"square.*\(12, 9\)"):
        ChebConv(2, MeshOperator(random_matrix))


def test_rejects_an_order_of_zero(rescaled_tetrahedron):
    with pytest.raises(ValueError, match="order=0"):
        ChebConv(2, rescaled_tetrahedron, order=0)
