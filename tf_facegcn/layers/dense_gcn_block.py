"""DenseGCNBlock: densely connected Chebyshev convolutions."""

import keras

from tf_facegcn.layers.cheb_conv import ChebConv
from tf_facegcn.layers.leaky_slope import LEAKY_SLOPE
from tf_facegcn.layers.mesh_operator import MeshOperator
from tf_facegcn.layers.normalization_folding import (
    assign_folded,
    convolve_and_normalize,
)

# Not given in the paper.
_BATCH_MOMENTUM = 0.9


@keras.saving.register_keras_serializable(package="tf_facegcn")
class DenseGCNBlock(keras.layers.Layer):
    """Graph convolutions that each see all before them (paper, Sec. III-E).

    Each convolution reads the block's inputs and the outputs of the earlier
    ones, and is followed by batch normalisation and leaky ReLU. The block's
    output is the concatenation of the convolutions' outputs, so the paper's
    128 channels are four times a growth of 32. Inside, nothing is
    concatenated: a convolution multiplies each source by its own rows of the
    kernel and adds.

    Args:
        growth: Integer, filters of each convolution.
        operator: `MeshOperator` of the level's rescaled Laplacian.
        num_convolutions: Integer, 4 in the paper.
        order: Integer, Chebyshev terms of each.
        normalize: Boolean; without batch normalisation the convolutions have
            biases, see `assign_folded`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Input shape:
        `(batch, V, channels)` or a list of such tensors, such as the vertex
        features and the image features of the same level.

    Output shape:
        `(batch, V, num_convolutions * growth)`.
    """

    def __init__(
        self,
        growth,
        operator,
        num_convolutions=4,
        order=3,
        normalize=True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if num_convolutions < 1:
            raise ValueError(
                "num_convolutions must be at least 1. Received: "
                f"num_convolutions={num_convolutions}"
            )
        self.growth = growth
        self.operator = operator
        self.num_convolutions = num_convolutions
        self.order = order
        self.normalize = normalize
        self.convolutions = [
            ChebConv(
                growth,
                operator,
                order=order,
                # Batch normalisation brings its own shift.
                use_bias=not normalize,
                dtype=self.dtype_policy,
                name=f"convolution_{index}",
            )
            for index in range(num_convolutions)
        ]
        self.normalizations = [
            keras.layers.BatchNormalization(
                momentum=_BATCH_MOMENTUM,
                dtype=self.dtype_policy,
                name=f"normalization_{index}",
            )
            for index in range(num_convolutions if normalize else 0)
        ]

    def build(self, input_shape):
        shapes = input_shape
        if not isinstance(input_shape[0], list | tuple):
            shapes = [input_shape]
        shapes = [tuple(shape) for shape in shapes]
        grown = (*shapes[0][:-1], self.growth)
        for convolution in self.convolutions:
            convolution.build(shapes)
            shapes = [*shapes, grown]
        for normalization in self.normalizations:
            normalization.build(grown)

    def call(self, inputs, training=None):
        sources = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
        num_inputs = len(sources)
        for index in range(self.num_convolutions):
            x = self._convolve(index, sources, training)
            sources.append(keras.ops.leaky_relu(x, LEAKY_SLOPE))
        grown = sources[num_inputs:]
        return grown[0] if len(grown) == 1 else keras.ops.concatenate(grown, -1)

    def _convolve(self, index, sources, training):
        """One convolution and its normalisation."""
        convolution = self.convolutions[index]
        if not self.normalize:
            return convolution(sources)
        return convolve_and_normalize(
            lambda kernel: convolution.convolve(sources, kernel),
            convolution.kernel,
            self.normalizations[index],
            (*sources[0].shape[:-1], self.growth),
            training,
        )

    def compute_output_shape(self, input_shape):
        shape = input_shape
        if isinstance(input_shape[0], list | tuple):
            shape = input_shape[0]
        return (*shape[:-1], self.num_convolutions * self.growth)

    def get_config(self):
        config = super().get_config()
        config.update(
            growth=self.growth,
            operator=keras.saving.serialize_keras_object(self.operator),
            num_convolutions=self.num_convolutions,
            order=self.order,
            normalize=self.normalize,
        )
        return config

    def assign_folded(self, source):
        """Takes the weights of a block that normalises, for inference.

        Args:
            source: `DenseGCNBlock` of the same shapes with `normalize`; this
                one is without.
        """
        for target, convolution, normalization in zip(
            self.convolutions,
            source.convolutions,
            source.normalizations,
            strict=True,
        ):
            assign_folded(target, convolution, normalization)

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        if not isinstance(config["operator"], MeshOperator):
            config["operator"] = keras.saving.deserialize_keras_object(
                config["operator"]
            )
        return cls(**config)
