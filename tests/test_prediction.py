import numpy as np
import pytest

from tf_facegcn.head_pose import HeadPose
from tf_facegcn.imaging.bounding_box import BoundingBox
from tf_facegcn.prediction import FacePrediction


def make_prediction(**changes):
    fields = {
        "vertices": np.arange(300, dtype=np.float32).reshape(100, 3),
        "faces": np.array([[0, 1, 2]], np.int32),
        "landmark_indices": np.arange(99, 31, -1, dtype=np.int32),
        "pose": HeadPose(1.0, 2.0, 3.0),
        "box": BoundingBox(0, 0, 10, 10),
        "score": 0.9,
    }
    return FacePrediction(**(fields | changes))


def test_landmarks_are_vertices():
    landmarks = make_prediction().landmarks
    assert landmarks.shape == (68, 3)
    np.testing.assert_array_equal(landmarks[0], [297, 298, 299])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vertices": np.zeros((100, 2), np.float32)}, r"\(100, 2\)"),
        ({"vertices": np.full((100, 3), np.nan, np.float32)}, "finite"),
        ({"landmark_indices": np.arange(5, dtype=np.int32)}, r"\(5,\)"),
    ],
)
def test_rejects_arrays_that_are_no_face(changes, message):
    with pytest.raises(ValueError, match=message):
        make_prediction(**changes)
