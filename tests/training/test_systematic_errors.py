import numpy as np
import pytest

from tests.training.miniature import make_faces
from tf_facegcn.geometry.camera import (
    compose_camera,
    decompose_camera,
    fit_camera,
    project,
)
from training.data.landmark_mirror import LANDMARK_MIRROR
from training.systematic_errors import (
    TURN_YAWS,
    find_systematic_errors,
    turned_back,
)
from training.teacher_correction import HUMAN_MIRROR, human_point_matrix

SHIFT = np.array([1.2, -0.8])
TURNS = np.array([0.0, 1.0, 2.5, 1.5, -1.0])


@pytest.fixture(scope="module")
def reference(miniature_model):
    return miniature_model.mean[miniature_model.landmarks].astype(float)


@pytest.fixture(scope="module")
def truth(miniature_model):
    return make_faces(miniature_model, 1500, seed=2, largest_yaw=88)[0]


@pytest.fixture(scope="module")
def teacher(truth, reference):
    """Turns heads too far, and errs in shift and size besides."""
    generator = np.random.default_rng(3)
    turned = turned_back(truth, reference, -TURNS)
    size = generator.normal(1, 0.03, (len(truth), 1, 1))
    shift = generator.normal(0, 3, (len(truth), 1, 3))
    mean = turned.mean(axis=1, keepdims=True)
    return mean + size * (turned - mean) + shift


@pytest.fixture(scope="module")
def human(truth):
    generator = np.random.default_rng(4)
    points = human_point_matrix() @ truth[..., :2] + SHIFT
    points += generator.normal(0, 2, points.shape)
    points[generator.uniform(size=points.shape[:2]) < 0.03] += 40  # Wrong.
    points[generator.uniform(size=points.shape[:2]) < 0.3] = np.nan
    return points


def test_turns_back_about_the_heads_own_axis(reference):
    yaws = np.array([-70.0, -45, 0, 45, 70])
    faces = [
        project(reference, compose_camera(2, yaw, 20, -35, [90, 120, 0]))
        for yaw in yaws
    ]
    back = turned_back(np.stack(faces), reference, np.full(5, 5.0))
    np.testing.assert_allclose(
        back.mean(axis=1), np.mean(faces, axis=1), atol=1e-9
    )
    angles = decompose_camera(fit_camera(reference, back))
    # By the pitch of 20 degrees, a part of the turn becomes roll and pitch.
    turn = np.sign(yaws) * (np.abs(yaws) - np.abs(angles.yaw))
    np.testing.assert_allclose(np.abs(turn[[1, 3]]), 5, atol=0.5)
    assert abs(turn[2]) < 1e-9
    np.testing.assert_allclose(turn[0], -turn[4], atol=1)


def test_finds_the_turns_and_the_shift(teacher, human, reference):
    found = find_systematic_errors(teacher, human, reference)
    assert len(found.turns) == len(TURN_YAWS)
    np.testing.assert_allclose(found.image_shift, SHIFT, atol=0.25)
    np.testing.assert_allclose(found.turns, TURNS, atol=0.7)


def test_finds_nothing_where_nothing_is_off(truth, human, reference):
    found = find_systematic_errors(truth, human - SHIFT, reference)
    np.testing.assert_allclose(found.image_shift, 0, atol=0.1)
    np.testing.assert_allclose(found.turns, 0, atol=0.4)


def test_mirrored_photos_are_turned_alike(teacher, human, reference):
    flip = np.array([-1.0, 1.0, 1.0])
    mirrored = find_systematic_errors(
        teacher[:, LANDMARK_MIRROR] * flip,
        human[:, list(HUMAN_MIRROR)] * flip[:2],
        reference,
    )
    found = find_systematic_errors(teacher, human, reference)
    np.testing.assert_allclose(mirrored.turns, found.turns, atol=0.05)
    np.testing.assert_allclose(
        mirrored.image_shift, found.image_shift * flip[:2], atol=0.05
    )


def test_without_human_points_nothing_is_found(teacher, human, reference):
    found = find_systematic_errors(teacher, human * np.nan, reference)
    np.testing.assert_array_equal(found.image_shift, 0)
    np.testing.assert_array_equal(found.turns, 0)
    few = find_systematic_errors(teacher[:5], human[:5], reference)
    assert np.abs(few.turns).max() < 1
