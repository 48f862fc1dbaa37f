"""ChebConv: spectral graph convolution by Chebyshev polynomials."""

import keras
from keras import ops

from tf_facegcn.layers.chebyshev import clenshaw, propagate
from tf_facegcn.layers.mesh_operator import MeshOperator

# A step of the recurrence reads two terms and writes one. Its neighbours come
# from the cache: eight took as long as one more column (docs/performance.md).
_COLUMNS_OF_A_STEP, _COLUMNS_OF_A_NEIGHBOUR = 3, 1 / 8


@keras.saving.register_keras_serializable(package="tf_facegcn")
class ChebConv(keras.layers.Layer):
    """Chebyshev graph convolution on a fixed mesh (paper, Eq. 1 and 2).

    Computes `sum_k T_k(L) x W_k + b` with the rescaled Laplacian
    `L = 2 laplacian / lambda_max - I` and the Chebyshev polynomials
    `T_0 = 1`, `T_1 = L`, `T_k = 2 L T_{k-1} - T_{k-2}`.

    The polynomials act on vertices and the kernel on channels, so the two
    commute, and the cheaper order is taken: channels are mixed first, `y_k =
    x W_k`, and the sum of `T_k y_k` is Clenshaw's recurrence on the filters;
    or, where filters are many, the `T_k x` are propagated first. Both are
    exact.

    Reference: Defferrard et al., "Convolutional Neural Networks on Graphs
    with Fast Localized Spectral Filtering", 2016.

    Args:
        filters: Integer, number of output channels.
        operator: `MeshOperator` of the rescaled Laplacian, `(V, V)`.
        order: Integer, number of terms `T_0 ... T_{order-1}`; the paper uses
            3.
        use_bias: Boolean, whether a bias is added.
        upsampling: `MeshOperator` of `Q_u`, `(V, V_coarse)`, or `None`. It
            acts first, as a `MeshUpsampling` before this layer would. It too
            commutes with the kernel, so if the mixed channels are fewer, it
            acts on them.
        kernel_initializer: Initialiser of the `(order, channels, filters)`
            kernel.
        **kwargs: Arguments of `keras.layers.Layer`.

    Input shape:
        `(batch, V, channels)`, with `upsampling` `(batch, V_coarse,
        channels)`; or a list of such tensors, which is treated as their
        concatenation over channels without making it.

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
        upsampling=None,
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
        if upsampling is not None and upsampling.shape[0] != operator.shape[0]:
            raise ValueError(
                "upsampling must lead to the vertices of the operator, "
                f"{operator.shape[0]}. Received: upsampling.shape="
                f"{upsampling.shape}"
            )
        self.filters = filters
        self.operator = operator
        self.upsampling = upsampling
        self.supports_jit = operator.supports_jit and (
            upsampling is None or upsampling.supports_jit
        )
        self.order = order
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape):
        shapes = _shape_list(input_shape)
        first = self.operator if self.upsampling is None else self.upsampling
        for shape in shapes:
            if shape[1] != first.shape[1]:
                raise ValueError(
                    "inputs must have the vertices of the operator, "
                    f"{first.shape[1]}. Received: input_shape={input_shape}"
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
        outputs = self.convolve(inputs, self.kernel)
        return outputs if self.bias is None else outputs + self.bias

    def convolve(self, inputs, kernel):
        """Computes the layer's sum with a kernel that need not be its own.

        Args:
            inputs: As of the layer.
            kernel: `(order, channels, filters)` tensor.

        Returns:
            `(batch, V, filters)`, without the bias.
        """
        kernel = ops.convert_to_tensor(kernel)
        inputs = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
        channels = sum(x.shape[-1] for x in inputs)
        degree = self.operator.matrix.nnz / self.operator.shape[0]
        mixing = mixes_first(channels, self.filters, self.order, degree)
        upsampling = self.upsampling
        if upsampling is not None and not (
            mixing and self.order * self.filters < channels
        ):
            inputs, upsampling = [upsampling(x) for x in inputs], None
        if mixing:
            return self._mix_first(inputs, kernel, upsampling)
        return self._propagate_first(inputs, kernel)

    def compute_output_shape(self, input_shape):
        batch = _shape_list(input_shape)[0][0]
        return (batch, self.operator.shape[0], self.filters)

    def get_config(self):
        config = super().get_config()
        config.update(
            filters=self.filters,
            operator=keras.saving.serialize_keras_object(self.operator),
            order=self.order,
            use_bias=self.use_bias,
            upsampling=keras.saving.serialize_keras_object(self.upsampling),
            kernel_initializer=keras.initializers.serialize(
                self.kernel_initializer
            ),
        )
        return config

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        for name in ("operator", "upsampling"):
            if not isinstance(config[name], MeshOperator):
                config[name] = keras.saving.deserialize_keras_object(
                    config[name]
                )
        return cls(**config)

    def _mix_first(self, inputs, kernel, upsampling=None):
        """`sum_k T_k(L) Q (x W_k)`, with `Q` the up-sampling if any."""
        # The terms side by side, (channels, order * filters).
        # Not a transposition, which takes TensorFlow longer.
        kernel = ops.concatenate(
            [kernel[term] for term in range(self.order)], axis=-1
        )
        mixed = _mix(inputs, kernel)
        if upsampling is not None:
            mixed = upsampling(mixed)
        return clenshaw(self.operator, mixed, self.order)

    def _propagate_first(self, inputs, kernel):
        """`sum_k (T_k(L) x) W_k`."""
        outputs, start = None, 0
        for x in inputs:
            stop = start + x.shape[-1]
            rows = ops.reshape(kernel[:, start:stop], (-1, self.filters))
            mixed = _mix([propagate(self.operator, x, self.order)], rows)
            outputs = mixed if outputs is None else outputs + mixed
            start = stop
        return outputs


def mixes_first(channels, filters, order, degree):
    """Whether mixing channels before the polynomials moves less memory.

    Counts columns of one number for each vertex, read or written, which is
    what takes the time: the arithmetic is the same or much less.

    Args:
        channels: Integer, of the inputs.
        filters: Integer, of the outputs.
        order: Integer, number of terms.
        degree: Float, non-zeros of the operator a row.

    Returns:
        Boolean.
    """
    step = _COLUMNS_OF_A_STEP + degree * _COLUMNS_OF_A_NEIGHBOUR
    mixing = channels + order * filters + (order - 1) * step * filters
    propagating = (order - 1) * step * channels + 2 * order * channels + filters
    return mixing <= propagating


def _mix(inputs, kernel):
    """Multiplies the concatenation of inputs by a matrix, not making it."""
    outputs, start = None, 0
    for x in inputs:
        stop = start + x.shape[-1]
        # As one matrix, which is faster than one for each example.
        rows = ops.reshape(x, (-1, x.shape[-1]))
        product = ops.matmul(rows, kernel[start:stop])
        outputs = product if outputs is None else outputs + product
        start = stop
    return ops.reshape(outputs, (-1, inputs[0].shape[1], kernel.shape[1]))


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
