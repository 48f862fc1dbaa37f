import numpy as np
import pytest
from scipy import sparse

from tests.layers.contract import check_layer
from tf_facegcn.layers.mesh_operator import MeshOperator
from tf_facegcn.layers.mesh_upsampling import MeshUpsampling

# Vertices 0 and 2 are kept, vertex 1 lies halfway.
HALFWAY = sparse.csr_array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])


def test_keeps_the_contract(tmp_path):
    def make_layer(**kwargs):
        return MeshUpsampling(MeshOperator(HALFWAY), **kwargs)

    check_layer(make_layer, [(2, 2, 4)], [(2, 3, 4)], tmp_path)


def test_interpolates_between_kept_vertices():
    layer = MeshUpsampling(MeshOperator(HALFWAY))
    outputs = layer(np.array([[[2.0, 0.0], [4.0, 1.0]]], "float32"))
    np.testing.assert_array_equal(outputs[0], [[2, 0], [3, 0.5], [4, 1]])


def test_a_smooth_function_keeps_its_values_on_a_hierarchy(tiny_hierarchy):
    coarse, fine = tiny_hierarchy.levels[2], tiny_hierarchy.levels[1]
    layer = MeshUpsampling(MeshOperator(coarse.upsampling))
    outputs = layer(coarse.mesh.vertices[None].astype("float32"))[0]
    np.testing.assert_allclose(
        np.array(outputs)[coarse.kept], coarse.mesh.vertices, atol=1e-6
    )
    # A coarse surface of 64 vertices lies inside the sphere, but not far.
    radius = np.linalg.norm(fine.mesh.vertices, axis=1).mean()
    distances = np.linalg.norm(outputs - fine.mesh.vertices, axis=1)
    assert distances.mean() < 0.15 * radius


def test_rejects_inputs_of_another_level():
    layer = MeshUpsampling(MeshOperator(HALFWAY))
    with pytest.raises(ValueError, match="coarse level's vertices, 2"):
        layer(np.zeros((1, 3, 1), "float32"))
