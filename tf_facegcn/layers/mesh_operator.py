"""MeshOperator: a fixed sparse matrix that acts on the vertices of a mesh."""

import functools

import keras
import numpy as np
from keras import ops
from scipy import sparse

from tf_facegcn.layers.lowering_choice import choose_lowering
from tf_facegcn.layers.matrix_encoding import decode_matrix, encode_matrix
from tf_facegcn.layers.matrix_products import (
    csr_product,
    gather_product,
    sparse_product,
)

LOWERINGS = ("auto", "compiled", "gather", "csr", "sparse")
_PRODUCTS = {
    "compiled": gather_product,
    "gather": gather_product,
    "csr": csr_product,
    "sparse": sparse_product,
}


@keras.saving.register_keras_serializable(package="tf_facegcn")
class MeshOperator:
    """A constant sparse matrix times the vertices of each example.

    One matrix, several lowerings with equal results:

    - `"gather"`: for each row a padded list of neighbours and weights, summed
      neighbour by neighbour. `keras.ops` only, so it runs in XLA, TensorFlow
      Lite, ONNX and JAX.
    - `"compiled"`: the same, each product compiled by XLA on its own, which
      fuses the sum and what is added to it. TensorFlow only.
    - `"csr"`: TensorFlow's product of compressed sparse rows, the fastest
      without XLA. TensorFlow only.
    - `"sparse"`: `tf.sparse.sparse_dense_matmul`. TensorFlow only.
    - `"auto"`: one of these by backend, device and size, from the
      measurements in docs/performance.md.

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
        self._compiled = {}

    @property
    def shape(self):
        """`(rows, columns)`."""
        return self.matrix.shape

    @functools.cached_property
    def resolved_lowering(self):
        """The lowering that runs, which `"auto"` leaves open.

        Raises:
            ValueError: If the backend does not have it.
        """
        backend = keras.backend.backend()
        lowering = self.lowering
        if lowering == "auto":
            lowering = choose_lowering(self.shape, backend)
        if lowering != "gather" and backend != "tensorflow":
            raise ValueError(
                f"The {backend} backend of Keras has the lowerings 'gather' "
                f"and 'auto' only. Received: lowering={lowering!r}"
            )
        return lowering

    @property
    def supports_jit(self):
        """Whether XLA can compile it as a part of a whole model.

        XLA has no kernels for TensorFlow's sparse matrices.
        """
        return self.resolved_lowering in ("compiled", "gather")

    @functools.cached_property
    def transpose(self):
        """The operator of the transposed matrix, itself if symmetric."""
        transposed = sparse.csr_array(self.matrix.T)
        transposed.sort_indices()
        if _are_equal(self.matrix, transposed):
            return self
        operator = MeshOperator(transposed, self.resolved_lowering)
        operator.transpose = self
        return operator

    def __call__(self, inputs):
        """Returns `(batch, rows, channels)`, of the dtype of `inputs`."""

        @ops.custom_gradient
        def multiply(x):
            def gradient(*args, upstream=None):
                # TensorFlow and JAX pass the upstream gradient by position,
                # Torch by name.
                (upstream,) = args or (upstream,)
                return self.transpose(upstream)

            return self.evaluate(_product_alone, x), gradient

        self.check(inputs)
        return multiply(inputs)

    def check(self, inputs):
        """Raises a `ValueError` if `inputs` have another mesh's vertices."""
        if len(inputs.shape) != 3 or inputs.shape[1] != self.shape[1]:
            raise ValueError(
                f"The operator acts on {self.shape[1]} vertices, (batch, "
                f"{self.shape[1]}, channels). Received: "
                f"inputs.shape={tuple(inputs.shape)}"
            )

    def evaluate(self, expression, *args):
        """Evaluates an expression that contains this product.

        The compiled lowering makes one kernel of it, so sums around the
        product cost no further pass over memory.

        Args:
            expression: Function of the product, itself a function of one
                tensor, and of `args`; returns a tensor. A function of a module
                rather than a closure, as it is compiled once for each.
            *args: Tensors, Python integers or `None`.

        Returns:
            What `expression` returns. Its gradient is the automatic one;
            callers that train give it a better one, as `__call__` does.
        """
        arrays, multiply = self._product
        if self.resolved_lowering == "compiled":
            return self._evaluate_compiled(expression, args)
        return expression(functools.partial(multiply, arrays), *args)

    def get_config(self):
        """Returns a configuration that JSON can hold."""
        return {"matrix": encode_matrix(self.matrix), "lowering": self.lowering}

    @classmethod
    def from_config(cls, config):
        """Restores an operator from `get_config`."""
        return cls(decode_matrix(config["matrix"]), config["lowering"])

    def _evaluate_compiled(self, expression, args):
        # Imported here, as the package also runs on JAX alone.
        import tensorflow as tf

        arrays, multiply = self._product
        # One function for each kind of arguments: TensorFlow warns of one
        # that is traced for many.
        key = (expression, *map(_kind, args))
        if key not in self._compiled:
            self._compiled[key] = _compile(expression, multiply)
        if tf.executing_eagerly():
            arrays = self._eager_arrays
        return self._compiled[key](arrays, *args)

    @functools.cached_property
    def _product(self):
        return _PRODUCTS[self.resolved_lowering](self.matrix)

    @functools.cached_property
    def _eager_arrays(self):
        """The product's arrays as tensors, to convert them once."""
        return keras.tree.map_structure(ops.convert_to_tensor, self._product[0])


def _product_alone(product, x):
    return product(x)


def _kind(argument):
    """What of an argument a function is traced for."""
    if argument is None or isinstance(argument, int):
        return argument
    return tuple(argument.shape), keras.backend.standardize_dtype(
        argument.dtype
    )


def _compile(expression, multiply):
    import tensorflow as tf

    # A partial, as TensorFlow takes functions of the same code for one.
    function = functools.partial(_evaluate, expression, multiply)
    return tf.function(function, jit_compile=True, autograph=False)


def _evaluate(expression, multiply, arrays, *args):
    # The arrays are arguments: XLA would keep several copies of constants.
    return expression(functools.partial(multiply, arrays), *args)


def _are_equal(first, second):
    return (
        first.shape == second.shape
        and np.array_equal(first.indptr, second.indptr)
        and np.array_equal(first.indices, second.indices)
        and np.array_equal(first.data, second.data)
    )
