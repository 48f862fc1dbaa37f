import csv
from collections import Counter

import cv2
import numpy as np
import pytest

from tests.training.miniature import make_faces, write_aflw2000
from training.data.aflw2000 import Aflw2000
from training.photo_subsets import ATTRIBUTES_FILE, SUBSETS, subset_masks


@pytest.fixture
def data(tmp_path, miniature_model):
    landmarks, _ = make_faces(miniature_model, 4)
    write_aflw2000(tmp_path, landmarks, [5.0, 80.0, 20.0, 59.0])
    for path, level in zip(
        sorted(tmp_path.glob("*.jpg")), (70, 80, 0, 255), strict=True
    ):
        cv2.imwrite(str(path), np.full((256, 256, 3), level, np.uint8))
    return Aflw2000.load(tmp_path)._replace(
        roll=np.array([29.0, 31.0, 179.0, 0.0]),
        pitch=np.array([31.0, 0.0, 30.0, 90.0]),
    )


def mouths(openings):
    """Faces whose mouths are 10 pixels wide and open by some."""
    points = np.zeros((len(openings), 68, 2))
    points[:, 60], points[:, 64] = (100, 100), (110, 100)
    for face, opening in zip(points, openings, strict=True):
        face[61:64] = (105, 100 - opening / 2)
        face[65:68] = (105, 100 + opening / 2)
    return points


def test_photos_belong_to_what_they_show(data):
    names = ["image00088", "image01631", "image00021", "image02166"]
    masks = subset_masks(
        data._replace(names=names, reannotated=mouths([2.9, 9, 3.1, 9]))
    )
    assert masks.keys() == SUBSETS.keys()
    assert {name: mask.tolist() for name, mask in masks.items()} == {
        "rolled": [False, True, True, False],
        "pitched": [True, False, False, True],
        "dark": [True, False, True, False],
        # The second is seen in profile.
        "mouth_open": [False, False, True, True],
        # The third was not looked at.
        "eyes_closed": [True, True, False, False],
        "occluded": [False, True, False, False],
        "glasses": [False] * 4,
        "child": [False, True, False, True],
        "dark_skin": [False, False, False, True],
    }


def test_every_fifth_photo_was_looked_at():
    with ATTRIBUTES_FILE.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["name"] for row in rows}) == len(rows) == 400
    seen = Counter(word for row in rows for word in row["attributes"].split())
    # A misspelt word would be a photo that belongs to no subset.
    assert seen == {
        "occluded": 40,
        "eyes_closed": 37,
        "child": 22,
        "dark_skin": 13,
        "glasses": 11,
    }
    assert seen.keys() < SUBSETS.keys()


def test_without_reannotation_the_mouth_is_judged_by_the_annotation(data):
    landmarks = np.pad(mouths([0, 0, 5, 0]), [(0, 0), (0, 0), (0, 1)])
    landmarks[:, 0, :2] = 1.0  # The face has some size.
    found = subset_masks(data._replace(landmarks=landmarks))
    assert found["mouth_open"].tolist() == [False, False, True, False]


def test_a_face_beside_the_photo_is_not_dark(data):
    beside = data.landmarks + np.array([500.0, 0.0, 0.0])
    assert not subset_masks(data._replace(landmarks=beside))["dark"].any()
