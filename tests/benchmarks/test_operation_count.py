import keras
import numpy as np
import pytest
from scipy import sparse

from tf_facegcn.benchmarks.operation_count import count_flops
from tf_facegcn.layers.cheb_conv import ChebConv
from tf_facegcn.layers.mesh_operator import MeshOperator
from tf_facegcn.layers.mesh_upsampling import MeshUpsampling


def _model(shape, *layers):
    return keras.Sequential([keras.Input(shape), *layers])


@pytest.mark.parametrize(
    ("shape", "layer", "products"),
    [
        ((3,), keras.layers.Dense(5), 3 * 5),
        # 4 x 4 outputs of 2 channels, each of 3 x 3 pixels of 7 channels.
        (
            (8, 8, 7),
            keras.layers.Conv2D(2, 3, strides=2, padding="same"),
            4 * 4 * 2 * 3 * 3 * 7,
        ),
        # 8 x 8 inputs of 7 channels, each through 4 x 4 taps of 2 filters.
        (
            (8, 8, 7),
            keras.layers.Conv2DTranspose(2, 4, strides=2, padding="same"),
            8 * 8 * 7 * 4 * 4 * 2,
        ),
        ((8, 8, 7), keras.layers.BatchNormalization(), 0),
    ],
)
def test_counts_a_layer(shape, layer, products):
    assert count_flops(_model(shape, layer)) == 2 * products


def _operator(rows, columns, lowering="sparse"):
    matrix = np.zeros((rows, columns), "float32")
    matrix[0] = matrix[-1] = 1.0
    return MeshOperator(sparse.csr_array(matrix), lowering)


def test_counts_only_the_entries_of_a_sparse_matrix():
    upsampling = MeshUpsampling(_operator(9, 4))
    assert count_flops(_model((4, 6), upsampling)) == 2 * (2 * 4 * 6)


def test_counts_both_products_of_a_graph_convolution():
    convolution = ChebConv(3, _operator(5, 5), order=3)
    # Mixing first: 5 vertices, 8 channels, 3 terms of 3 filters; then two
    # steps on 10 non-zeros and 3 filters.
    expected = 5 * 8 * 9 + 2 * 10 * 3
    assert count_flops(_model((5, 8), convolution)) == 2 * expected


def test_rejects_a_graph_that_hides_operations():
    upsampling = MeshUpsampling(_operator(9, 4, "compiled"))
    with pytest.raises(ValueError, match="PartitionedCall"):
        count_flops(_model((4, 6), upsampling))
