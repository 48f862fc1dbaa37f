"""Fixtures of the layers' tests: operators of small meshes."""

import keras
import numpy as np
import pytest
from scipy import sparse

from tf_facegcn.geometry.laplacian import (
    adjacency_matrix,
    laplacian_matrix,
)
from tf_facegcn.layers.mesh_operator import LOWERINGS, MeshOperator

AVAILABLE_LOWERINGS = (
    LOWERINGS if keras.backend.backend() == "tensorflow" else ("auto", "gather")
)


@pytest.fixture(params=AVAILABLE_LOWERINGS)
def lowering(request):
    """Each lowering that the backend has."""
    return request.param


@pytest.fixture
def rescaled_tetrahedron(tetrahedron):
    """Operator of `L = 2 (D - A) / 4 - I` on the tetrahedron.

    Each vertex has the three others as neighbours, so the entries are 1/2 on
    the diagonal and -1/2 off it, and `L @ L = I`.
    """
    adjacency = adjacency_matrix(tetrahedron.faces, 4)
    laplacian = laplacian_matrix(adjacency, "combinatorial")
    return MeshOperator(laplacian / 2.0 - sparse.identity(4))


@pytest.fixture
def random_matrix():
    """A `(12, 9)` matrix with an empty row, a long row and an empty column."""
    generator = np.random.default_rng(3)
    dense = generator.normal(size=(12, 9)) * (generator.random((12, 9)) < 0.3)
    dense[4] = 0.0
    dense[7] = generator.normal(size=9)
    dense[:, 2] = 0.0
    return sparse.csr_array(dense.astype("float32"))
