import numpy as np
import pytest

from tf_facegcn.models.face_gcn import FaceGCN
from tf_facegcn.models.released_weights import load_model
from training.rendered_errors import main, render, rendered_errors

NUM_FACES = 12

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model():
    return FaceGCN.from_preset("lite")


@pytest.fixture(scope="module")
def faces(model):
    return render(model, NUM_FACES)


class Predicting:
    """A network that finds the landmarks where it is told."""

    def __init__(self, points):
        self.landmarks = np.arange(68)
        self.points = points

    def predict_on_batch(self, images):
        assert len(images) == len(self.points)
        return self.points


def test_faces_fill_their_crops_at_all_yaws(faces):
    assert faces.images.shape == (NUM_FACES, 128, 128, 3)
    assert faces.landmarks.shape == (NUM_FACES, 68, 3)
    low = faces.landmarks[..., :2].min(axis=1)
    high = faces.landmarks[..., :2].max(axis=1)
    # As a second pass cuts them.
    assert np.abs((low + high) / 2 - 127.5).max() < 15
    assert (high - low).min() > 80
    assert faces.yaw.max() > 40
    # The further a face is turned, the deeper lies one eye than the other.
    outer_eyes = faces.landmarks[:, [36, 45], 2]
    turned = np.abs(np.diff(outer_eyes, axis=1))[:, 0]
    assert np.corrcoef(turned, faces.yaw)[0, 1] > 0.9


def test_truth_has_no_error_and_a_mean_depth_does_not_count(faces):
    shifted = faces.landmarks + np.array([0.0, 0.0, 30.0])
    for errors in rendered_errors(Predicting(shifted), faces).values():
        np.testing.assert_allclose(errors, 0, atol=1e-9)


def test_errors_are_of_their_own_axes(faces):
    size = np.sqrt(np.ptp(faces.landmarks[..., :2], axis=1).prod(axis=1))
    aside = faces.landmarks + np.array([3.0, 4.0, 0.0])
    errors = rendered_errors(Predicting(aside), faces)
    np.testing.assert_allclose(errors["2D-68"], 500 / size)
    np.testing.assert_allclose(errors["depth"], 0, atol=1e-9)
    flat = faces.landmarks * [1.0, 1.0, 0.0]
    errors = rendered_errors(Predicting(flat), faces)
    np.testing.assert_allclose(errors["2D-68"], 0, atol=1e-9)
    np.testing.assert_allclose(errors["depth"], errors["3D-68"])
    assert errors["depth"].min() > 5


def test_table_has_three_rows_a_network(capsys):
    main(["lite_synthetic"], num_faces=6)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[1][:6].strip() for line in lines[1:]] == [
        "2D-68",
        "3D-68",
        "depth",
    ]
    # What was trained on such faces is near to them; means are the last.
    errors = [float(line.split()[-1]) for line in lines[1:]]
    assert max(errors) < 8


def test_faces_are_the_same_for_every_network(faces):
    again = render(load_model("lite_synthetic"), NUM_FACES)
    np.testing.assert_array_equal(again.images, faces.images)
    np.testing.assert_array_equal(again.landmarks, faces.landmarks)


def test_network_on_another_mesh_is_refused():
    network = Predicting(np.zeros((1, 68, 3)))
    network.fingerprint = "another"
    with pytest.raises(ValueError, match=r"bundled head.*another"):
        render(network, 1)
