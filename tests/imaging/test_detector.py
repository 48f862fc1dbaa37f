import os

import cv2
import numpy as np
import pytest

from tests.imaging.photo_files import ASTRONAUT
from tf_facegcn.imaging.bounding_box import BoundingBox
from tf_facegcn.imaging.detection import Detection
from tf_facegcn.imaging.detector import SlimeFaceDetector, crop_box
from tf_facegcn.imaging.photo import read_photo

# The face in the photo, from the hairline to the chin, by hand.
FACE = BoundingBox(178, 68, 268, 178)


@pytest.fixture(scope="module")
def photo():
    return read_photo(ASTRONAUT)


@pytest.fixture(scope="module")
def detector():
    return SlimeFaceDetector()


def overlap(first, second):
    """Intersection over union."""
    width = min(first.right, second.right) - max(first.left, second.left)
    height = min(first.bottom, second.bottom) - max(first.top, second.top)
    shared = max(width, 0) * max(height, 0)
    return shared / (first.area + second.area - shared)


def resized(photo, scale):
    return cv2.resize(
        photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA
    )


def scaled(box, scale):
    return BoundingBox(*(edge * scale for edge in box.as_tuple()))


@pytest.mark.parametrize("scale", [0.15, 0.5, 1.0, 2.3, 6.0])
def test_finds_the_face_in_photos_of_any_size(photo, detector, scale):
    (found,) = detector(resized(photo, scale))
    assert overlap(found.box, scaled(FACE, scale)) > 0.7
    assert 0.65 <= found.score <= 1


def test_finds_a_face_that_fills_a_large_photo(photo, detector):
    face = resized(photo[80:190, 175:270], 20)
    (found,) = detector(face)
    assert overlap(found.box, BoundingBox.of_photo(face)) > 0.6


def test_finds_forty_faces(photo, detector):
    faces = detector(np.tile(photo[0:240, 120:340], (5, 8, 1)))
    assert len(faces) == 40
    cells = {
        (int(face.box.center[0] // 220), int(face.box.center[1] // 240))
        for face in faces
    }
    assert len(cells) == 40


def test_the_largest_face_comes_first(photo, detector):
    face = photo[0:240, 120:340]
    both = np.zeros((240, 340, 3), np.uint8)
    both[:120, :110] = resized(face, 0.5)
    both[:, 120:] = face
    first, second = detector(both)
    assert first.box.left > 120 > second.box.left
    assert first.box.area > 2 * second.box.area


@pytest.mark.parametrize("turns", [1, 3])
def test_a_photo_that_lies_is_turned(photo, detector, turns):
    class OnlyUpright(SlimeFaceDetector):
        def _detect(self, seen, scale, threshold):
            if not np.array_equal(seen, photo):
                return []
            return super()._detect(seen, scale, threshold)

    (upright,) = detector(photo)
    (found,) = OnlyUpright()(np.ascontiguousarray(np.rot90(photo, turns)))
    assert found.score == upright.score
    height, width = photo.shape[:2]
    for kind in ("box", "crop_box"):
        left, top, right, bottom = getattr(upright, kind).as_tuple()
        # Counter-clockwise, what was on the right is at the top.
        expected = (
            (top, width - right, bottom, width - left)
            if turns == 1
            else (height - bottom, left, height - top, right)
        )
        np.testing.assert_allclose(
            getattr(found, kind).as_tuple(), expected, atol=1e-9
        )


def test_of_both_turns_the_surer_one_counts(photo):
    class Turned(SlimeFaceDetector):
        scores = iter([0.0, 0.0, 0.85, 0.95])

        def _detect(self, photo, scale, threshold):
            score = next(self.scores)
            box = BoundingBox(10, 20, 30, 40)
            return [Detection(box, score, box)] if score else []

    (found,) = Turned()(np.zeros((200, 500, 3), np.uint8))
    assert found.score == 0.95
    assert found.box == BoundingBox(20, 170, 40, 190)


@pytest.mark.parametrize(
    "shape", [(1, 1, 3), (1, 5000, 3), (5000, 1, 3), (300, 400, 3)]
)
@pytest.mark.parametrize("value", [0, 255])
def test_finds_nothing_in_blank_photos_of_any_shape(detector, shape, value):
    assert detector(np.full(shape, value, np.uint8)) == []


def test_finds_nothing_in_noise(detector):
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    assert detector(noise) == []


def test_the_threshold_decides(photo):
    assert SlimeFaceDetector(score_threshold=1.0)(photo) == []


def test_small_faces_are_only_looked_for_in_large_photos(photo):
    class Recorder(SlimeFaceDetector):
        sides = ()

        def _detect(self, photo, scale, threshold):
            side = round(max(photo.shape[:2]) * scale)
            self.sides = (*self.sides, (side, threshold))
            return []

    def sides_tried(longer):
        recorder = Recorder()
        assert recorder(np.zeros((10, longer, 3), np.uint8)) == []
        return recorder.sides

    # At last a photo that lies, on either side.
    lies = ((640, 0.8), (640, 0.8))
    assert sides_tried(4000) == ((640, 0.65), (320, 0.65), (960, 0.8), *lies)
    lies = ((500, 0.8), (500, 0.8))
    assert sides_tried(500) == ((500, 0.65), (320, 0.65), *lies)
    lies = ((320, 0.8), (320, 0.8))
    assert sides_tried(50) == ((320, 0.65), *lies)


def test_the_crop_box_by_hand():
    # A box of 40 x 90 has the size 60; its centre is (120, 245).
    crop = crop_box(BoundingBox(100, 200, 140, 290))
    assert crop.width == crop.height == pytest.approx(1.35 * 60)
    assert crop.center == pytest.approx((120, 245 + 0.13 * 60))


def test_a_given_box_is_made_square_and_has_no_score():
    given = Detection.given(BoundingBox(0, 0, 10, 20))
    assert given.score is None
    assert given.crop_box == BoundingBox(-5, 0, 15, 20)


def test_leaves_the_environment_as_it_was(monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    SlimeFaceDetector()
    assert "OMP_WAIT_POLICY" not in os.environ
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    SlimeFaceDetector()
    assert os.environ["OMP_WAIT_POLICY"] == "active"


def test_rejects_photos_and_thresholds_of_another_kind(detector):
    with pytest.raises(ValueError, match="float64"):
        detector(np.zeros((9, 9, 3)))
    with pytest.raises(ValueError, match=r"shape=\(9, 9\)"):
        detector(np.zeros((9, 9), np.uint8))
    with pytest.raises(ValueError, match="score_threshold=65"):
        SlimeFaceDetector(score_threshold=65)
