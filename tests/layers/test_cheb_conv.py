import keras
import numpy as np
import pytest
from scipy import sparse

from tests.layers.contract import check_layer
from tests.layers.gradients import gradient
from tf_facegcn.layers.cheb_conv import ChebConv, mixes_first
from tf_facegcn.layers.mesh_operator import MeshOperator


@pytest.fixture(scope="module")
def grid_operator(grid_laplacian):
    return MeshOperator(grid_laplacian)


@pytest.mark.parametrize("filters", [3, 20])
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
@pytest.mark.parametrize("filters", [2, 40], ids=["mix first", "propagate"])
def test_equals_the_dense_polynomial(order, filters, grid_laplacian, lowering):
    layer = ChebConv(
        filters, MeshOperator(grid_laplacian, lowering), order, dtype="float64"
    )
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(2, 80, 4))
    outputs = layer(inputs)
    kernel = np.array(layer.kernel)
    dense = layer.operator.matrix.toarray().astype("float64")
    # T_k by its definition, as matrices.
    polynomials = [np.eye(len(dense)), dense]
    while len(polynomials) < order:
        polynomials.append(2 * dense @ polynomials[-1] - polynomials[-2])
    expected = sum(polynomials[k] @ inputs @ kernel[k] for k in range(order))
    np.testing.assert_allclose(outputs, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("filters", [2, 40], ids=["mix first", "propagate"])
def test_trains_in_half_precision(filters, lowering, grid_laplacian):
    operator = MeshOperator(grid_laplacian, lowering)
    inputs = np.random.default_rng(0).normal(size=(1, 80, 4)).astype("float32")
    gradients = {}
    for policy in ("float32", "mixed_bfloat16"):
        layer = ChebConv(filters, operator, dtype=policy)
        layer.build(inputs.shape)
        kernel = np.random.default_rng(1).normal(size=layer.kernel.shape)
        layer.kernel.assign(kernel)
        gradients[policy] = gradient(
            lambda x, layer=layer: keras.ops.cast(layer(x), "float32"), inputs
        )
    np.testing.assert_allclose(
        gradients["mixed_bfloat16"],
        gradients["float32"],
        atol=0.03 * np.abs(gradients["float32"]).max(),
    )


def test_mixes_first_where_that_is_less_work():
    # As measured at 16,384 vertices with 7 neighbours a row.
    assert mixes_first(128, 3, order=3, degree=7.0)
    assert mixes_first(128, 128, order=3, degree=7.0)
    assert not mixes_first(64, 128, order=3, degree=7.0)
    assert not mixes_first(3, 128, order=3, degree=7.0)
    # Without a product there is nothing to propagate.
    assert mixes_first(3, 128, order=1, degree=7.0)


def test_a_list_of_inputs_is_their_concatenation(grid_operator):
    generator = np.random.default_rng(0)
    parts = [
        generator.normal(size=(1, 80, channels)).astype("float32")
        for channels in (3, 2)
    ]
    for filters in (4, 60):
        layer = ChebConv(filters, grid_operator)
        np.testing.assert_allclose(
            layer(parts), layer(np.concatenate(parts, axis=-1)), atol=1e-5
        )


def test_the_scale_of_outputs_does_not_grow_with_the_order(grid_operator):
    inputs = np.random.default_rng(0).normal(size=(1, 80, 64))
    for order in (1, 6):
        layer = ChebConv(64, grid_operator, order)
        assert 0.4 < np.std(layer(inputs.astype("float32"))) < 1.6


@pytest.mark.parametrize("filters", [2, 9, 40])
def test_upsamples_as_a_layer_before_it_would(filters, grid_laplacian):
    # Mixed before, after and instead of propagating first.
    generator = np.random.default_rng(0)
    upsampling = MeshOperator(
        sparse.random_array((80, 20), density=0.1, rng=generator)
    )
    operator = MeshOperator(grid_laplacian)
    joined = ChebConv(filters, operator, upsampling=upsampling)
    alone = ChebConv(filters, operator)
    parts = [
        generator.normal(size=(2, 20, channels)).astype("float32")
        for channels in (6, 2)
    ]
    outputs = joined(parts)
    assert joined.compute_output_shape([(None, 20, 6), (None, 20, 2)]) == (
        None,
        80,
        filters,
    )
    finer = [upsampling(x) for x in parts]
    alone(finer)
    alone.set_weights(joined.get_weights())
    np.testing.assert_allclose(outputs, alone(finer), atol=1e-5)


def test_keeps_the_contract_with_upsampling(rescaled_tetrahedron, tmp_path):
    upsampling = MeshOperator(sparse.csr_array(np.ones((4, 2))))

    def make_layer(**kwargs):
        return ChebConv(
            3, rescaled_tetrahedron, upsampling=upsampling, **kwargs
        )

    check_layer(make_layer, [(2, 2, 12)], [(2, 4, 3)], tmp_path)


def test_rejects_upsampling_to_another_mesh(rescaled_tetrahedron):
    upsampling = MeshOperator(sparse.csr_array(np.ones((5, 2))))
    with pytest.raises(ValueError, match=r"of the operator, 4\..*\(5, 2\)"):
        ChebConv(3, rescaled_tetrahedron, upsampling=upsampling)


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


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="is about TensorFlow"
)
def test_a_model_with_sparse_products_is_not_compiled_by_xla(grid_laplacian):
    inputs = keras.Input((80, 2))
    for lowering, supports_jit in (("sparse", False), ("gather", True)):
        layer = ChebConv(2, MeshOperator(grid_laplacian, lowering))
        model = keras.Model(inputs, layer(inputs))
        assert layer.supports_jit is supports_jit
        if supports_jit:
            model.compile(jit_compile=True)
        else:
            with pytest.warns(UserWarning, match="doesn't support `jit_comp"):
                model.compile(jit_compile=True)
        model.predict_on_batch(np.ones((1, 80, 2), "float32"))
