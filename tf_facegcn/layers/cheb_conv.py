"""ChebConv: spectral graph convolution by Chebyshev polynomials."""

import keras
from keras import ops

from tf_facegcn.layers.mesh_operator import MeshOperator


@keras.saving.register_keras_serializable(package="tf_facegcn")
class ChebConv(keras.layers.Layer):
    """Chebyshev graph convolution on a fixed mesh (paper, Eq. 1 and 2).

    Computes `sum_k T_k(L) x W_k + b` with the rescaled Laplacian
    `L = 2 laplacian / lambda_max - I` and the Chebyshev polynomials
    `T_0 = 1`, `T_1 = L`, `T_k = 2 L T_{k-1} - T_{k-2}`.

    The two products commute, so the cheaper order is taken. With fewer
    filters than input channels, channels are mixed first, `y_k = x W_k`, and
    the sum is evaluated by Clenshaw's recurrence on the filters; otherwise
    the `T_k x` are propagated first. Both are exact.

    Reference: Defferrard et al., "Convolutional Neural Networks on Graphs
    with Fast Localized Spectral Filtering", 2016.

    Args:
        filters: Integer, number of output channels.
        operator: `MeshOperator` of the rescaled Laplacian, `(V, V)`.
        order: Integer, number of terms `T_0 ... T_{order-1}`; the paper uses
            3.
        use_bias: Boolean, whether a bias is added.
        kernel_initializer: Initialiser of the `(order, channels, filters)`
            kernel.
        **kwargs: Arguments of `keras.layers.Layer`.

    Input shape:
        `(batch, V, channels)`, or a list of such tensors, which is treated as
        their concatenation over channels without making it.

    Output shape:
        `(batch, V, filters)`.

    Example:
        >>> from scipy import sparse
        >>> laplacian = MeshOperator(sparse.csr_array([[0, -1.0], [-1, 0]]))
        >>> layer = ChebConv(8, operator=laplacian)
        >>> layer(ops.ones((1, 2, 4))).shape
        TensorShape([1, 2, 8])
    """

    def __init__(
        self,
        filters,
        operator,
        order=3,
        use_bias=True,
        kernel_initializer="glorot_uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        if filters < 1 or order < 1:
            raise ValueError(
                "filters and order must be at least 1. Received: "
                f"filters={filters}, order={order}"
            )
        if operator.shape[0] != operator.shape[1]:
            raise ValueError(
                "operator must be square, a rescaled Laplacian. Received: "
                f"operator.shape={operator.shape}"
            )
        self.filters = filters
        self.operator = operator
        self.order = order
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape):
        shapes = _shape_list(input_shape)
        for shape in shapes:
            if shape[1] != self.operator.shape[0]:
                raise ValueError(
                    "inputs must have the vertices of the operator, "
                    f"{self.operator.shape[0]}. Received: "
                    f"input_shape={input_shape}"
                )
        channels = sum(shape[-1] for shape in shapes)
        self.kernel = self.add_weight(
            shape=(self.order, channels, self.filters),
            initializer=_scaled_by_order(self.kernel_initializer),
            name="kernel",
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                shape=(self.filters,), initializer="zeros", name="bias"
            )

    def call(self, inputs):
        inputs = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
        channels = sum(x.shape[-1] for x in inputs)
        if self.filters < channels:
            outputs = self._mix_first(inputs)
        else:
            outputs = self._propagate_first(inputs)
        return outputs if self.bias is None else outputs + self.bias

    def compute_output_shape(self, input_shape):
        return (*_shape_list(input_shape)[0][:-1], self.filters)

    def get_config(self):
        config = super().get_config()
        config.update(
            filters=self.filters,
            operator=keras.saving.serialize_keras_object(self.operator),
            order=self.order,
            use_bias=self.use_bias,
            kernel_initializer=keras.initializers.serialize(
                self.kernel_initializer
            ),
        )
        return config

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        if not isinstance(config["operator"], MeshOperator):
            config["operator"] = keras.saving.deserialize_keras_object(
                config["operator"]
            )
        return cls(**config)

    def _mix_first(self, inputs):
        """Clenshaw: `b_k = y_k + 2 L b_{k+1} - b_{k+2}`, `y_0 + L b_1 - b_2`.

        The last terms are known to be zero and are left out, so the operator
        acts `order - 1` times.
        """
        # (order, channels, filters) as one matrix: (channels, order * filters).
        kernel = ops.reshape(
            ops.transpose(self.kernel, (1, 0, 2)),
            (-1, self.order * self.filters),
        )
        mixed, start = None, 0
        for x in inputs:
            stop = start + x.shape[-1]
            product = ops.matmul(x, kernel[start:stop])
            mixed = product if mixed is None else mixed + product
            start = stop
        terms = ops.split(mixed, self.order, axis=-1)
        if self.order == 1:
            return terms[0]
        following, current = None, terms[-1]
        for k in range(self.order - 2, 0, -1):
            step = terms[k] + 2.0 * self.operator(current)
            if following is not None:
                step = step - following
            following, current = current, step
        outputs = terms[0] + self.operator(current)
        return outputs if following is None else outputs - following

    def _propagate_first(self, inputs):
        x = inputs[0] if len(inputs) == 1 else ops.concatenate(inputs, axis=-1)
        outputs = ops.matmul(x, self.kernel[0])
        previous, current = None, x
        for k in range(1, self.order):
            step = self.operator(current)
            if previous is not None:
                step = 2.0 * step - previous
            previous, current = current, step
            outputs = outputs + ops.matmul(current, self.kernel[k])
        return outputs


def _shape_list(input_shape):
    """The shapes of a list of inputs, or of one."""
    if input_shape and isinstance(input_shape[0], list | tuple):
        return [tuple(shape) for shape in input_shape]
    return [tuple(input_shape)]


def _scaled_by_order(initializer):
    """Initialises each term's matrix so that the sum has unit gain.

    An initialiser would take the terms for a receptive field; drawing the
    whole as one `(order * channels, filters)` matrix gives the right fans.
    """

    def initialize(shape, dtype=None):
        order, channels, filters = shape
        values = initializer((order * channels, filters), dtype=dtype)
        return ops.reshape(values, shape)

    return initialize
