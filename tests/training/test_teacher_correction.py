import numpy as np
import pytest

from tests.training.miniature import make_faces
from training.data.landmark_mirror import LANDMARK_MIRROR
from training.teacher_correction import (
    HUMAN_MIRROR,
    correct_teacher,
    human_point_matrix,
)


@pytest.fixture(scope="module")
def truth(miniature_model):
    return make_faces(miniature_model, 60, seed=4)[0]


@pytest.fixture(scope="module")
def reference(miniature_model):
    return miniature_model.mean[miniature_model.landmarks].astype(float)


@pytest.fixture(scope="module")
def human(truth):
    points = human_point_matrix() @ truth[..., :2]
    noise = np.random.default_rng(0).normal(0, 1.0, points.shape)
    return points + noise


def test_mirror_of_human_points_follows_that_of_landmarks():
    matrix = human_point_matrix()
    np.testing.assert_array_equal(
        matrix[list(HUMAN_MIRROR)], matrix[:, LANDMARK_MIRROR]
    )


def test_corrects_each_photos_own_error(truth, human, reference):
    generator = np.random.default_rng(1)
    shifts = generator.normal(0, 6, (60, 1, 2))
    teacher = truth.copy()
    teacher[..., :2] += shifts
    teacher[..., 0] = (teacher[..., 0] - 128) * 1.05 + 128
    before = np.abs(teacher - truth)[..., :2].mean()
    corrected = correct_teacher(teacher, human, reference)
    after = np.abs(corrected.landmarks - truth)[..., :2].mean()
    assert after < 0.35 * before
    assert corrected.distance_after.mean() < corrected.distance_before.mean()


def test_constant_difference_of_definition_is_no_error(
    truth, human, reference, miniature_model
):
    cameras = make_faces(miniature_model, 60, seed=4)[1]
    offset = np.zeros((21, 3))
    offset[[13, 15]] = [[-6, 4, 2], [6, 4, 2]]
    moved = human + np.einsum("nij,kj->nki", cameras[:, :2, :3], offset)
    corrected = correct_teacher(truth, moved, reference)
    np.testing.assert_allclose(corrected.offsets, offset, atol=0.8)
    assert np.abs(corrected.landmarks - truth)[..., :2].mean() < 0.6


def test_single_wrong_human_point_hardly_counts(truth, human, reference):
    wrong = human.copy()
    wrong[:, 6] += 60
    plain, robust = (
        correct_teacher(truth, points, reference).landmarks
        for points in (human, wrong)
    )
    assert np.abs(plain - robust).mean() < 1.0


def test_photo_without_human_points_stays_as_it_was(truth, human, reference):
    hidden = human.copy()
    hidden[7] = np.nan
    corrected = correct_teacher(truth, hidden, reference)
    np.testing.assert_allclose(corrected.landmarks[7], truth[7], atol=1e-9)
    assert corrected.distance_after[7] == 0
    assert np.isnan(corrected.human_targets[7]).all()
