import numpy as np
import pytest

from tests.layers.contract import check_layer
from tests.layers.gradients import gradient
from tf_facegcn.layers.mesh_operator import MeshOperator
from tf_facegcn.layers.mesh_upsampling import MeshUpsampling
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


def _upsampled(random_matrix, lowering="gather"):
    """A template of 12 vertices whose displacements come from 9."""
    template = np.random.default_rng(0).normal(0.0, 5.0, (12, 3))
    operator = MeshOperator(random_matrix, lowering)
    arguments = {"center": (1.0, 2.0, 3.0), "radius": 4.0}
    return (
        TemplateMesh(template, upsampling=operator, **arguments),
        MeshUpsampling(operator),
        TemplateMesh(template, **arguments),
    )


def _inputs(count=2):
    generator = np.random.default_rng(1)
    return [
        generator.normal(size=(count, *shape)).astype("float32")
        for shape in ((9, 3), (12,))
    ]


@pytest.mark.parametrize("shapes", [[(2, 9, 3)], [(2, 9, 3), (2, 12)]])
def test_keeps_the_contract_with_an_upsampling(shapes, random_matrix, tmp_path):
    template = np.zeros((12, 3), "float32")

    def make_layer(**kwargs):
        operator = MeshOperator(random_matrix, "gather")
        return TemplateMesh(template, upsampling=operator, **kwargs)

    check_layer(make_layer, shapes, [(2, 12, 3)], tmp_path)


def test_upsamples_the_displacements_first(lowering, random_matrix):
    whole, upsampling, template_mesh = _upsampled(random_matrix, lowering)
    displacements, cameras = _inputs()
    upsampled = upsampling(displacements)
    np.testing.assert_allclose(
        whole([displacements, cameras]),
        template_mesh([upsampled, cameras]),
        rtol=1e-4,
        atol=1e-4,
    )
    alone = _upsampled(random_matrix, lowering)[0]
    np.testing.assert_allclose(
        alone(displacements), template_mesh(upsampled), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("index", [0, 1])
def test_gradients_are_those_of_both_steps(index, lowering, random_matrix):
    whole, upsampling, template_mesh = _upsampled(random_matrix, lowering)
    inputs = _inputs()
    weights = np.random.default_rng(2).normal(size=(2, 12, 3))
    weights = weights.astype("float32")

    def in_one(x):
        arguments = list(inputs)
        arguments[index] = x
        return whole(arguments) * weights

    def in_two(x):
        arguments = list(inputs)
        arguments[index] = x
        displacements, cameras = arguments
        return template_mesh([upsampling(displacements), cameras]) * weights

    np.testing.assert_allclose(
        gradient(in_one, inputs[index]),
        gradient(in_two, inputs[index]),
        rtol=1e-4,
        atol=1e-4,
    )


def test_rejects_an_upsampling_to_another_mesh(random_matrix):
    with pytest.raises(ValueError, match=r"upsampling\.shape=\(12, 9\)"):
        TemplateMesh(TEMPLATE, upsampling=MeshOperator(random_matrix))
