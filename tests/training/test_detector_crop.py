import cv2
import numpy as np
import pytest

from tf_facegcn.imaging.bounding_box import BoundingBox
from tf_facegcn.imaging.detection import Detection
from training import detector_crop
from training.detector_crop import crop_places, main

SIDE, RIGHT, DOWN = 1.5, -0.05, 0.2


class Knowing:
    """A detector that draws its boxes in a known place around the face."""

    def __init__(self, crops, num_missed=0):
        self.faces = iter(np.repeat(crops.teacher_landmarks, 2, axis=0))
        self.num_missed = num_missed
        self.photos = []

    def __call__(self, photo):
        self.photos.append(photo)
        landmarks = next(self.faces)
        if len(self.photos) <= self.num_missed:
            return []
        # Edges of the crop of the padded photo, which has 240 pixels.
        points = (landmarks[:, :2] + 0.5) * 120 / 256 - 0.5 + 60
        low, high = points.min(axis=0), points.max(axis=0)
        size = np.sqrt(2) * (high - low).max() / SIDE
        middle = (low + high) / 2 + 0.5 - np.array([RIGHT, DOWN]) * size
        half = np.array([size / 1.2, size * 1.2]) / 2
        return [
            _detection(BoundingBox(0, 0, 30, 30)),
            _detection(BoundingBox(*(middle - half), *(middle + half))),
        ]


def _detection(box):
    return Detection(box, 1.0, box)


def test_finds_where_the_detector_draws_its_boxes(miniature_crops):
    detector = Knowing(miniature_crops, num_missed=3)
    places = crop_places(miniature_crops, detector)
    count = 2 * len(miniature_crops.jpegs)
    assert places.num_missed == 3
    assert len(places.side) == len(places.yaw) == count - 3
    np.testing.assert_allclose(places.side, SIDE)
    np.testing.assert_allclose(places.right, RIGHT, atol=1e-9)
    np.testing.assert_allclose(places.down, DOWN)
    np.testing.assert_allclose(
        places.yaw, np.repeat(miniature_crops.yaw, 2)[3:]
    )


def test_the_detector_sees_the_photo_with_surroundings(miniature_crops):
    detector = Knowing(miniature_crops)
    crop_places(miniature_crops.subset(np.array([2])), detector)
    image = miniature_crops.image(2)
    reflected, continued = detector.photos
    for photo in (reflected, continued):
        assert photo.shape == (240, 240, 3)
        np.testing.assert_array_equal(photo[60:180, 60:180], image)
    np.testing.assert_array_equal(
        reflected, cv2.copyMakeBorder(image, 60, 60, 60, 60, cv2.BORDER_DEFAULT)
    )
    assert (continued[:60, 100] == image[0, 40]).all()


def test_table_has_medians_by_yaw(miniature_crops, monkeypatch, capsys):
    monkeypatch.setattr(
        detector_crop, "SlimeFaceDetector", lambda: Knowing(miniature_crops)
    )
    monkeypatch.setattr(
        detector_crop.AflwCrops, "load", lambda _: miniature_crops
    )
    count = len(miniature_crops.jpegs)
    main(data_dir="anywhere", num_photos=count + 5)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["all", str(2 * count), "1.50", "-0.05", "0.20"]
    parts = [line.split() for line in lines[2:-2]]
    assert sum(int(part[1]) for part in parts) == 2 * count
    assert lines[-1].endswith("0 pictures had no box.")


def test_the_crop_that_is_used_is_the_measured_one(real_data):
    crops = detector_crop.AflwCrops.load(real_data).subset(np.arange(60))
    places = crop_places(crops, detector_crop.SlimeFaceDetector())
    assert places.num_missed < 12
    assert np.median(places.side) == pytest.approx(
        detector_crop.CROP_SIDE, abs=0.1
    )
    assert np.median(places.down) == pytest.approx(
        detector_crop.CROP_SHIFT_DOWN, abs=0.06
    )
