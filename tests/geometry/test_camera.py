import numpy as np
import pytest

from tf_facegcn.geometry.camera import (
    compose_camera,
    decompose_camera,
    fit_camera,
    project,
    rotation_matrix,
)

NOSE = [0.0, 0.0, 1.0]
RIGHT_EAR_IN_THE_PICTURE = [1.0, 0.0, 0.0]


@pytest.fixture
def points():
    return np.random.default_rng(3).normal(size=(12, 3)) * [70, 90, 60]


def test_positive_yaw_turns_the_nose_to_the_images_right():
    x, y, _ = project([NOSE], compose_camera(1, 30, 0, 0, [0, 0, 0]))[0]
    np.testing.assert_allclose([x, y], [0.5, 0.0], atol=1e-12)


def test_positive_pitch_turns_the_nose_down():
    x, y, _ = project([NOSE], compose_camera(1, 0, 30, 0, [0, 0, 0]))[0]
    np.testing.assert_allclose([x, y], [0.0, 0.5], atol=1e-12)


def test_positive_roll_turns_counter_clockwise_as_seen():
    x, y, _ = project(
        [RIGHT_EAR_IN_THE_PICTURE], compose_camera(1, 0, 0, 30, [0, 0, 0])
    )[0]
    # What was on the right moves up, and up is smaller y in pixels.
    np.testing.assert_allclose([x, y], [np.sqrt(0.75), -0.5], atol=1e-12)


def test_rotation_is_roll_after_yaw_after_pitch():
    yaw, pitch, roll = 20, -35, 50
    expected = (
        rotation_matrix(0, 0, roll)
        @ rotation_matrix(yaw, 0, 0)
        @ rotation_matrix(0, pitch, 0)
    )
    np.testing.assert_allclose(
        rotation_matrix(yaw, pitch, roll), expected, atol=1e-12
    )


def test_decomposing_gives_back_what_was_composed():
    generator = np.random.default_rng(0)
    parameters = (
        generator.uniform(0.5, 3, (4, 5)),
        generator.uniform(-89, 89, (4, 5)),
        generator.uniform(-170, 170, (4, 5)),
        generator.uniform(-170, 170, (4, 5)),
        generator.normal(size=(4, 5, 3)),
    )
    camera = compose_camera(*parameters)
    assert camera.shape == (4, 5, 3, 4)
    for found, expected in zip(
        decompose_camera(camera), parameters, strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("yaw", [90, -90])
def test_decomposes_a_profile_view_to_the_same_camera(yaw):
    camera = compose_camera(1.5, yaw, 20, -10, [1, 2, 3])
    found = decompose_camera(camera)
    np.testing.assert_allclose(compose_camera(*found), camera, atol=1e-7)
    assert found.yaw == pytest.approx(yaw)


def test_mirroring_camera_is_refused():
    camera = np.hstack([np.eye(3), np.zeros((3, 1))])
    with pytest.raises(ValueError, match=r"mirror.*Received"):
        decompose_camera(camera)


def test_scale_of_zero_is_refused():
    with pytest.raises(ValueError, match=r"positive.*scale=0"):
        compose_camera(0.0, 0, 0, 0, [0, 0, 0])


@pytest.mark.parametrize("dimensions", [2, 3])
def test_fits_the_camera_that_made_the_targets(points, dimensions):
    camera = compose_camera(
        [0.8, 1.2, 2.0], [80, -40, 5], [20, -30, 0], [-40, 170, 3], [5, 6, 7]
    )
    targets = project(points, camera)[..., :dimensions]
    fitted = fit_camera(points, targets)
    np.testing.assert_allclose(fitted[:, :2], camera[:, :2], atol=1e-8)
    np.testing.assert_allclose(fitted[:, :, :3], camera[:, :, :3], atol=1e-8)
    if dimensions == 2:
        depth = project(points, fitted)[..., 2]
        np.testing.assert_allclose(depth.mean(axis=-1), 0, atol=1e-9)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_no_camera_nearby_fits_noisy_targets_better(points, dimensions):
    generator = np.random.default_rng(1)
    camera = compose_camera(1.0, 35, 10, -20, [60, 60, 0])
    targets = project(points, camera) + generator.normal(0, 6, points.shape)
    targets = targets[:, :dimensions]
    weights = generator.uniform(0.2, 1, len(points))

    def error(candidate):
        offset = project(points, candidate)[:, :dimensions] - targets
        return weights @ np.sum(offset**2, axis=-1)

    fitted = fit_camera(points, targets, weights)
    best = error(fitted)
    scale, yaw, pitch, roll, translation = decompose_camera(fitted)
    for step in (-0.05, 0.05):
        for neighbour in (
            (scale * (1 + step / 10), yaw, pitch, roll, translation),
            (scale, yaw + step * 4, pitch, roll, translation),
            (scale, yaw, pitch + step * 4, roll, translation),
            (scale, yaw, pitch, roll + step * 4, translation),
            (scale, yaw, pitch, roll, translation + step * 4),
        ):
            assert error(compose_camera(*neighbour)) >= best


def test_points_without_weight_do_not_count(points):
    camera = compose_camera(1.0, 20, 0, 0, [0, 0, 0])
    targets = project(points, camera)
    targets[0] += 1000
    weights = np.ones(len(points))
    weights[0] = 0
    np.testing.assert_allclose(
        fit_camera(points, targets, weights), camera, atol=1e-9
    )


def test_fit_says_which_shapes_it_wants(points):
    with pytest.raises(ValueError, match=r"targets\.shape=\(11, 3\)"):
        fit_camera(points, points[1:])
