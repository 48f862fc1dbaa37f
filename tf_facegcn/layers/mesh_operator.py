"""MeshOperator: a fixed sparse matrix that acts on the vertices of a mesh."""

from __future__ import annotations

import base64
import io

import keras
import numpy as np
from keras import ops
from scipy import sparse

LOWERINGS = ("auto", "compiled", "gather", "sparse")

# A padded table is as wide as this share of the rows needs; the entries of
# longer rows go to a second, short table.
_ROWS_COVERED = 0.9


@keras.saving.register_keras_serializable(package="tf_facegcn")
class MeshOperator:
    """A constant sparse matrix times the vertices of each example.

    One matrix, several lowerings with equal results:

    - `"gather"`: for each row a padded list of neighbours and weights, summed
      neighbour by neighbour. `keras.ops` only, so it runs in XLA, TensorFlow
      Lite, ONNX and JAX.
    - `"compiled"`: the same, each product compiled by XLA on its own, which
      fuses the sum (TensorFlow only, elsewhere it is `"gather"`).
    - `"sparse"`: `tf.sparse.sparse_dense_matmul` (TensorFlow only).
    - `"auto"`: `"compiled"` with TensorFlow, `"gather"` otherwise. Measured
      with batch 32 on two CPU cores, forward and backward, at 4,096 vertices
      and 16 channels: 5 ms compiled, 28 gather, 30 sparse.

    The gradient is the product with the transposed matrix, lowered the same
    way: the automatic gradient of a gather would scatter, which is slow.

    Args:
        matrix: SciPy sparse matrix, `(rows, columns)`.
        lowering: One of the above.

    Call arguments:
        inputs: `(batch, columns, channels)` float tensor.

    Example:
        >>> swap = MeshOperator(sparse.csr_array([[0, 1.0], [1, 0]]))
        >>> print(swap(ops.array([[[1.0], [2.0]]]))[0, :, 0].numpy())
        [2. 1.]
    """

    def __init__(self, matrix, lowering="auto"):
        if not sparse.issparse(matrix) or matrix.ndim != 2:
            raise ValueError(
                "matrix must be a SciPy sparse matrix. Received: matrix of "
                f"type {type(matrix).__name__}"
            )
        if lowering not in LOWERINGS:
            raise ValueError(
                f"lowering must be one of {LOWERINGS}. Received: "
                f"lowering={lowering!r}"
            )
        self.matrix = sparse.csr_array(matrix, dtype=np.float32, copy=True)
        self.matrix.sort_indices()
        self.lowering = lowering
        self._forward, self._backward = self._lower()

    @property
    def shape(self):
        """`(rows, columns)`."""
        return self.matrix.shape

    def __call__(self, inputs):
        """Returns `(batch, rows, channels)`, of the dtype of `inputs`."""
        if inputs.shape[1] != self.shape[1]:
            raise ValueError(
                f"The operator acts on {self.shape[1]} vertices. Received: "
                f"inputs.shape={tuple(inputs.shape)}"
            )

        @ops.custom_gradient
        def product(x):
            def gradient(*args, upstream=None):
                # TensorFlow and JAX pass the upstream gradient by position,
                # Torch by name.
                (upstream,) = args or (upstream,)
                return self._backward(upstream)

            return self._forward(x), gradient

        return product(inputs)

    def get_config(self):
        """Returns a configuration that JSON can hold."""
        return {"matrix": encode_matrix(self.matrix), "lowering": self.lowering}

    @classmethod
    def from_config(cls, config):
        """Restores an operator from `get_config`."""
        return cls(decode_matrix(config["matrix"]), config["lowering"])

    def _lower(self):
        transposed = sparse.csr_array(self.matrix.T)
        transposed.sort_indices()
        lowering = self.lowering
        if lowering == "auto":
            lowering = "compiled"
        if lowering == "sparse":
            return _sparse_product(self.matrix), _sparse_product(transposed)
        forward, backward = _Gather(self.matrix), _Gather(transposed)
        if lowering == "compiled" and keras.backend.backend() == "tensorflow":
            return _compiled(forward), _compiled(backward)
        return forward, backward


