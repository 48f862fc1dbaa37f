import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import sparse

from tf_facegcn.layers.mesh_operator import LOWERINGS, MeshOperator

SWAP = sparse.csr_array([[0.0, 2.0], [1.0, 0.0]])


@pytest.mark.parametrize("lowering", LOWERINGS)
def test_multiplies_each_channel_of_each_example(lowering):
    inputs = np.array([[[1.0, 10.0], [2.0, 20.0]], [[3.0, 0.0], [4.0, 1.0]]])
    outputs = MeshOperator(SWAP, lowering)(inputs.astype("float32"))
    expected = [[[4.0, 40.0], [1.0, 10.0]], [[8.0, 2.0], [3.0, 0.0]]]
    np.testing.assert_array_equal(outputs, expected)


@pytest.mark.parametrize("lowering", LOWERINGS)
def test_equals_the_dense_product_and_its_gradient(lowering, random_matrix):
    operator = MeshOperator(random_matrix, lowering)
    dense = random_matrix.toarray()
    generator = np.random.default_rng(0)
    inputs = tf.constant(generator.normal(size=(3, 9, 5)).astype("float32"))
    weights = generator.normal(size=(3, 12, 5)).astype("float32")
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = operator(inputs)
        total = tf.reduce_sum(outputs * weights)
    np.testing.assert_allclose(outputs, dense @ inputs.numpy(), atol=1e-5)
    np.testing.assert_allclose(
        tape.gradient(total, inputs), dense.T @ weights, atol=1e-5
    )


@pytest.mark.parametrize("lowering", LOWERINGS)
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


@pytest.mark.parametrize("lowering", LOWERINGS)
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


def test_config_restores_the_operator(random_matrix):
    operator = MeshOperator(random_matrix, "gather")
    config = json.loads(json.dumps(operator.get_config()))
    revived = MeshOperator.from_config(config)
    assert revived.lowering == "gather"
    np.testing.assert_array_equal(
        revived.matrix.toarray(), random_matrix.toarray()
    )


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


def test_rejects_another_number_of_vertices():
    with pytest.raises(ValueError, match="acts on 2 vertices"):
        MeshOperator(SWAP)(np.zeros((1, 3, 1), "float32"))
