import json

import keras
import numpy as np
import pytest
from scipy import sparse

from tests.layers.gradients import finite_difference, gradient
from tf_facegcn.layers.mesh_operator import LOWERINGS, MeshOperator

SWAP = sparse.csr_array([[0.0, 2.0], [1.0, 0.0]])
tensorflow_only = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="is about TensorFlow"
)


def test_multiplies_each_channel_of_each_example(lowering):
    inputs = np.array([[[1.0, 10.0], [2.0, 20.0]], [[3.0, 0.0], [4.0, 1.0]]])
    outputs = MeshOperator(SWAP, lowering)(inputs.astype("float32"))
    expected = [[[4.0, 40.0], [1.0, 10.0]], [[8.0, 2.0], [3.0, 0.0]]]
    np.testing.assert_array_equal(outputs, expected)


def test_equals_the_dense_product_and_its_gradient(lowering, random_matrix):
    operator = MeshOperator(random_matrix, lowering)
    dense = random_matrix.toarray()
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(3, 9, 5)).astype("float32")
    weights = generator.normal(size=(3, 12, 5)).astype("float32")
    np.testing.assert_allclose(operator(inputs), dense @ inputs, atol=1e-5)
    np.testing.assert_allclose(
        gradient(lambda x: operator(x) * weights, inputs),
        dense.T @ weights,
        atol=1e-5,
    )


def test_the_gradient_is_the_finite_difference(lowering, random_matrix):
    operator = MeshOperator(random_matrix, lowering)
    generator = np.random.default_rng(0)
    inputs, direction = generator.normal(size=(2, 2, 9, 3))

    def cubes(x):
        return operator(x) ** 3

    np.testing.assert_allclose(
        (gradient(cubes, inputs) * direction).sum(),
        finite_difference(cubes, inputs, direction),
        rtol=1e-6,
    )


def test_the_gradient_has_a_gradient(lowering, random_matrix):
    operator = MeshOperator(random_matrix, lowering)
    dense = random_matrix.toarray().astype("float64")
    inputs = np.random.default_rng(0).normal(size=(1, 9, 2))
    if keras.backend.backend() == "jax":
        import jax

        second = jax.grad(
            lambda x: (jax.grad(lambda x: (operator(x) ** 3).sum())(x)).sum()
        )(inputs)
    else:
        import tensorflow as tf

        x = tf.constant(inputs)
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                total = tf.reduce_sum(operator(x) ** 3)
            first = inner.gradient(total, x)
        second = outer.gradient(first, x)
    # Of (A x)^3: A^T 3 (A x)^2, and of the sum of that A^T 6 (A x) (A 1).
    expected = dense.T @ (6 * (dense @ inputs) * dense.sum(axis=1)[:, None])
    np.testing.assert_allclose(second, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_works_in_half_precision(lowering, dtype, random_matrix):
    operator = MeshOperator(random_matrix, lowering)
    inputs = keras.ops.cast(np.arange(18.0).reshape(1, 9, 2) / 9.0, dtype)
    outputs = operator(inputs)
    assert keras.backend.standardize_dtype(outputs.dtype) == dtype
    np.testing.assert_allclose(
        keras.ops.cast(outputs, "float32"),
        random_matrix.toarray() @ np.array(keras.ops.cast(inputs, "float32")),
        atol=0.05,
    )


def test_half_precision_is_summed_in_float32(lowering):
    # In bfloat16, 256 + 1 is 256: summed so, the ones were lost.
    row = sparse.csr_array(np.ones((1, 9), "float32"))
    inputs = keras.ops.cast([[[256.0]] + 8 * [[1.0]]], "bfloat16")
    outputs = MeshOperator(row, lowering)(inputs)
    assert float(outputs[0, 0, 0]) == 264.0


def test_takes_batches_of_unknown_size(lowering, random_matrix):
    operator = MeshOperator(random_matrix, lowering)
    inputs = keras.Input((9, 2))
    outputs = keras.layers.Lambda(operator, output_shape=(12, 2))(inputs)
    model = keras.Model(inputs, outputs)
    for batch in (1, 3):
        values = np.ones((batch, 9, 2), "float32")
        np.testing.assert_allclose(
            model.predict_on_batch(values)[:, :, 0],
            np.tile(random_matrix.toarray().sum(axis=1), (batch, 1)),
            atol=1e-5,
        )


@tensorflow_only
@pytest.mark.parametrize("lowering", ["auto", "compiled", "gather"])
def test_xla_compiles_it_as_a_part_of_a_whole(lowering, random_matrix):
    import tensorflow as tf

    operator = MeshOperator(random_matrix, lowering)
    assert operator.supports_jit
    whole = tf.function(lambda x: operator(x) + 1.0, jit_compile=True)
    inputs = np.random.default_rng(0).normal(size=(2, 9, 2)).astype("float32")
    np.testing.assert_allclose(
        whole(inputs), random_matrix.toarray() @ inputs + 1.0, atol=1e-5
    )


def test_evaluates_expressions_around_the_product(lowering, random_matrix):
    operator = MeshOperator(random_matrix, lowering)
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(2, 9, 3)).astype("float32")
    addend = generator.normal(size=(2, 12, 3)).astype("float32")
    for factor in (2, 3):
        np.testing.assert_allclose(
            operator.evaluate(_scaled_and_added, factor, inputs, addend),
            factor * (random_matrix.toarray() @ inputs) + addend,
            atol=1e-5,
        )


