import keras
import numpy as np
import pytest
from scipy import sparse

from tf_facegcn.geometry.mesh_hierarchy import MeshHierarchy
from tf_facegcn.layers import matrix_products
from tf_facegcn.layers.matrix_products import (
    csr_product,
    gather_product,
    sparse_product,
)
from tf_facegcn.models.face_gcn import HIERARCHY_FILE

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
PRODUCTS = (
    [gather_product, csr_product, sparse_product]
    if ON_TENSORFLOW
    else [gather_product]
)


@pytest.fixture(scope="module")
def hierarchy():
    """The bundled head's, 53,215 vertices down to 16."""
    return MeshHierarchy.load(HIERARCHY_FILE)


def _product(make_product, matrix):
    """The product as a function of its inputs."""
    arrays, multiply = make_product(matrix)
    return lambda inputs: multiply(arrays, inputs)


def _matrices(hierarchy, level):
    yield sparse.csr_array(hierarchy.levels[level].laplacian)
    if level:
        upsampling = sparse.csr_array(hierarchy.levels[level].upsampling)
        yield upsampling
        yield sparse.csr_array(upsampling.T)


@pytest.mark.slow
@pytest.mark.parametrize("level", range(7))
def test_products_are_equal_on_every_level_of_the_head(level, hierarchy):
    generator = np.random.default_rng(0)
    for matrix in _matrices(hierarchy, level):
        matrix = matrix.astype("float32")
        matrix.sort_indices()
        for batch in (1, 4):
            inputs = generator.normal(size=(batch, matrix.shape[1], 3))
            expected = np.stack([matrix.astype("float64") @ x for x in inputs])
            scale = np.abs(expected).max()
            for make_product in PRODUCTS:
                product = _product(make_product, matrix)
                outputs = product(inputs.astype("float32"))
                np.testing.assert_allclose(
                    outputs, expected, rtol=1e-5, atol=1e-6 * scale
                )
            if ON_TENSORFLOW:
                import tensorflow as tf

                product = _product(gather_product, matrix)
                outputs = tf.function(product, jit_compile=True)(
                    inputs.astype("float32")
                )
                np.testing.assert_allclose(
                    outputs, expected, rtol=1e-5, atol=1e-6 * scale
                )


@pytest.mark.skipif(not ON_TENSORFLOW, reason="is about TensorFlow")
@pytest.mark.parametrize("make_product", [csr_product, sparse_product])
def test_large_products_are_split_with_equal_results(
    make_product, random_matrix, monkeypatch
):
    import tensorflow as tf

    inputs = np.random.default_rng(0).normal(size=(3, 9, 5)).astype("float32")
    whole = _product(make_product, random_matrix)(inputs)
    multiplied = []
    for name in ("matmul", "sparse_dense_matmul"):
        _count_columns(monkeypatch, tf, name, multiplied)
    # Two columns at a time, of which there are fifteen.
    limit = 2 * random_matrix.nnz + 1
    monkeypatch.setattr(matrix_products, "PRODUCT_LIMIT", limit)
    split = _product(make_product, random_matrix)
    np.testing.assert_allclose(split(inputs), whole, rtol=1e-5)
    assert multiplied == 7 * [2] + [1]
    # In a graph, of a batch that is known when it runs only.
    in_graph = tf.function(split, input_signature=[tf.TensorSpec((None, 9, 5))])
    np.testing.assert_allclose(in_graph(inputs), whole, rtol=1e-5)
    np.testing.assert_allclose(in_graph(inputs[:1]), whole[:1], rtol=1e-5)


def _count_columns(monkeypatch, tf, name, multiplied):
    """Appends the columns of each product that is made."""
    if name == "matmul":
        place, name = tf.raw_ops, "SparseMatrixMatMul"
    else:
        place = tf.sparse
    original = getattr(place, name)

    def counting(*args, **kwargs):
        columns = kwargs["b"] if "b" in kwargs else args[1]
        multiplied.append(columns.shape[1])
        return original(*args, **kwargs)

    monkeypatch.setattr(place, name, counting)


def test_the_limit_is_that_of_tensorflow():
    assert matrix_products.PRODUCT_LIMIT == 2**31


@pytest.mark.parametrize("make_product", PRODUCTS)
def test_a_matrix_of_zeros_gives_zeros(make_product):
    product = _product(make_product, sparse.csr_array((4, 3), dtype="float32"))
    outputs = np.array(product(np.ones((2, 3, 5), "float32")))
    np.testing.assert_array_equal(outputs, np.zeros((2, 4, 5)))


@pytest.mark.parametrize("longest", [3, 8, 40])
def test_rows_of_any_length_are_summed(longest):
    # 100 rows of two neighbours, one of none and one of many more.
    generator = np.random.default_rng(0)
    dense = np.zeros((102, 50), "float32")
    for row in range(1, 102):
        count = longest if row == 60 else 2
        columns = generator.choice(50, count, replace=False)
        dense[row, columns] = generator.normal(size=count)
    inputs = generator.normal(size=(2, 50, 4)).astype("float32")
    product = _product(gather_product, sparse.csr_array(dense))
    np.testing.assert_allclose(product(inputs), dense @ inputs, atol=1e-5)


def test_a_long_row_does_not_pad_the_others():
    groups = matrix_products._rows_of_like_length(np.array([2, 40, 2, 3, 9]))
    assert [list(rows) for rows in groups] == [[0, 2, 3], [4], [1]]
    groups = matrix_products._rows_of_like_length(np.array([6, 7, 7, 8]))
    assert [list(rows) for rows in groups] == [[0, 1, 2, 3]]
