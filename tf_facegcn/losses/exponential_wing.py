"""Exponential wing: the loss of the paper's Eq. 3."""

import math

import keras
from keras import ops

from tf_facegcn.losses.wing_loss import WingLoss, curved_then_linear


def exponential_wing(y_true, y_pred, width=5.0, curvature=4.0):
    """Computes the exponential wing loss (paper, Eq. 3).

    `W (exp(|x| / epsilon) - 1)` for errors `|x| < W`, and `|x| - C` beyond,
    with the `C` that makes it continuous. As printed: the slope rises from
    `W / epsilon` at 0 to 4.36 at `W` for the paper's constants, and is 1
    beyond.

    Args:
        y_true: `(batch, vertices, 3)`, in 1/256ths of the crop.
        y_pred: `(batch, vertices, 3)`, likewise.
        width: Float, `W`, the error where the linear part begins.
        curvature: Float, `epsilon`.

    Returns:
        `(batch, vertices)` losses, the mean over coordinates; float32 at
        least, also of half-precision coordinates.
    """
    return curved_then_linear(
        y_true,
        y_pred,
        width,
        curve=lambda error: width * ops.expm1(error / curvature),
        value_at_width=width * math.expm1(width / curvature),
    )


@keras.saving.register_keras_serializable(package="tf_facegcn")
class ExponentialWing(WingLoss):
    """Exponential wing loss over meshes (paper, Eq. 3).

    See `exponential_wing` for the formula.

    Args:
        width: Float, `W`, in 1/256ths of the crop; 5 in the paper.
        curvature: Float, `epsilon`; 4 in the paper.
        vertex_weights: See `MeshLoss`.
        name: Name of the loss.
        **kwargs: Arguments of `keras.losses.Loss`.

    Example:
        >>> loss = ExponentialWing()
        >>> y_true = ops.zeros((1, 2, 3))
        >>> round(float(loss(y_true, y_true + 4.0)), 3)
        8.591
    """

    def __init__(
        self,
        width=5.0,
        curvature=4.0,
        vertex_weights=None,
        name="exponential_wing",
        **kwargs,
    ):
        super().__init__(width, curvature, vertex_weights, name, **kwargs)

    def vertex_losses(self, y_true, y_pred):
        return exponential_wing(y_true, y_pred, self.width, self.curvature)
