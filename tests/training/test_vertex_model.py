import numpy as np
import pytest

from tf_facegcn.geometry.camera import compose_camera, project
from training.data.landmark_mirror import LANDMARK_MIRROR
from training.data.vertex_model import VertexModel, displacement_matrix

NUM_COMPONENTS = 3


@pytest.fixture(scope="module")
def vertex_model(miniature_model):
    generator = np.random.default_rng(0)
    half = generator.normal(size=(NUM_COMPONENTS, 68, 3))
    flipped = half[:, LANDMARK_MIRROR] * [-1, 1, 1]
    components = np.concatenate([half, flipped])
    return VertexModel.of_labels(miniature_model, np.zeros((68, 3)), components)


def test_displaced_landmark_arrives_and_far_vertices_stay(miniature_model):
    matrix = displacement_matrix(
        miniature_model.mean, miniature_model.landmarks
    )
    tip = 30
    moved = matrix[:, tip]
    assert moved[miniature_model.landmarks[tip]] > 0.85
    distance = np.linalg.norm(
        miniature_model.mean
        - miniature_model.mean[miniature_model.landmarks[tip]],
        axis=1,
    )
    # The Gaussians' tails, on a head 190 mm long.
    assert np.abs(moved[distance > 130]).max() < 0.1


def test_vertices_are_those_of_the_morphable_model(
    vertex_model, miniature_model
):
    generator = np.random.default_rng(1)
    shape, expression = generator.normal(size=4), generator.random(2)
    parameters = np.concatenate([shape, expression, np.zeros(6)])
    np.testing.assert_allclose(
        vertex_model.vertices(parameters[None])[0],
        miniature_model.vertices(shape, expression),
        atol=1e-3,
    )


def test_mirror_matrix_mirrors_the_face(vertex_model, miniature_model):
    parameters = np.random.default_rng(2).normal(size=(4, 12))
    mirrored = vertex_model.vertices(parameters @ vertex_model.mirror_matrix.T)
    expected = vertex_model.vertices(parameters)[:, miniature_model.mirror]
    expected = expected * [-1, 1, 1]
    np.testing.assert_allclose(mirrored, expected, atol=0.02)
    # The face is not its own mirror image.
    assert np.abs(vertex_model.vertices(parameters) - expected).max() > 1


def test_part_has_the_same_vertices_and_depth(vertex_model):
    indices = np.concatenate([vertex_model.landmarks, [1, 3]])
    part = vertex_model.subset(indices)
    parameters = np.random.default_rng(3).normal(size=(2, 12))
    np.testing.assert_allclose(
        part.vertices(parameters),
        vertex_model.vertices(parameters)[:, indices],
        atol=1e-4,
    )
    np.testing.assert_array_equal(part.landmarks, np.arange(68))
    cameras = compose_camera([1.0, 2.0], [10, 50], 0, 0, [5, 6, 7])
    np.testing.assert_array_equal(
        part.centered(parameters, cameras),
        vertex_model.centered(parameters, cameras),
    )


def test_centred_cameras_put_the_mean_depth_at_0(vertex_model):
    parameters = np.random.default_rng(4).normal(size=(2, 12))
    cameras = compose_camera([1.0, 2.0], [10, 50], 20, -5, [5, 6, 7])
    centered = vertex_model.centered(parameters, cameras)
    projected = project(vertex_model.vertices(parameters), centered)
    np.testing.assert_allclose(projected[..., 2].mean(axis=1), 0, atol=1e-4)
    np.testing.assert_allclose(centered[:, :2], cameras[:, :2], atol=1e-5)
