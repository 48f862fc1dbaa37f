import numpy as np
import pytest

from tests.layers.contract import check_layer
from tf_facegcn.layers.template_mesh import TemplateMesh

TEMPLATE = [[10.0, 20.0, 0.0], [14.0, 20.0, 8.0]]


@pytest.mark.parametrize("shapes", [[(2, 2, 3)], [(2, 2, 3), (2, 12)]])
def test_keeps_the_contract(shapes, tmp_path):
    def make_layer(**kwargs):
        return TemplateMesh(TEMPLATE, (10.0, 20.0, 0.0), 4.0, **kwargs)

    check_layer(make_layer, shapes, [(2, 2, 3)], tmp_path)


def test_zeros_give_the_template():
    layer = TemplateMesh(TEMPLATE)
    outputs = layer([np.zeros((1, 2, 3)), np.zeros((1, 12))])
    np.testing.assert_array_equal(outputs[0], TEMPLATE)


def test_adds_displacements_to_the_moved_template():
    layer = TemplateMesh(TEMPLATE, center=(10.0, 20.0, 0.0), radius=4.0)
    camera = np.zeros((1, 3, 4), "float32")
    camera[0, 0, 3] = 0.5  # translation in x, in steps of 20
    camera[0, 1, 0] = 0.1  # y grows with x
    displacements = np.full((1, 2, 3), 1.0, "float32")
    outputs = layer([displacements, camera.reshape(1, 12)])
    # The second vertex is one radius to the right: 0.1 * 20 further down.
    expected = [[10 + 10 + 1, 20 + 1, 0 + 1], [14 + 10 + 1, 20 + 2 + 1, 8 + 1]]
    np.testing.assert_allclose(outputs[0], expected, rtol=1e-6)


def test_rejects_displacements_of_another_mesh():
    with pytest.raises(ValueError, match=r"displacements \(batch, 2, 3\)"):
        TemplateMesh(TEMPLATE)(np.zeros((1, 3, 3), "float32"))


def test_rejects_a_template_in_the_plane():
    with pytest.raises(ValueError, match=r"\(V, 3\).*\(2, 2\)"):
        TemplateMesh(np.zeros((2, 2)))
