import cv2
import numpy as np
import pytest

from tests.fake_model import POSE, FakeFaceModel
from tests.imaging.photo_files import ASTRONAUT
from tf_facegcn.imaging.bounding_box import BoundingBox
from tf_facegcn.imaging.detection import Detection
from tf_facegcn.imaging.detector import SlimeFaceDetector
from tf_facegcn.imaging.photo import read_photo
from tf_facegcn.imaging.photo_error import PhotoError
from tf_facegcn.models.released_weights import WEIGHTS_FOLDER
from tf_facegcn.predictor import Predictor

PHOTO = np.full((300, 400, 3), 128, np.uint8)
BOX = BoundingBox(100, 50, 300, 250)


def landmarks_box(prediction):
    return BoundingBox.from_points(prediction.landmarks)


def test_a_face_by_hand():
    model = FakeFaceModel()
    (face,) = Predictor(model)(PHOTO, boxes=[BOX])
    # The landmarks fill 1 / sqrt(2) of the crop, around its middle.
    found = landmarks_box(face)
    assert found.center == pytest.approx((200, 150), abs=1e-3)
    assert max(found.width, found.height) == pytest.approx(200 / 2**0.5)
    np.testing.assert_allclose(face.pose, POSE, atol=1e-3)
    np.testing.assert_array_equal(face.faces, model.faces)
    np.testing.assert_array_equal(face.landmark_indices, model.landmarks)
    assert face.vertices.dtype == np.float32
    assert abs(face.vertices[:, 2].mean()) < 1e-3
    # A sphere has the same extent in z as in x and y: one scale for all.
    extents = np.ptp(face.vertices, axis=0)
    np.testing.assert_allclose(extents, extents[0], rtol=0.03)
    assert (face.box, face.score) == (BOX, None)


def test_a_second_look_is_taken_around_the_landmarks():
    # The head lies 32 of 256 crop units to the right, so each look moves on.
    model = FakeFaceModel(offset=(32.0, 0.0))
    centers = [
        landmarks_box(
            Predictor(model, num_refinements=number)(PHOTO, [BOX])[0]
        ).center[0]
        for number in range(3)
    ]
    step = 200 * 32 / 256
    expected = [200 + step, 200 + 2 * step, 200 + 3 * step]
    assert centers == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("roll", "expected"), [(25.0, 25.0), (40.0, 85.0), (-100.0, 155.0)]
)
def test_the_second_look_is_turned_as_the_head_leans(roll, expected):
    """By the nearest multiple of 15 degrees; the stand-in leans again in it."""
    model = FakeFaceModel(pose=(0.0, 0.0, roll))
    (first,) = Predictor(model, num_refinements=0)(PHOTO, [BOX])
    (second,) = Predictor(model)(PHOTO, [BOX])
    assert first.pose.roll == pytest.approx(roll, abs=0.01)
    # -100 is cut as if it were -105, and seen 100 further: -205.
    assert second.pose.roll == pytest.approx(expected, abs=0.01)
    # As large, and still around the same place.
    assert landmarks_box(second).center == pytest.approx((200, 150), abs=2)
    scales = [np.ptp(face.vertices[:, 2]) for face in (first, second)]
    assert scales[1] == pytest.approx(scales[0], rel=0.1)


def test_boxes_that_are_not_square_are_widened():
    narrow = BoundingBox(190, 50, 210, 250)
    (face,) = Predictor(FakeFaceModel())(PHOTO, [narrow])
    assert landmarks_box(face).center == pytest.approx((200, 150), abs=1e-3)
    assert landmarks_box(face).size > 100
    assert face.box == narrow


def test_without_a_detector_the_whole_photo_is_the_crop():
    (face,) = Predictor(FakeFaceModel())(PHOTO)
    assert face.box == BoundingBox(0, 0, 400, 300)
    assert landmarks_box(face).center == pytest.approx((200, 150), abs=1e-3)


def test_the_crop_box_of_a_detection_is_used():
    crop_box = BoundingBox(150, 100, 250, 200)
    detection = Detection(BOX, 0.8, crop_box)
    predictor = Predictor(FakeFaceModel(), detector=lambda photo: [detection])
    (face,) = predictor(PHOTO)
    assert (face.box, face.score) == (BOX, 0.8)
    found = landmarks_box(face)
    assert max(found.width, found.height) == pytest.approx(100 / 2**0.5)


def test_many_faces_go_through_in_batches_of_few_sizes():
    model = FakeFaceModel()
    boxes = [BoundingBox(i, i, i + 40, i + 40) for i in range(0, 130, 10)]
    faces = Predictor(model, num_refinements=0)(PHOTO, boxes)
    assert [shape[0] for shape in model.batches] == [8, 4, 1]
    assert model.batches[0] == (8, 32, 32, 3)
    centers = [landmarks_box(face).center[0] for face in faces]
    expected = [box.center[0] for box in boxes]
    assert centers == pytest.approx(expected, abs=1e-3)


