"""Batch normalisation folded into the linear map before it, for inference."""

import math

from keras import ops


def fold(kernel, normalization):
    """Folds a batch normalisation into the convolution before it.

    At inference, `gamma (W x - mean) / deviation + beta` is a convolution
    with kernel `gamma / deviation W` and a bias.

    Args:
        kernel: Kernel of a convolution without a bias, filters last.
        normalization: Built `BatchNormalization` of its outputs.

    Returns:
        The kernel and the bias of a convolution that does both.
    """
    deviation = ops.sqrt(normalization.moving_variance + normalization.epsilon)
    scale = normalization.gamma / deviation
    bias = normalization.beta - normalization.moving_mean * scale
    return kernel * scale, bias


def assign_folded(target, source, normalization):
    """Gives a convolution the weights of another and its normalisation.

    Args:
        target: Built convolution with a bias, `Conv2D` or `ChebConv`; its
            weights are set.
        source: Built convolution of the same shape without a bias.
        normalization: Built `BatchNormalization` of its outputs.
    """
    kernel, bias = fold(source.kernel, normalization)
    target.kernel.assign(kernel)
    target.bias.assign(bias)


def convolve_and_normalize(
    convolve, kernel, normalization, outputs_shape, training
):
    """Convolves and normalises, at inference in one step where that pays.

    Args:
        convolve: Function of a kernel, the convolution without a bias.
        kernel: Its kernel, filters last.
        normalization: Built `BatchNormalization` of its outputs.
        outputs_shape: Tuple, the batch first, of its outputs.
        training: Boolean or `None`, whether statistics are the batch's.

    Returns:
        The normalised outputs.
    """
    if (
        training
        # Folding in half precision would round the statistics.
        or normalization.compute_dtype != "float32"
        or not folds_cheaply(kernel, outputs_shape)
    ):
        return normalization(convolve(kernel), training=training)
    kernel, bias = fold(kernel, normalization)
    return convolve(kernel) + bias


def folds_cheaply(kernel, outputs_shape):
    """Whether scaling the kernel is less work than scaling the outputs.

    Args:
        kernel: Kernel of the convolution.
        outputs_shape: Tuple, the batch first, of the convolution's outputs.

    Returns:
        Boolean, for a single example.
    """
    return math.prod(kernel.shape) < math.prod(outputs_shape[1:])
