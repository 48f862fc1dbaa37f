import numpy as np
import pytest

from tests.fake_model import FakeFaceModel
from tests.training.miniature import make_faces, write_aflw2000
from tf_facegcn.imaging.bounding_box import BoundingBox
from tf_facegcn.imaging.detection import Detection
from tf_facegcn.imaging.upright_crop import in_plane_roll
from training.data.aflw2000 import Aflw2000
from training.landmark_prediction import LookOptions, predict_landmarks

YAW = [5.0, 45.0, 80.0, 20.0]


@pytest.fixture(scope="module")
def data(miniature_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_aflw2000(folder, make_faces(miniature_model, 4)[0], YAW)
    return Aflw2000.load(folder)


def crop_of(landmarks):
    return BoundingBox.from_points(landmarks).landmarks_crop()


def check_crops(found, boxes):
    """The stand-in's landmarks fill every crop as true ones do."""
    for points, box in zip(found, boxes, strict=True):
        np.testing.assert_allclose(
            crop_of(points).as_tuple(), box.as_tuple(), atol=0.01
        )


def test_network_sees_the_crop_around_the_true_landmarks(data):
    found, missed = predict_landmarks(FakeFaceModel(), data)
    assert found.shape == (4, 68, 3)
    assert not missed.any()
    check_crops(found, [crop_of(truth) for truth in data.landmarks])


def test_a_refinement_crops_around_the_landmarks_just_predicted(data):
    model = FakeFaceModel(offset=(16.0, 0.0))
    once, _ = predict_landmarks(model, data)
    twice, _ = predict_landmarks(model, data, LookOptions(num_refinements=1))
    side = crop_of(data.landmarks[0]).width
    np.testing.assert_allclose(
        (twice - once)[0].mean(axis=0), (side / 16, 0, 0), atol=0.01
    )


def test_a_refinement_turns_the_crop_upright(data):
    """The stand-in leans by as much in every crop, so each look adds that."""
    model = FakeFaceModel(pose=(0.0, 0.0, 37.0))
    template = model.template[model.landmarks]
    rolls = []
    for number in range(3):
        look = LookOptions(num_refinements=number, narrower=True)
        found, _ = predict_landmarks(model, data, look)
        rolls.append([in_plane_roll(face[:, :2], template) for face in found])
    expected = np.repeat([[37.0], [30 + 37], [60 + 37]], 4, axis=1)
    np.testing.assert_allclose(rolls, expected, atol=0.01)


def test_from_the_detector_the_face_that_overlaps_most_is_taken(data):
    truths = [crop_of(landmarks) for landmarks in data.landmarks]
    near = [box.square(1.2) for box in truths]
    far = BoundingBox(0, 0, 5, 5)
    answers = iter(
        [
            [Detection(far, 0.9, far), Detection(near[0], 0.9, near[0])],
            [Detection(near[1], 0.9, near[1])],
            [Detection(far, 0.9, far)],
            [],
        ]
    )
    found, missed = predict_landmarks(
        FakeFaceModel(),
        data,
        LookOptions("detector", num_refinements=0),
        lambda photo: next(answers),
    )
    assert missed.tolist() == [False, False, True, True]
    whole = BoundingBox(0, 0, 256, 256)
    check_crops(found, [near[0], near[1], whole, whole])


def test_looks_twice_from_the_detector_and_once_from_the_truth():
    assert LookOptions("truth").resolved_refinements == 0
    assert LookOptions("detector").resolved_refinements == 1
    assert LookOptions("detector", 0).resolved_refinements == 0


class Symmetric:
    """Sees where a photo is bright; landmark i lies i units beside that."""

    input_size = 32
    landmarks = np.arange(68)
    template = np.zeros((68, 3), np.float32)

    def __init__(self, error):
        self.error = error

    def predict_on_batch(self, x):
        columns = np.arange(32) * 8 + 3.5
        light = x.sum(axis=(1, 3)) + 1e-9
        center = (light @ columns) / light.sum(axis=1)
        # iBUG's mirror exchanges the ends of the jaw, 0 and 16.
        points = np.zeros((len(x), 68, 3), np.float32)
        points[:, :17, 0] = np.arange(-8, 9)
        points[:, :, 0] += center[:, None] + self.error
        points[:, :, 1] = np.arange(68)
        return points


def test_mirror_averaging_removes_what_is_not_symmetric(data):
    plain, _ = predict_landmarks(Symmetric(0.0), data)
    wrong, _ = predict_landmarks(Symmetric(5.0), data)
    averaged, _ = predict_landmarks(
        Symmetric(5.0), data, LookOptions(mirror=True)
    )
    assert np.abs(wrong - plain)[:, :17, 0].min() > 1.0
    np.testing.assert_allclose(averaged[:, :17, 0], plain[:, :17, 0], atol=0.02)
    plain, _ = predict_landmarks(
        Symmetric(0.0), data, LookOptions(narrower=True)
    )
    averaged, _ = predict_landmarks(
        Symmetric(5.0), data, LookOptions(mirror=True, narrower=True)
    )
    np.testing.assert_allclose(averaged[:, :17, 0], plain[:, :17, 0], atol=0.02)


def test_narrower_crops_count_as_much_as_the_others(data):
    """The stand-in's landmarks fill every crop, of whichever size."""
    plain, _ = predict_landmarks(FakeFaceModel(), data)
    averaged, _ = predict_landmarks(
        FakeFaceModel(), data, LookOptions(narrower=True)
    )
    center = [crop_of(truth).center for truth in data.landmarks]
    middle = (np.array(center) - 0.5)[:, None]
    np.testing.assert_allclose(
        averaged[..., :2] - middle,
        (plain[..., :2] - middle) * (1 + 1 / 1.1) / 2,
        atol=0.01,
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"boxes": "guess"}, "truth, detector.*boxes='guess'"),
        ({"num_refinements": -1}, "num_refinements=-1"),
    ],
)
def test_refuses_what_is_no_option(options, message):
    with pytest.raises(ValueError, match=message):
        LookOptions(**options)
