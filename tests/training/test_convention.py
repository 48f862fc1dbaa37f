import numpy as np
import pytest

from tests.training.miniature import make_faces
from tf_facegcn.geometry.camera import decompose_camera, fit_camera
from training.convention import in_convention_of
from training.data.landmark_mirror import LANDMARK_MIRROR


@pytest.fixture(scope="module")
def teacher(miniature_model):
    return make_faces(miniature_model, 400, seed=9, largest_yaw=88)[0]


@pytest.fixture(scope="module")
def reference(miniature_model):
    return miniature_model.mean[miniature_model.landmarks].astype(float)


@pytest.fixture(scope="module")
def cameras(teacher, reference):
    return fit_camera(reference, teacher)


def drift_of(cameras):
    """A landmark goes up and outwards the more, the further heads turn.

    `(n, 68, 3)` crop units, of a left landmark or its mirror image.
    """
    turned = np.sin(np.radians(decompose_camera(cameras).yaw))
    upright = np.zeros((len(turned), 68, 3))
    upright[:, 4, 0], upright[:, 4, 1] = 6 * turned, -9 * turned
    right = LANDMARK_MIRROR[4]
    upright[:, right, 0], upright[:, right, 1] = 6 * turned, 9 * turned
    # The head's own down is where its axes point in the photo, also in profile,
    # where roll and pitch cannot be told apart.
    down = -cameras[:, :2, 1]
    down /= np.linalg.norm(down, axis=1, keepdims=True)
    right = np.stack([down[:, 1], -down[:, 0]], axis=1)
    drift = np.zeros_like(upright)
    drift[..., :2] = (
        upright[..., :1] * right[:, None] + upright[..., 1:2] * down[:, None]
    )
    return drift


def test_takes_off_what_depends_on_yaw(teacher, reference, cameras):
    # As sizes of faces differ, what is constant in units is not in shares.
    size = np.sqrt(np.ptp(teacher[..., :2], axis=1).prod(axis=1))
    drift = drift_of(cameras) * (size / size.mean())[:, None, None]
    moved = in_convention_of(teacher, teacher + drift, reference)
    assert np.abs(drift[:, 4]).max() > 6
    np.testing.assert_allclose(moved, teacher, atol=0.4)


def test_leaves_what_differs_from_photo_to_photo(teacher, reference):
    shifts = np.random.default_rng(0).normal(0, 4, (len(teacher), 1, 3))
    shifts[..., 2] = 0
    moved = in_convention_of(teacher, teacher + shifts, reference)
    left = moved - teacher
    # What seven coefficients can follow of the noise of 400 photos.
    assert np.abs(left - shifts).mean() < 0.15 * np.abs(shifts).mean()


def test_mean_depth_stays(teacher, reference):
    landmarks = teacher + np.array([0.0, 0.0, 70.0])
    moved = in_convention_of(teacher, landmarks, reference)
    np.testing.assert_allclose(moved, landmarks, atol=1e-9)


def test_single_wrong_photos_move_nothing(teacher, reference):
    landmarks = teacher.copy()
    landmarks[::20, :, :2] += 150
    moved = in_convention_of(teacher, landmarks, reference)
    right = np.arange(len(teacher)) % 20 > 0
    np.testing.assert_allclose(moved[right], teacher[right], atol=0.6)
