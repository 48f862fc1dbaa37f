"""ResidualBlock: 3 x 3 convolutions with a shortcut."""

import keras
from keras import ops

from tf_facegcn.layers.leaky_slope import LEAKY_SLOPE
from tf_facegcn.layers.normalization_folding import (
    assign_folded,
    convolve_and_normalize,
)

# Not given in the paper.
_BATCH_MOMENTUM = 0.9


@keras.saving.register_keras_serializable(package="tf_facegcn")
class ResidualBlock(keras.layers.Layer):
    """Convolutions with a shortcut (paper, Sec. III-E; He et al., 2016).

    Each 3 x 3 convolution is followed by batch normalisation, and by leaky
    ReLU, the last one after the shortcut is added. The shortcut is the
    identity where shapes allow it, else the mean over `strides x strides`
    pixels and a 1 x 1 convolution (ResNet-D; He et al., 2019). A strided
    1 x 1 convolution would drop three of four pixels, and its gradient
    corrupts memory in TensorFlow 2.21 on CPUs.

    Args:
        filters: Integer, channels of all convolutions.
        strides: Integer, stride of the first convolution and the shortcut.
        num_convolutions: Integer; 3 in the paper's aggregation block.
        normalize: Boolean; without batch normalisation the convolutions have
            biases, see `assign_folded`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Input shape:
        `(batch, height, width, channels)`.

    Output shape:
        `(batch, height / strides, width / strides, filters)`, rounded up.
    """

    def __init__(
        self, filters, strides=1, num_convolutions=2, normalize=True, **kwargs
    ):
        super().__init__(**kwargs)
        if filters < 1 or strides < 1 or num_convolutions < 1:
            raise ValueError(
                "filters, strides and num_convolutions must be at least 1. "
                f"Received: filters={filters}, strides={strides}, "
                f"num_convolutions={num_convolutions}"
            )
        self.filters = filters
        self.strides = strides
        self.num_convolutions = num_convolutions
        self.normalize = normalize
        self.convolutions = [
            self._convolution(3, strides if index == 0 else 1, index)
            for index in range(num_convolutions)
        ]
        self.normalizations = [
            self._normalization(index)
            for index in range(num_convolutions if normalize else 0)
        ]
        self.shortcut = None

    def build(self, input_shape):
        if self.strides != 1 or input_shape[-1] != self.filters:
            self.shortcut = self._convolution(1, 1, "shortcut")
            self.shortcut.build(input_shape)
        shape = input_shape
        for convolution in self.convolutions:
            convolution.build(shape)
            shape = convolution.compute_output_shape(shape)
        for normalization in self.normalizations:
            normalization.build(shape)

    def call(self, inputs, training=None):
        shortcut = inputs
        if self.shortcut is not None:
            if self.strides > 1:
                shortcut = ops.average_pool(
                    shortcut, self.strides, self.strides, padding="same"
                )
            shortcut = self.shortcut(shortcut)
        x = inputs
        for index in range(self.num_convolutions):
            x = self._convolve(index, x, training)
            if index < self.num_convolutions - 1:
                x = ops.leaky_relu(x, LEAKY_SLOPE)
        # Leaky ReLU written out: TensorFlow 2.21 on CPUs merges a convolution
        # with bias, a sum and a leaky ReLU to one with another slope.
        x = x + shortcut
        return ops.maximum(x, LEAKY_SLOPE * x)

    def _convolve(self, index, x, training):
        """One convolution and its normalisation."""
        convolution = self.convolutions[index]
        if not self.normalize:
            return convolution(x)
        return convolve_and_normalize(
            lambda kernel: ops.conv(
                x, kernel, convolution.strides, padding="same"
            ),
            convolution.kernel,
            self.normalizations[index],
            convolution.compute_output_shape(x.shape),
            training,
        )

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        return (
            batch,
            -(-height // self.strides),
            -(-width // self.strides),
            self.filters,
        )

    def get_config(self):
        config = super().get_config()
        config.update(
            filters=self.filters,
            strides=self.strides,
            num_convolutions=self.num_convolutions,
            normalize=self.normalize,
        )
        return config

    def assign_folded(self, source):
        """Takes the weights of a block that normalises, for inference.

        Args:
            source: `ResidualBlock` of the same shapes with `normalize`; this
                one is without.
        """
        if self.shortcut is not None:
            self.shortcut.set_weights(source.shortcut.get_weights())
        for target, convolution, normalization in zip(
            self.convolutions,
            source.convolutions,
            source.normalizations,
            strict=True,
        ):
            assign_folded(target, convolution, normalization)

    def _convolution(self, kernel_size, strides, label):
        return keras.layers.Conv2D(
            self.filters,
            kernel_size,
            strides=strides,
            padding="same",
            # Batch normalisation brings its own shift.
            use_bias=not self.normalize and label != "shortcut",
            kernel_initializer="he_normal",
            dtype=self.dtype_policy,
            name=f"convolution_{label}",
        )

    def _normalization(self, label):
        return keras.layers.BatchNormalization(
            momentum=_BATCH_MOMENTUM,
            dtype=self.dtype_policy,
            name=f"normalization_{label}",
        )
