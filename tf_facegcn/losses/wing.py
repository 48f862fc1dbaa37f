"""Wing: the loss that the paper's is derived of."""

import math

import keras
from keras import ops

from tf_facegcn.losses.wing_loss import WingLoss, curved_then_linear


def wing(y_true, y_pred, width=10.0, curvature=2.0):
    """Computes the Wing loss (Feng et al., 2018, Eq. 5).

    `w ln(1 + |x| / epsilon)` for errors `|x| < w`, and `|x| - C` beyond, with
    the `C` that makes it continuous. Unlike the exponential wing, its slope
    falls from `w / epsilon` at 0.

    Args:
        y_true: `(batch, vertices, 3)`, in 1/256ths of the crop.
        y_pred: `(batch, vertices, 3)`, likewise.
        width: Float, `w`, the error where the linear part begins.
        curvature: Float, `epsilon`.

    Returns:
        `(batch, vertices)` losses, the mean over coordinates; float32 at
        least, also of half-precision coordinates.
    """
    return curved_then_linear(
        y_true,
        y_pred,
        width,
        curve=lambda error: width * ops.log1p(error / curvature),
        value_at_width=width * math.log1p(width / curvature),
    )


@keras.saving.register_keras_serializable(package="tf_facegcn")
class Wing(WingLoss):
    """Wing loss over meshes, for comparison with the exponential wing.

    Reference: Feng et al., "Wing Loss for Robust Facial Landmark Localisation
    with Convolutional Neural Networks", 2018.

    Args:
        width: Float, `w`, in 1/256ths of the crop; 10 in the reference.
        curvature: Float, `epsilon`; 2 in the reference.
        vertex_weights: See `MeshLoss`.
        name: Name of the loss.
        **kwargs: Arguments of `keras.losses.Loss`.

    Example:
        >>> loss = Wing()
        >>> y_true = ops.zeros((1, 2, 3))
        >>> round(float(loss(y_true, y_true + 2.0)), 3)
        6.931
    """

    def __init__(
        self,
        width=10.0,
        curvature=2.0,
        vertex_weights=None,
        name="wing",
        **kwargs,
    ):
        super().__init__(width, curvature, vertex_weights, name, **kwargs)

    def vertex_losses(self, y_true, y_pred):
        return wing(y_true, y_pred, self.width, self.curvature)
