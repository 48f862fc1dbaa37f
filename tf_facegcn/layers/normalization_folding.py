"""Batch normalisation folded into the linear map before it, for inference."""

from keras import ops


def assign_folded(target, source, normalization):
    """Gives a convolution the weights of another and its normalisation.

    At inference, `gamma (W x - mean) / deviation + beta` is a convolution
    with kernel `gamma / deviation W` and a bias.

    Args:
        target: Built convolution with a bias, `Conv2D` or `ChebConv`; its
            weights are set.
        source: Built convolution of the same shape without a bias.
        normalization: Built `BatchNormalization` of its outputs.
    """
    deviation = ops.sqrt(normalization.moving_variance + normalization.epsilon)
    scale = normalization.gamma / deviation
    target.kernel.assign(source.kernel * scale)
    target.bias.assign(normalization.beta - normalization.moving_mean * scale)
