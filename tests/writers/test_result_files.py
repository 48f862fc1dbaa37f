import errno
from pathlib import Path

import numpy as np
import pytest

from tests.fake_model import FakeFaceModel
from tf_facegcn.imaging.bounding_box import BoundingBox
from tf_facegcn.predictor import Predictor
from tf_facegcn.writers.result_files import (
    DEFAULT_FORMATS,
    FACE_FORMATS,
    PHOTO_FORMATS,
    check_formats,
    result_stems,
    write_results,
)

PHOTO = np.full((300, 400, 3), 128, np.uint8)


@pytest.fixture(scope="module")
def faces():
    boxes = [BoundingBox(10, 10, 110, 110), BoundingBox(200, 50, 350, 200)]
    return Predictor(FakeFaceModel())(PHOTO, boxes)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_default_formats(faces, tmp_path):
    paths = write_results(faces, PHOTO, tmp_path, "me")
    assert names_in(tmp_path) == [
        "me_face1.json",
        "me_face1.npz",
        "me_face1.obj",
        "me_face2.json",
        "me_face2.npz",
        "me_face2.obj",
        "me_overlay.jpg",
    ]
    assert sorted(path.name for path in paths) == names_in(tmp_path)


def test_every_format_writes_a_file(faces, tmp_path):
    formats = (*FACE_FORMATS, *PHOTO_FORMATS)
    paths = write_results(faces[:1], PHOTO, tmp_path, "me", formats)
    assert len(paths) == len(formats) == 7
    assert all(path.stat().st_size > 100 for path in paths)


def test_the_second_face_is_in_the_second_file(faces, tmp_path):
    write_results(faces, PHOTO, tmp_path, "me", ["npz"])
    with np.load(tmp_path / "me_face2.npz") as arrays:
        assert arrays["box"].tolist() == [200, 50, 350, 200]


def test_a_full_disk_leaves_nothing_behind(faces, tmp_path, monkeypatch):
    write = Path.write_bytes
    written = []

    def write_until_full(self, data):
        written.append(self)
        if len(written) == 4:
            write(self, data[:10])
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return write(self, data)

    monkeypatch.setattr(Path, "write_bytes", write_until_full)
    with pytest.raises(OSError, match="No space left"):
        write_results(faces, PHOTO, tmp_path, "me")
    assert names_in(tmp_path) == []


def test_photos_of_the_same_name_get_results_of_different_names():
    photos = ["a/x.jpg", "b/x.jpg", "x.png", "x_2.jpg", "y.jpg", "x.jpg"]
    stems = result_stems([Path(photo) for photo in photos])
    assert stems == ["x", "x_3", "x_4", "x_2", "y", "x_5"]


def test_unknown_formats_are_named():
    with pytest.raises(ValueError, match="Received: 'stl', 'bmp'"):
        check_formats(["obj", "stl", "bmp"])
    with pytest.raises(ValueError, match="Received: none"):
        check_formats([])
    assert check_formats(["npz", "obj", "npz"]) == ("npz", "obj")
    assert set(DEFAULT_FORMATS) <= {*FACE_FORMATS, *PHOTO_FORMATS}
