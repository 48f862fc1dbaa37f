import hashlib
import os
import zipfile
from pathlib import Path

import pytest

from tf_facegcn.models import released_weights
from tf_facegcn.models.released_weights import (
    find_weights,
    known_weights,
    load_model,
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of released weights with `big` and `lite` in it."""
    for name in ("lite", "big"):
        (tmp_path / f"{name}.keras").write_bytes(b"")
    (tmp_path / "README.md").write_bytes(b"")
    monkeypatch.setattr(released_weights, "WEIGHTS_FOLDER", tmp_path)
    return tmp_path


def test_finds_released_weights_by_name(folder):
    assert known_weights() == ["big", "lite"]
    assert find_weights("lite") == folder / "lite.keras"


def test_finds_files_by_path(folder, tmp_path, monkeypatch):
    path = tmp_path / "lite.keras"
    assert find_weights(path) == path
    assert find_weights(str(path)) == path
    monkeypatch.chdir(tmp_path)
    assert find_weights("lite.keras").samefile(path)


@pytest.mark.parametrize(
    "name", ["huge", "missing.keras", "", f"some{os.sep}folder"]
)
def test_unknown_weights_list_the_known_ones(folder, name):
    with pytest.raises(ValueError, match="there are: big, lite") as caught:
        find_weights(name)
    assert repr(name) in str(caught.value)


def test_a_part_of_a_file_is_refused(folder):
    (folder / "lite.keras").write_bytes(b"PK\3\4 not a whole archive")
    with pytest.raises(ValueError, match="fetch or write it again"):
        load_model("lite")


@pytest.mark.parametrize("data", [b"other", b"th"], ids=["other", "truncated"])
def test_another_file_than_the_released_one_is_refused(folder, data):
    digest = hashlib.sha256(b"the released one").hexdigest()
    (folder / "SHA256SUMS").write_text(f"{digest}  lite.keras\n\n")
    (folder / "lite.keras").write_bytes(data)
    with pytest.raises(ValueError, match=f"expected the released.*{digest}"):
        load_model("lite")
    # The right one, and one that was not released, are looked into.
    (folder / "lite.keras").write_bytes(b"the released one")
    for name in ("lite", "big"):
        with pytest.raises(ValueError, match="zip archive"):
            load_model(name)


def test_every_released_file_has_its_digest():
    folder = released_weights.WEIGHTS_FOLDER
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    digests = {name: digest for digest, name in map(str.split, lines)}
    assert set(digests) == {path.name for path in folder.glob("*.keras")}
    for name, digest in digests.items():
        data = (folder / name).read_bytes()
        assert hashlib.sha256(data).hexdigest() == digest


@pytest.mark.slow
def test_an_archive_of_something_else_is_refused_in_one_line(folder):
    with zipfile.ZipFile(folder / "lite.keras", "w") as archive:
        archive.writestr("diary.txt", "Dear diary, ...")
    with pytest.raises(ValueError, match="cannot be loaded") as caught:
        load_model("lite")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("member", ["config.json", "model.weights.h5"])
@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["", "deflated"]
)
def test_a_damaged_file_is_refused_in_one_line(folder, member, method):
    path = folder / "lite.keras"
    root = Path(__file__).resolve().parents[2]
    released = root / "saved_models" / "lite_synthetic.keras"
    with (
        zipfile.ZipFile(released) as source,
        zipfile.ZipFile(path, "w", method) as archive,
    ):
        for info in source.infolist():
            archive.writestr(info.filename, source.read(info))
        damaged = archive.getinfo(member)
    data = bytearray(path.read_bytes())
    middle = damaged.header_offset + 30 + damaged.compress_size // 2
    data[middle : middle + 4] = bytes(4)
    path.write_bytes(data)
    with pytest.raises(ValueError, match="cannot be loaded as") as caught:
        load_model("lite")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword"  # Keras.
)
def test_another_model_is_refused(folder):
    import keras

    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.save(folder / "lite.keras")
    with pytest.raises(ValueError, match="expected a FaceGCN, got a Func"):
        load_model("lite")