def test_no_face_gives_an_empty_list():
    model = FakeFaceModel()
    assert Predictor(model, detector=lambda photo: [])(PHOTO) == []
    assert model.batches == []


def test_takes_the_path_of_a_photo():
    predictor = Predictor(FakeFaceModel(), SlimeFaceDetector())
    (face,) = predictor(ASTRONAUT)
    assert face.score > 0.8
    assert predictor(str(ASTRONAUT))[0].box == face.box
    with pytest.raises(PhotoError, match="no such file"):
        predictor("missing.jpg")


def test_warming_up_runs_detector_and_network():
    model, photos = FakeFaceModel(), []
    predictor = Predictor(model, detector=lambda photo: photos.append(photo))
    predictor.warm_up()
    assert len(photos) == len(model.batches) == 1


def test_rejects_what_is_no_photo():
    predictor = Predictor(FakeFaceModel())
    with pytest.raises(ValueError, match="float64"):
        predictor(np.zeros((9, 9, 3)))
    with pytest.raises(ValueError, match=r"shape=\(9, 9, 4\)"):
        predictor(np.zeros((9, 9, 4), np.uint8))


@pytest.mark.parametrize(
    "box", [(400, 0, 500, 100), (-50, 0, 0, 50), (0, 300, 50, 350)]
)
def test_rejects_a_box_beside_the_photo(box):
    with pytest.raises(ValueError, match="400 x 300"):
        Predictor(FakeFaceModel())(PHOTO, [BoundingBox(*box)])


def test_rejects_damaged_weights_and_negative_refinements():
    model = FakeFaceModel()
    model.predict_on_batch = lambda x: np.full((len(x), 642, 3), np.nan)
    with pytest.raises(ValueError, match="weights are damaged"):
        Predictor(model)(PHOTO)
    with pytest.raises(ValueError, match="num_refinements=-1"):
        Predictor(model, num_refinements=-1)


# Read off the photo by eye, at six times its size: x and y of points whose
# place is plain, by their index in the iBUG order.
ASTRONAUT_LANDMARKS = {
    8: (222.4, 178.2),  # Chin.
    30: (222.9, 126.2),  # Tip of the nose.
    33: (223.2, 132.4),  # Below the nose.
    36: (191.5, 100.8),  # Corners of the eyes, from left to right.
    39: (211.2, 103.2),
    42: (237.4, 104.4),
    45: (259.1, 104.6),
    48: (203.2, 139.9),  # Corners of the mouth.
    54: (247.1, 138.6),
    57: (223.2, 154.1),  # Below the lower lip.
}


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword"  # Keras.
)
# The face is 93 pixels high: 4 pixels are 4 % of it.
@pytest.mark.parametrize(
    ("weights", "mean_error", "largest_error"),
    [("lite", 4, 9), ("paper", 4, 9), ("lite_synthetic", 6, 14)],
)
def test_the_released_networks_find_the_astronauts_face(
    weights, mean_error, largest_error
):
    if not (WEIGHTS_FOLDER / f"{weights}.keras").exists():
        pytest.skip(f"saved_models/{weights}.keras is not there")
    photo = read_photo(ASTRONAUT)
    (face,) = Predictor.from_preset(weights)(photo)
    expected = np.array(list(ASTRONAUT_LANDMARKS.values()))
    found = face.landmarks[list(ASTRONAUT_LANDMARKS), :2]
    errors = np.linalg.norm(found - expected, axis=1)
    assert errors.mean() < mean_error, dict(
        zip(ASTRONAUT_LANDMARKS, errors, strict=True)
    )
    assert errors.max() < largest_error
    assert abs(face.pose.yaw) < 15
    assert abs(face.pose.roll) < 12
    assert len(face.vertices) == 53_215


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword"  # Keras.
)
@pytest.mark.parametrize("angle", [-170, -100, -45, 60])
def test_a_second_look_finds_leaning_faces_as_upright_ones(angle):
    if not (WEIGHTS_FOLDER / "lite.keras").exists():
        pytest.skip("saved_models/lite.keras is not there")
    photo = read_photo(ASTRONAUT)
    predictor = Predictor.from_preset("lite")
    (upright,) = predictor(photo)
    # Around the face, counter-clockwise as seen, as OpenCV counts.
    center = upright.box.center
    turn = cv2.getRotationMatrix2D(center, angle, 1.0)
    turned = cv2.warpAffine(photo, turn, photo.shape[1::-1])
    expected = upright.landmarks[:, :2] @ turn[:, :2].T + turn[:, 2]
    box = BoundingBox.from_points(expected).square(1.5)
    size = landmarks_box(upright).size
    errors = []
    for number in (0, 1):
        predictor.num_refinements = number
        (face,) = predictor(turned, [box])
        distances = np.linalg.norm(face.landmarks[:, :2] - expected, axis=1)
        errors.append(100 * distances.mean() / size)
    assert errors[1] < min(3.0, 0.7 * errors[0]), errors
    lean = face.pose.roll - upright.pose.roll - angle
    assert (lean + 180) % 360 - 180 == pytest.approx(0, abs=3)
