"""MeshLoss: the mean of a function of vertices' errors, weighted at will."""

import keras
import numpy as np
from keras import ops


class MeshLoss(keras.losses.Loss):
    """Averages losses of vertices, each times its weight.

    Subclasses define `vertex_losses`. All of them work in 1/256ths of the
    crop, whatever the network's input size.

    Args:
        vertex_weights: `(vertices,)` floats by which each vertex's loss is
            multiplied, or `None`. Of landmarks or regions, for example; not
            in the paper.
        name: Name of the loss.
        **kwargs: Arguments of `keras.losses.Loss`.

    Call arguments:
        y_true: `(batch, vertices, 3)`, in 1/256ths of the crop.
        y_pred: `(batch, vertices, 3)`, likewise. Half precision, in which
            squares and sums overflow, is cast to float32.
    """

    def __init__(self, vertex_weights=None, name=None, **kwargs):
        super().__init__(name=name, **kwargs)
        self.vertex_weights = None
        if vertex_weights is not None:
            self.vertex_weights = np.array(vertex_weights, dtype="float32")
            if self.vertex_weights.ndim != 1:
                raise ValueError(
                    "vertex_weights must have one weight a vertex. Received: "
                    f"vertex_weights of shape {self.vertex_weights.shape}"
                )

    def vertex_losses(self, y_true, y_pred):
        """Computes `(batch, vertices)` losses, float32 at least."""
        raise NotImplementedError

    def call(self, y_true, y_pred):
        losses = self.vertex_losses(y_true, y_pred)
        if self.vertex_weights is None:
            return losses
        if losses.shape[-1] != len(self.vertex_weights):
            raise ValueError(
                f"Expected {len(self.vertex_weights)} vertices, as many as "
                f"vertex_weights. Received: y_pred.shape={y_pred.shape}"
            )
        return losses * self.vertex_weights

    def get_config(self):
        config = super().get_config()
        weights = self.vertex_weights
        config.update(
            vertex_weights=None if weights is None else weights.tolist()
        )
        return config


def absolute_errors(y_true, y_pred):
    """Computes `|y_pred - y_true|`, in float32 at least."""
    y_pred = ops.convert_to_tensor(y_pred)
    dtype = keras.backend.standardize_dtype(y_pred.dtype)
    dtype = "float64" if dtype == "float64" else "float32"
    return ops.abs(ops.cast(y_pred, dtype) - ops.cast(y_true, dtype))
