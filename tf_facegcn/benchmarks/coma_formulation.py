"""CoMA's formulation of the Chebyshev convolution, to compare with.

Ranjan et al., "Generating 3D Faces using Convolutional Mesh Autoencoders",
2018: the batch joins the channels, all terms are propagated by `tf.sparse`
products and stacked, and one dense product mixes them.
"""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tf_facegcn.layers.cheb_conv import ChebConv
from tf_facegcn.layers.dense_gcn_block import DenseGCNBlock
from tf_facegcn.layers.leaky_slope import LEAKY_SLOPE


class CoMAChebConv(ChebConv):
    """A `ChebConv` with the same weights and outputs, computed as in CoMA."""

    def call(self, inputs):
        """Evaluates the layer; shapes as those of `ChebConv`."""
        if self.upsampling is not None:
            inputs = self.upsampling(inputs)
        _, vertices, channels = inputs.shape
        matrix = self.operator.matrix.tocoo()
        laplacian = tf.SparseTensor(
            np.stack([matrix.row, matrix.col], axis=1).astype("int64"),
            matrix.data,
            matrix.shape,
        )

        def propagate(x):
            # There is no kernel for half precision.
            x = tf.cast(x, "float32")
            product = tf.sparse.sparse_dense_matmul(laplacian, x)
            return tf.cast(product, inputs.dtype)

        terms = [tf.reshape(tf.transpose(inputs, (1, 2, 0)), (vertices, -1))]
        if self.order > 1:
            terms.append(propagate(terms[0]))
        for _ in range(2, self.order):
            terms.append(2 * propagate(terms[-1]) - terms[-2])
        x = tf.stack(terms)
        x = tf.reshape(x, (self.order, vertices, channels, -1))
        x = tf.transpose(x, (3, 1, 2, 0))
        x = tf.reshape(x, (-1, channels * self.order))
        kernel = tf.transpose(tf.convert_to_tensor(self.kernel), (1, 0, 2))
        x = tf.matmul(x, tf.reshape(kernel, (-1, self.filters)))
        outputs = tf.reshape(x, (-1, vertices, self.filters))
        return outputs if self.bias is None else outputs + self.bias


class CoMADenseGCNBlock(DenseGCNBlock):
    """A `DenseGCNBlock` on CoMA's convolutions, which concatenates."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.convolutions = [
            CoMAChebConv.from_config(convolution.get_config())
            for convolution in self.convolutions
        ]

    def call(self, inputs, training=None):
        """Evaluates the block; shapes as those of `DenseGCNBlock`."""
        x = inputs
        if isinstance(inputs, list | tuple):
            x = ops.concatenate(inputs, axis=-1)
        grown = []
        for convolution, normalization in zip(
            self.convolutions, self.normalizations, strict=True
        ):
            outputs = normalization(convolution(x), training=training)
            grown.append(ops.leaky_relu(outputs, LEAKY_SLOPE))
            x = ops.concatenate([x, grown[-1]], axis=-1)
        return ops.concatenate(grown, axis=-1)


def in_coma_formulation(model):
    """Makes a network of the same layers and weights on CoMA's formulation.

    Args:
        model: A `FaceGCN` with the lowering `"sparse"`, which CoMA's
            up-sampling has too.

    Returns:
        A Keras model.
    """
    formulations = {ChebConv: CoMAChebConv, DenseGCNBlock: CoMADenseGCNBlock}

    def clone(layer):
        kind = formulations.get(type(layer), type(layer))
        return kind.from_config(layer.get_config())

    network = keras.models.clone_model(
        keras.Model(model.input, model.output), clone_function=clone
    )
    # By name, as the layers of a block are in another order.
    weights = {variable.path: variable for variable in model.weights}
    for variable in network.weights:
        variable.assign(weights[variable.path])
    return network
