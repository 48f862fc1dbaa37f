import json

import keras
import numpy as np
import pytest

from tf_facegcn.metrics.normalized_mean_error import (
    NormalizedMeanError,
    bounding_box_size,
    normalized_mean_error,
)

# A box of 16 x 4, so sqrt(width * height) = 8, seen from the front.
FACE = np.array([[[0.0, 0, 0], [16, 4, 50], [99, 99, 99]]], "float32")


def test_divides_the_mean_distance_by_the_size():
    moved = FACE + np.array([[[3.0, 4, 0], [0, 1, 0], [0, 0, 2]]], "float32")
    # Distances 5, 1 and 2.
    errors = normalized_mean_error(FACE, moved, np.array([4.0], "float32"))
    np.testing.assert_allclose(errors, [(5 + 1 + 2) / 3 / 4], rtol=1e-6)


def test_size_is_of_the_box_in_the_image_plane():
    np.testing.assert_allclose(bounding_box_size(FACE[:, :2]), [8.0])


def test_metric_is_in_per_cent_and_ignores_depth_and_other_vertices():
    metric = NormalizedMeanError(landmarks=[0, 1])
    moved = FACE + np.array([[[0.0, 2, 7], [0, 0, 7], [50, 0, 0]]], "float32")
    # Distances 2 and 0 over 8.
    assert float(metric(FACE, moved)) == pytest.approx(12.5)


def test_metric_in_space_sees_depth():
    metric = NormalizedMeanError(landmarks=[0, 1], dimensions=3)
    moved = FACE + np.array([0.0, 0.0, 4.0], "float32")
    assert float(metric(FACE, moved)) == pytest.approx(50.0)


def test_averages_over_faces_of_unequal_batches():
    metric = NormalizedMeanError(landmarks=[0, 1])
    shift = np.array([0.8, 0.0, 0.0], "float32")
    metric.update_state(FACE, FACE + 3 * shift)
    metric.update_state(np.repeat(FACE, 2, axis=0), np.repeat(FACE, 2, axis=0))
    assert float(metric.result()) == pytest.approx(10.0)
    metric.reset_state()
    assert float(metric.result()) == 0.0


def test_weighs_faces():
    metric = NormalizedMeanError(landmarks=[0, 1])
    faces = np.repeat(FACE, 2, axis=0)
    moved = faces + np.array([[[0.8, 0, 0]], [[1.6, 0, 0]]], "float32")
    metric.update_state(faces, moved, sample_weight=np.array([0.0, 1.0]))
    assert float(metric.result()) == pytest.approx(20.0)


def test_config_restores_the_metric():
    metric = NormalizedMeanError(landmarks=[1, 0], dimensions=3, name="nme")
    config = json.loads(json.dumps(keras.metrics.serialize(metric)))
    assert keras.metrics.deserialize(config).get_config() == metric.get_config()


def test_rejects_a_number_of_dimensions():
    with pytest.raises(ValueError, match="dimensions=1"):
        NormalizedMeanError(landmarks=[0], dimensions=1)


def test_rejects_no_landmarks():
    with pytest.raises(ValueError, match=r"shape \(0,\)"):
        NormalizedMeanError(landmarks=[])
