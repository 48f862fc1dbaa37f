"""WingLoss: what the two wing losses have in common."""

from keras import ops

from tf_facegcn.losses.mesh_loss import MeshLoss, absolute_errors


class WingLoss(MeshLoss):
    """A loss that is curved for small errors, and linear beyond a width.

    Args:
        width: Float, the error where the linear part begins, in 1/256ths of
            the crop.
        curvature: Float, scale of the curved part's argument.
        vertex_weights: See `MeshLoss`.
        name: Name of the loss.
        **kwargs: Arguments of `keras.losses.Loss`.
    """

    def __init__(self, width, curvature, vertex_weights, name, **kwargs):
        super().__init__(vertex_weights, name=name, **kwargs)
        if width < 0 or curvature <= 0:
            raise ValueError(
                "width must not be negative and curvature must be positive. "
                f"Received: width={width}, curvature={curvature}"
            )
        self.width = width
        self.curvature = curvature

    def get_config(self):
        config = super().get_config()
        config.update(width=self.width, curvature=self.curvature)
        return config


def curved_then_linear(y_true, y_pred, width, curve, value_at_width):
    """Computes `(batch, vertices)` losses, the mean over coordinates.

    Args:
        y_true: `(batch, vertices, 3)`.
        y_pred: `(batch, vertices, 3)`.
        width: Float, the absolute error where the linear part, of slope 1,
            begins.
        curve: Function of absolute errors from 0 to `width`.
        value_at_width: Float, its value at `width`, where the parts meet.

    Returns:
        `(batch, vertices)` floats, float32 at least.
    """
    error = absolute_errors(y_true, y_pred)
    # The branch that `where` drops must not overflow either: its gradient
    # would be infinity times zero.
    near = curve(ops.minimum(error, width))
    far = error - width + value_at_width
    return ops.mean(ops.where(error < width, near, far), axis=-1)
