"""PRNet's network, to compare speeds with.

Feng et al., "Joint 3D Face Reconstruction and Dense Alignment with Position
Map Regression Network", 2018. It maps a photo to a picture of positions, of
the same size; here its weights are random.
"""

import keras

INPUT_SIZE = 256
_KERNEL_SIZE = 4
_ENCODER_WIDTHS = (32, 64, 128, 256, 512)
# Width, stride and activation of each transposed convolution.
_DECODER = (
    (512, 1, "relu"),
    *((256, strides, "relu") for strides in (2, 1, 1)),
    *((128, strides, "relu") for strides in (2, 1, 1)),
    *((64, strides, "relu") for strides in (2, 1, 1)),
    *((32, strides, "relu") for strides in (2, 1)),
    *((16, strides, "relu") for strides in (2, 1)),
    *((3, 1, "relu"), (3, 1, "relu"), (3, 1, "sigmoid")),
)


def make_prnet(dtype="float32"):
    """Makes the network, of 13.35 million parameters.

    Args:
        dtype: Dtype policy of its layers.

    Returns:
        A Keras model of `(batch, 256, 256, 3)` photos and position maps.
    """
    photos = keras.Input((INPUT_SIZE, INPUT_SIZE, 3), dtype="float32")
    x = _convolution(photos, 16, _KERNEL_SIZE, 1, dtype)
    x = _normalized(x, "relu", dtype)
    for width in _ENCODER_WIDTHS:
        x = _residual_block(x, width, 2, dtype)
        x = _residual_block(x, width, 1, dtype)
    for width, strides, activation in _DECODER:
        x = _convolution(
            x, width, _KERNEL_SIZE, strides, dtype, keras.layers.Conv2DTranspose
        )
        x = _normalized(x, activation, dtype)
    return keras.Model(photos, x, name="prnet")


def _residual_block(x, width, strides, dtype):
    shortcut = x
    if strides > 1 or x.shape[-1] != width:
        shortcut = _convolution(x, width, 1, strides, dtype)
    x = _normalized(_convolution(x, width // 2, 1, 1, dtype), "relu", dtype)
    x = _convolution(x, width // 2, _KERNEL_SIZE, strides, dtype)
    x = _convolution(_normalized(x, "relu", dtype), width, 1, 1, dtype)
    x = keras.layers.Add(dtype=dtype)([x, shortcut])
    return _normalized(x, "relu", dtype)


def _convolution(
    x, width, kernel_size, strides, dtype, layer=keras.layers.Conv2D
):
    return layer(
        width,
        kernel_size,
        strides,
        padding="same",
        use_bias=False,
        dtype=dtype,
    )(x)


def _normalized(x, activation, dtype):
    x = keras.layers.BatchNormalization(dtype=dtype)(x)
    return keras.layers.Activation(activation, dtype=dtype)(x)
