"""A sparse matrix as a string, to stand in a layer's configuration."""

from __future__ import annotations

import base64
import io

import numpy as np
from scipy import sparse


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