def _scaled_and_added(product, factor, x, addend):
    return factor * product(x) + addend


@tensorflow_only
def test_many_widths_do_not_make_tensorflow_warn(random_matrix, caplog):
    import tensorflow as tf

    operator = MeshOperator(random_matrix, "compiled")
    tf.get_logger().addHandler(caplog.handler)
    try:
        for channels in range(1, 9):
            operator(np.ones((1, 9, channels), "float32"))
    finally:
        tf.get_logger().removeHandler(caplog.handler)
    assert "retracing" not in caplog.text


def test_a_symmetric_operator_is_its_own_transpose(grid_laplacian):
    operator = MeshOperator(grid_laplacian)
    assert operator.transpose is operator


def test_the_transpose_of_the_transpose_is_the_operator(random_matrix):
    operator = MeshOperator(random_matrix)
    assert operator.transpose.shape == (9, 12)
    assert operator.transpose.transpose is operator


def test_config_restores_the_operator(random_matrix):
    operator = MeshOperator(random_matrix, "gather")
    config = json.loads(json.dumps(operator.get_config()))
    revived = MeshOperator.from_config(config)
    assert revived.lowering == "gather"
    np.testing.assert_array_equal(
        revived.matrix.toarray(), random_matrix.toarray()
    )


def test_a_config_leaves_open_what_auto_resolves_to():
    operator = MeshOperator(SWAP)
    assert operator.resolved_lowering in LOWERINGS
    assert operator.get_config()["lowering"] == "auto"


def test_does_not_change_with_the_matrix_it_was_made_of():
    matrix = SWAP.astype("float32")
    operator = MeshOperator(matrix)
    matrix.data[:] = 0.0
    np.testing.assert_array_equal(operator.matrix.toarray(), SWAP.toarray())


def test_rejects_what_is_no_sparse_matrix():
    with pytest.raises(ValueError, match=r"SciPy sparse matrix.*ndarray"):
        MeshOperator(np.eye(3))


def test_rejects_an_unknown_lowering():
    with pytest.raises(ValueError, match="Received: lowering='dense'"):
        MeshOperator(SWAP, "dense")


@pytest.mark.skipif(
    keras.backend.backend() == "tensorflow", reason="TensorFlow has them all"
)
@pytest.mark.parametrize("lowering", ["compiled", "csr", "sparse"])
def test_rejects_the_lowerings_of_another_backend(lowering):
    with pytest.raises(ValueError, match=f"Received: lowering='{lowering}'"):
        MeshOperator(SWAP, lowering)(np.ones((1, 2, 1), "float32"))


def test_rejects_another_number_of_vertices():
    with pytest.raises(ValueError, match="acts on 2 vertices"):
        MeshOperator(SWAP)(np.zeros((1, 3, 1), "float32"))


def test_rejects_an_example_without_its_batch():
    with pytest.raises(ValueError, match=r"\(batch, 2, channels\)"):
        MeshOperator(SWAP)(np.zeros((2, 1), "float32"))
