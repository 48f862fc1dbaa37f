import keras
import numpy as np
import pytest
from scipy import sparse

from tests.layers.contract import check_layer
from tf_facegcn.layers.dense_gcn_block import DenseGCNBlock
from tf_facegcn.layers.mesh_operator import MeshOperator


def test_keeps_the_contract(rescaled_tetrahedron, tmp_path):
    def make_layer(**kwargs):
        return DenseGCNBlock(3, rescaled_tetrahedron, **kwargs)

    check_layer(make_layer, [(2, 4, 5)], [(2, 4, 12)], tmp_path)


def test_keeps_the_contract_with_two_inputs(rescaled_tetrahedron, tmp_path):
    def make_layer(**kwargs):
        return DenseGCNBlock(
            2, rescaled_tetrahedron, num_convolutions=2, **kwargs
        )

    check_layer(make_layer, [(2, 4, 5), (2, 4, 3)], [(2, 4, 4)], tmp_path)


def test_each_convolution_sees_all_before_it():
    identity = MeshOperator(sparse.csr_array(np.eye(2, dtype="float32")))
    block = DenseGCNBlock(1, identity, num_convolutions=3, order=1)
    inputs = np.array([[[1.0], [-1.0]]], "float32")
    block(inputs)
    for convolution in block.convolutions:
        convolution.kernel.assign(np.ones(convolution.kernel.shape))
    for normalization in block.normalizations:
        # As trained normalisation with mean 0 and variance 1 - epsilon.
        normalization.moving_variance.assign([1 - normalization.epsilon])
    # Of 1: 1, then 1 + 1, then 1 + 1 + 2. Of -1, with the leaky slope 0.1:
    # -0.1, then 0.1 (-1 - 0.1), then 0.1 (-1 - 0.1 - 0.11).
    expected = [[1.0, 2.0, 4.0], [-0.1, -0.11, -0.121]]
    np.testing.assert_allclose(block(inputs)[0], expected, rtol=1e-5)


def test_normalises_in_training_only(rescaled_tetrahedron):
    block = DenseGCNBlock(2, rescaled_tetrahedron, num_convolutions=1)
    inputs = np.random.default_rng(0).normal(5, 9, (8, 4, 3)).astype("float32")
    trained = np.array(block(inputs, training=True))
    # A normalised channel has unit deviation before the leaky ReLU.
    undone = np.where(trained < 0, trained / 0.1, trained)
    np.testing.assert_allclose(undone.std(axis=(0, 1)), 1.0, atol=1e-2)
    assert np.abs(np.array(block(inputs))).max() > np.abs(trained).max()


def test_rejects_a_block_without_convolutions(rescaled_tetrahedron):
    with pytest.raises(ValueError, match="num_convolutions=0"):
        DenseGCNBlock(2, rescaled_tetrahedron, num_convolutions=0)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="looks at the graph"
)
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_concatenates_its_output_only(policy, grid_laplacian):
    import tensorflow as tf

    operator = MeshOperator(grid_laplacian, "gather")
    block = DenseGCNBlock(4, operator, dtype=policy)
    graph = (
        tf.function(lambda x, y: block([x, y]))
        .get_concrete_function(
            tf.TensorSpec((None, 80, 16)), tf.TensorSpec((None, 80, 8))
        )
        .graph
    )
    shapes = [
        operation.outputs[0].shape.as_list()
        for operation in graph.get_operations()
        if operation.type == "ConcatV2"
    ]
    # Kernels are matrices; features have three dimensions.
    assert [x for x in shapes if len(x) > 2] == [[None, 80, 16]]
