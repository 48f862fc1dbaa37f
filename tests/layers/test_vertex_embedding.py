import numpy as np
import pytest

from tests.layers.contract import check_layer
from tf_facegcn.layers.vertex_embedding import VertexEmbedding


def test_keeps_the_contract(tmp_path):
    check_layer(VertexEmbedding, [(2, 4, 3)], [(2, 4, 3)], tmp_path)


def test_adds_the_same_features_to_every_example():
    layer = VertexEmbedding()
    layer.build((None, 2, 1))
    layer.embeddings.assign([[1.0], [-2.0]])
    outputs = layer(np.array([[[0.0], [0.0]], [[10.0], [20.0]]], "float32"))
    np.testing.assert_array_equal(outputs[:, :, 0], [[1, -2], [11, 18]])


def test_rejects_another_number_of_vertices():
    layer = VertexEmbedding()
    layer.build((None, 2, 1))
    with pytest.raises(ValueError, match="2 vertices"):
        layer(np.zeros((1, 3, 1), "float32"))