class _Gather:
    """Sums neighbours by a padded table, long rows by a second one."""

    def __init__(self, matrix):
        lengths = np.diff(matrix.indptr)
        self._num_rows = len(lengths)
        longest = int(lengths.max(initial=1))
        width = max(1, int(np.quantile(lengths, _ROWS_COVERED)))
        if longest <= width + 2:
            width = longest
        self._table = _padded_table(matrix, width)
        self._remainder = None
        if longest > width:
            self._remainder = _remainder_table(matrix, width)

    def __call__(self, inputs):
        total = _gather_sum(inputs, *self._table)
        if self._remainder is not None:
            indices, weights, places = self._remainder
            extra = _gather_sum(inputs, indices, weights)
            # A row of zeros is what all rows without a remainder take.
            extra = ops.pad(extra, [[0, 0], [1, 0], [0, 0]])
            total = total + ops.take(extra, places, axis=1)
        return ops.cast(total, inputs.dtype)


def _gather_sum(inputs, indices, weights):
    """Sums `weights[:, d] * inputs[:, indices[:, d]]` over neighbours `d`.

    Half precision is summed in float32.
    """
    dtype = keras.backend.result_type(inputs.dtype, "float32")
    weights = ops.cast(ops.convert_to_tensor(weights), dtype)
    total = 0.0
    for neighbour in range(indices.shape[1]):
        taken = ops.take(inputs, indices[:, neighbour], axis=1)
        total = total + ops.cast(taken, dtype) * weights[:, neighbour, None]
    return total


def _padded_table(matrix, width):
    """`(rows, width)` indices and weights of each row's first entries."""
    starts, lengths = matrix.indptr[:-1], np.diff(matrix.indptr)
    offsets = np.arange(width)
    valid = offsets < lengths[:, None]
    places = np.where(valid, starts[:, None] + offsets, 0)
    indices = np.where(valid, matrix.indices[places], 0).astype("int32")
    weights = np.where(valid, matrix.data[places], 0.0).astype("float32")
    return indices, weights


def _remainder_table(matrix, width):
    """The entries beyond `width`, and each row's place in them plus one."""
    lengths = np.diff(matrix.indptr)
    long = np.flatnonzero(lengths > width)
    valid = np.arange(lengths.max() - width) < (lengths[long] - width)[:, None]
    places = matrix.indptr[long][:, None] + width + np.arange(valid.shape[1])
    places = np.where(valid, places, 0)
    indices = np.where(valid, matrix.indices[places], 0).astype("int32")
    weights = np.where(valid, matrix.data[places], 0.0).astype("float32")
    row_places = np.zeros(len(lengths), dtype="int32")
    row_places[long] = np.arange(1, len(long) + 1)
    return indices, weights, row_places


def _compiled(function):
    # Imported here, as the package also runs on JAX alone.
    import tensorflow as tf

    return tf.function(function, jit_compile=True, autograph=False)


def _sparse_product(matrix):
    import tensorflow as tf

    coordinates = matrix.tocoo()
    tensor = tf.SparseTensor(
        np.stack([coordinates.row, coordinates.col], axis=1).astype("int64"),
        coordinates.data,
        matrix.shape,
    )
    num_rows, num_columns = matrix.shape

    def product(inputs):
        channels = inputs.shape[2]
        # The batch joins the channels as columns of one product; there is no
        # kernel for half precision.
        columns = tf.reshape(
            tf.transpose(tf.cast(inputs, tf.float32), (1, 0, 2)),
            (num_columns, -1),
        )
        outputs = tf.sparse.sparse_dense_matmul(tensor, columns)
        outputs = tf.reshape(outputs, (num_rows, -1, channels))
        return tf.cast(tf.transpose(outputs, (1, 0, 2)), inputs.dtype)

    return product


def encode_matrix(matrix):
    """Encodes a sparse matrix as a short ASCII string.

    Args:
        matrix: SciPy sparse matrix; its values are stored as float32.

    Returns:
        A string: base64 of a compressed `.npz` of the CSR arrays.
    """
    matrix = sparse.csr_array(matrix, dtype=np.float32)
    buffer = io.BytesIO()
    sparse.save_npz(buffer, sparse.csr_matrix(matrix), compressed=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def decode_matrix(text):
    """Decodes what `encode_matrix` returned, as a CSR array."""
    buffer = io.BytesIO(base64.b64decode(text))
    return sparse.csr_array(sparse.load_npz(buffer))
