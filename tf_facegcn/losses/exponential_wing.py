"""Exponential wing: the loss of the paper's Eq. 3."""

import math

import keras
import numpy as np
from keras import ops


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
    y_pred = _at_least_float32(y_pred)
    error = ops.abs(y_pred - ops.cast(y_true, y_pred.dtype))
    offset = width - width * math.expm1(width / curvature)
    # The branch that `where` drops must not overflow either: its gradient
    # would be infinity times zero.
    near = width * ops.expm1(ops.minimum(error, width) / curvature)
    return ops.mean(ops.where(error < width, near, error - offset), axis=-1)


@keras.saving.register_keras_serializable(package="tf_facegcn")
class ExponentialWing(keras.losses.Loss):
    """Exponential wing loss over meshes (paper, Eq. 3).

    See `exponential_wing` for the formula.

    Args:
        width: Float, `W`, in 1/256ths of the crop; 5 in the paper.
        curvature: Float, `epsilon`; 4 in the paper.
        vertex_weights: `(vertices,)` floats by which each vertex's loss is
            multiplied, or `None`. Not in the paper.
        name: Name of the loss.
        **kwargs: Arguments of `keras.losses.Loss`.

    Example:
        >>> loss = ExponentialWing()
        >>> y_true = np.zeros((1, 2, 3))
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
        super().__init__(name=name, **kwargs)
        if width < 0 or curvature <= 0:
            raise ValueError(
                "width must not be negative and curvature must be positive. "
                f"Received: width={width}, curvature={curvature}"
            )
        self.width = width
        self.curvature = curvature
        self.vertex_weights = None
        if vertex_weights is not None:
            self.vertex_weights = np.array(vertex_weights, dtype="float32")
            if self.vertex_weights.ndim != 1:
                raise ValueError(
                    "vertex_weights must have one weight a vertex. Received: "
                    f"vertex_weights of shape {self.vertex_weights.shape}"
                )

    def call(self, y_true, y_pred):
        losses = exponential_wing(y_true, y_pred, self.width, self.curvature)
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
        config.update(
            width=self.width,
            curvature=self.curvature,
            vertex_weights=None
            if self.vertex_weights is None
            else self.vertex_weights.tolist(),
        )
        return config


def _at_least_float32(values):
    """Casts half precision, in which squares and sums overflow, to float32."""
    values = ops.convert_to_tensor(values)
    if keras.backend.standardize_dtype(values.dtype) in (
        "float16",
        "bfloat16",
    ):
        return ops.cast(values, "float32")
    return values
