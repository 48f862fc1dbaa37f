import os
from pathlib import Path

import pytest

from tf_facegcn.photo_list import find_photos, read_photo_list


def test_folders_are_searched_and_files_taken_as_they_are(tmp_path):
    names = ["b.JPG", "a.png", "below/c.jpeg", "notes.txt", ".hidden.jpg"]
    for name in [*names, ".cache/d.jpg"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = list(find_photos([Path("odd.raw"), tmp_path]))
    assert found == [
        Path("odd.raw"),
        *(tmp_path / name for name in ("a.png", "b.JPG", "below/c.jpeg")),
    ]


def test_a_folder_without_a_photo_is_refused(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ValueError, match=r"no photo in this folder.*\.jpg"):
        list(find_photos([tmp_path]))


def test_list(tmp_path):
    file = tmp_path / "list.txt"
    file.write_bytes(b"a b.jpg\n\n\xff.png\r\n/c.jpg")
    assert read_photo_list(file) == [
        Path("a b.jpg"),
        Path(os.fsdecode(b"\xff.png")),
        Path("/c.jpg"),
    ]
    file.write_text("\n \n")
    with pytest.raises(ValueError, match="a path of a photo in each line"):
        read_photo_list(file)
