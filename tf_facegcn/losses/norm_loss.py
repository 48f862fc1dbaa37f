"""NormLoss: L1, L2 and smooth L1 over meshes."""

import keras
from keras import ops

from tf_facegcn.losses.mesh_loss import MeshLoss, absolute_errors

# Where smooth L1 turns from a parabola to a line (Girshick, 2015, Eq. 3).
_SMOOTH_WIDTH = 1.0
# The loss of a coordinate by its absolute error.
_FORMULAS = {
    "l1": lambda error: error,
    "l2": ops.square,
    "smooth_l1": lambda error: ops.where(
        error < _SMOOTH_WIDTH,
        0.5 * ops.square(error) / _SMOOTH_WIDTH,
        error - 0.5 * _SMOOTH_WIDTH,
    ),
}


@keras.saving.register_keras_serializable(package="tf_facegcn")
class NormLoss(MeshLoss):
    """The losses that the paper compares its own with (Sec. V-C).

    Args:
        norm: `"l1"`, the absolute error; `"l2"`, its square; `"smooth_l1"`,
            half its square below 1 and less by 0.5 than it beyond.
        vertex_weights: See `MeshLoss`.
        name: Name of the loss; `None` takes the norm.
        **kwargs: Arguments of `keras.losses.Loss`.

    Example:
        >>> y_true = ops.zeros((1, 2, 3))
        >>> float(NormLoss("smooth_l1")(y_true, y_true + 4.0))
        3.5
    """

    def __init__(self, norm, vertex_weights=None, name=None, **kwargs):
        if norm not in _FORMULAS:
            raise ValueError(
                f"norm must be one of {sorted(_FORMULAS)}. Received: "
                f"norm={norm!r}"
            )
        super().__init__(vertex_weights, name=name or norm, **kwargs)
        self.norm = norm

    def vertex_losses(self, y_true, y_pred):
        errors = absolute_errors(y_true, y_pred)
        return ops.mean(_FORMULAS[self.norm](errors), axis=-1)

    def get_config(self):
        config = super().get_config()
        config.update(norm=self.norm)
        return config
