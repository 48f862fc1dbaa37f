"""PRNet's network, to compare speeds with.

Feng et al., "Joint 3D Face Reconstruction and Dense Alignment with Position
Map Regression Network", 2018. It maps a photo to a picture of positions, of
the same size; here its weights are random.
"""

import keras

INPUT_SIZE = 256
_KERNEL_SIZE = 4
_ENCODER_WIDTHS = (32, 64, 128, 256, 512)
# Width and stride of each transposed convolution.
_DECODER = (
    (512, 1),
    *((256, 2), (256, 1), (256, 1)),
    *((128, 2), (128, 1), (128, 1)),
    *((64, 2), (64, 1), (64, 1)),
    *((32, 2), (32, 1)),
    *((16, 2), (16, 1)),
    *((3, 1), (3, 1)),
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
    for width in _ENCODER_WIDTHS:
        x = _residual_block(x, width, 2, dtype)
        x = _residual_block(x, width, 1, dtype)
    for width, strides in _DECODER:
        x = _transposed_convolution(x, width, strides, "relu", dtype)
    x = _transposed_convolution(x, 3, 1, "sigmoid", dtype)
    return keras.Model(photos, x, name="prnet")


def _residual_block(x, width, strides, dtype):
    shortcut = x
    if strides > 1 or x.shape[-1] != width:
        shortcut = keras.layers.Conv2D(
            width, 1, strides, padding="same", use_bias=False, dtype=dtype
        )(x)
    x = _convolution(x, width // 2, 1, 1, dtype)
    x = _convolution(x, width // 2, _KERNEL_SIZE, strides, dtype)
    x = keras.layers.Conv2D(width, 1, use_bias=False, dtype=dtype)(x)
    x = keras.layers.Add(dtype=dtype)([x, shortcut])
    return _normalized(x, "relu", dtype)


def _convolution(x, width, kernel_size, strides, dtype):
    x = keras.layers.Conv2D(
        width,
        kernel_size,
        strides,
        padding="same",
        use_bias=False,
        dtype=dtype,
    )(x)
    return _normalized(x, "relu", dtype)


def _transposed_convolution(x, width, strides, activation, dtype):
    x = keras.layers.Conv2DTranspose(
        width,
        _KERNEL_SIZE,
        strides,
        padding="same",
        use_bias=False,
        dtype=dtype,
    )(x)
    return _normalized(x, activation, dtype)


def _normalized(x, activation, dtype):
    x = keras.layers.BatchNormalization(dtype=dtype)(x)
    return keras.layers.Activation(activation, dtype=dtype)(x)
