import numpy as np
import pytest

from training.scores import landmark_errors, summarize, without_mean_depth


def test_error_is_the_mean_distance_over_the_size_of_the_true_box():
    # Box of 4 x 9: size 6. Distances 3, 0, 0: mean 1.
    truth = np.array([[[0.0, 0.0], [4.0, 0.0], [0.0, 9.0]]])
    found = truth + np.array([[3.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    np.testing.assert_allclose(landmark_errors(truth, found), [100 / 6])


def test_box_of_other_points_sizes_the_error():
    truth = np.zeros((1, 1, 2))
    box = np.array([[[0.0, 0.0], [2.0, 8.0]]])
    np.testing.assert_allclose(
        landmark_errors(truth, truth + np.array([0, 1]), box), [25.0]
    )


def test_mean_depth_does_not_count():
    points = np.random.default_rng(0).normal(size=(2, 5, 3))
    shifted = points + np.array([0, 0, 40.0])
    np.testing.assert_allclose(
        without_mean_depth(points), without_mean_depth(shifted), atol=1e-12
    )


def test_bins_end_at_30_and_60_degrees_inclusively():
    yaw = np.array([0.0, 30.0, 30.1, 60.0, 60.1, 95.0])
    errors = np.array([1.0, 3.0, 4.0, 6.0, 7.0, 9.0])
    summary = summarize(errors, yaw)
    assert summary["bins"] == [2.0, 5.0, 8.0]
    assert summary["mean_of_bins"] == 5.0
    assert summary["mean"] == 5.0


def test_empty_bin_has_no_mean_and_does_not_count():
    summary = summarize(np.array([2.0, 4.0, 9.0]), np.array([0.0, 1.0, 70.0]))
    assert summary["bins"] == [3.0, None, 9.0]
    assert summary["mean_of_bins"] == 6.0
    assert summary["mean"] == pytest.approx(5.0)
