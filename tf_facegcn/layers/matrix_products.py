"""The lowerings of a mesh operator: ways to multiply by a sparse matrix.

Each function takes a CSR matrix of shape `(rows, columns)`, float32, and
returns the arrays that it is stored as, and a function of these arrays and of
`(batch, columns, channels)` inputs, which returns `(batch, rows, channels)` of
the inputs' dtype. Half precision is summed in float32.
"""

import keras
import numpy as np
from keras import ops

# TensorFlow's sparse products on GPUs refuse as many products of a non-zero
# with a column, or more.
PRODUCT_LIMIT = 2**31
# One table for all rows is padded to at most this times its entries; beyond,
# rows of like length have tables of their own, of widths that double.
_MOST_PADDING = 1.5
_NARROWEST_TABLE = 4
# Sums over more neighbours than this are one operation, not one for each.
_MOST_UNROLLED = 16


def gather_product(matrix):
    """Sums the neighbours of each row, listed in padded tables.

    `keras.ops` only.
    """
    groups = _rows_of_like_length(np.diff(matrix.indptr))
    tables = [_padded_table(matrix, rows) for rows in groups]
    # Where each row is in the concatenation of the groups.
    places = np.argsort(np.concatenate(groups), kind="stable").astype("int32")

    def multiply(arrays, inputs):
        tables, places = arrays
        dtype = _accumulator(inputs)
        sums = [_sum_neighbours(inputs, *table, dtype) for table in tables]
        if len(sums) > 1:
            sums = [ops.take(ops.concatenate(sums, axis=1), places, axis=1)]
        return ops.cast(sums[0], inputs.dtype)

    return (tables, places), multiply


def _sum_neighbours(inputs, indices, weights, dtype):
    """Sums `weights[d] * inputs[:, indices[d]]` over neighbours `d`."""
    weights = ops.cast(ops.convert_to_tensor(weights), dtype)[..., None]
    if indices.shape[0] > _MOST_UNROLLED:
        taken = ops.take(inputs, indices, axis=1)
        return ops.sum(ops.cast(taken, dtype) * weights, axis=1)
    total = 0.0
    for neighbour in range(indices.shape[0]):
        taken = ops.take(inputs, indices[neighbour], axis=1)
        total = total + ops.cast(taken, dtype) * weights[neighbour]
    return total


def sparse_product(matrix):
    """`tf.sparse.sparse_dense_matmul`, as the field knows it."""
    import tensorflow as tf

    def multiply(coordinates, values, columns):
        tensor = tf.SparseTensor(coordinates, values, matrix.shape)
        return tf.sparse.sparse_dense_matmul(tensor, columns)

    return _coordinates(matrix), _on_columns(multiply, matrix)


def csr_product(matrix):
    """TensorFlow's products of compressed sparse rows."""
    import tensorflow as tf

    def multiply(coordinates, values, columns):
        # Made anew each time, as a compressed matrix cannot stand in a
        # SavedModel.
        rows = tf.raw_ops.SparseTensorToCSRSparseMatrix(
            indices=coordinates, values=values, dense_shape=matrix.shape
        )
        outputs = tf.raw_ops.SparseMatrixMatMul(a=rows, b=columns)
        return tf.ensure_shape(outputs, (matrix.shape[0], None))

    return _coordinates(matrix), _on_columns(multiply, matrix)


def _on_columns(multiply, matrix):
    """A product of `(batch, columns, channels)` by one of matrices.

    The batch joins the channels as columns of the dense matrix. Too many of
    them are multiplied in parts.
    """
    import tensorflow as tf

    num_rows, num_columns = matrix.shape
    most = max(1, (PRODUCT_LIMIT - 1) // max(1, matrix.nnz))

    def multiply_in_parts(coordinates, values, columns):
        count = tf.shape(columns)[1]
        starts = tf.range(0, count, most)
        parts = tf.TensorArray(
            columns.dtype,
            tf.size(starts),
            infer_shape=False,
            element_shape=(None, num_rows),
        )

        def multiply_part(index, parts):
            start = starts[index]
            part = columns[:, start : tf.minimum(start + most, count)]
            part = multiply(coordinates, values, part)
            # Transposed, as a TensorArray joins its parts as rows.
            return index + 1, parts.write(index, tf.transpose(part))

        _, parts = tf.while_loop(
            lambda index, _: index < tf.size(starts),
            multiply_part,
            (0, parts),
            parallel_iterations=1,
        )
        return tf.transpose(parts.concat())

    def product(arrays, inputs):
        channels = inputs.shape[2]
        # There is no kernel for half precision.
        x = tf.cast(inputs, _accumulator(inputs))
        x = tf.reshape(tf.transpose(x, (1, 0, 2)), (num_columns, -1))
        coordinates, values = arrays[0], tf.cast(arrays[1], x.dtype)
        if x.shape[1] is None:
            x = tf.cond(
                tf.shape(x)[1] <= most,
                lambda: multiply(coordinates, values, x),
                lambda: multiply_in_parts(coordinates, values, x),
            )
        elif x.shape[1] <= most:
            x = multiply(coordinates, values, x)
        else:
            x = multiply_in_parts(coordinates, values, x)
        x = tf.reshape(x, (num_rows, -1, channels))
        return tf.cast(tf.transpose(x, (1, 0, 2)), inputs.dtype)

    return product


def _accumulator(inputs):
    """The dtype of sums: float32, float64 for float64."""
    dtype = keras.backend.standardize_dtype(inputs.dtype)
    return dtype if dtype == "float64" else "float32"


def _rows_of_like_length(lengths):
    """Splits rows into groups whose tables are not padded much."""
    longest = int(lengths.max(initial=1))
    if len(lengths) * longest <= _MOST_PADDING * lengths.sum():
        return [np.arange(len(lengths))]
    widths = [_NARROWEST_TABLE]
    while widths[-1] < longest:
        widths.append(2 * widths[-1])
    group_of_row = np.searchsorted(widths, lengths)
    groups = [np.flatnonzero(group_of_row == g) for g in range(len(widths))]
    return [rows for rows in groups if len(rows)]


def _padded_table(matrix, rows):
    """Indices and weights of the given rows, `(longest, rows)` each."""
    starts, lengths = matrix.indptr[rows], np.diff(matrix.indptr)[rows]
    offsets = np.arange(max(1, lengths.max(initial=0)))
    valid = offsets < lengths[:, None]
    if matrix.nnz == 0:
        zeros = np.zeros(valid.T.shape, "float32")
        return zeros.astype("int32"), zeros
    places = np.where(valid, starts[:, None] + offsets, 0)
    indices = np.where(valid, matrix.indices[places], 0).astype("int32")
    weights = np.where(valid, matrix.data[places], 0.0).astype("float32")
    return indices.T.copy(), weights.T.copy()


def _coordinates(matrix):
    entries = matrix.tocoo()
    coordinates = np.stack([entries.row, entries.col], axis=1).astype("int64")
    return coordinates, entries.data
