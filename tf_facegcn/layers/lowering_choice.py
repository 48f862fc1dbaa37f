"""Which lowering of a mesh operator is fastest, by measurement."""

import keras

# Up to as many vertices, a product takes as long as calling it, whichever the
# lowering is, and a gather need not be compiled first (docs/performance.md).
_FEW_VERTICES = 16


def choose_lowering(shape, backend=None, device=None):
    """Chooses the fastest lowering for a matrix.

    Args:
        shape: Tuple, `(rows, columns)` of the matrix.
        backend: String, the backend of Keras; `None` for the one in use.
        device: `"cpu"` or `"gpu"`; `None` for a GPU if TensorFlow sees one.

    Returns:
        String, a lowering of `MeshOperator`.
    """
    if (backend or keras.backend.backend()) != "tensorflow":
        return "gather"
    if (device or _device()) == "cpu" and max(shape) <= _FEW_VERTICES:
        return "gather"
    return "compiled"


def _device():
    # Imported here, as the package also runs on JAX alone.
    import tensorflow as tf

    return "gpu" if tf.config.list_physical_devices("GPU") else "cpu"
