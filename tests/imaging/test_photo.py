import os
import tracemalloc

import cv2
import numpy as np
import pytest

from tests.imaging.photo_files import (
    ASTRONAUT,
    CMYK_JPEG,
    encode,
    jpeg_of_announced_size,
    jpeg_with_orientation,
    make_picture,
    png_of_announced_size,
)
from tf_facegcn.imaging.photo import MAX_SIDE, decode_photo, read_photo
from tf_facegcn.imaging.photo_error import PhotoError

PICTURE = make_picture()


def read(data, folder, name="photo"):
    path = folder / name
    path.write_bytes(data)
    return read_photo(path)


def test_reads_the_bundled_photo_as_rgb():
    photo = read_photo(ASTRONAUT)
    assert photo.shape == (512, 512, 3)
    assert photo.dtype == np.uint8
    red, green, blue = photo[350, 100].astype(int)  # The orange suit.
    assert red > green + 50 > blue + 50


@pytest.mark.parametrize("extension", [".png", ".bmp", ".tiff"])
def test_lossless_files_are_read_exactly(extension, tmp_path):
    data = encode(PICTURE, extension)
    np.testing.assert_array_equal(read(data, tmp_path), PICTURE)


@pytest.mark.parametrize("extension", [".jpg", ".webp"])
def test_lossy_files_are_read_nearly(extension, tmp_path):
    photo = read(encode(PICTURE, extension), tmp_path).astype(int)
    assert np.abs(photo - PICTURE)[3, 3].max() < 12


def test_grey_becomes_rgb(tmp_path):
    grey = PICTURE[..., 0]
    photo = read(encode(grey), tmp_path)
    np.testing.assert_array_equal(photo, np.repeat(grey[..., None], 3, axis=2))


def test_transparency_is_dropped(tmp_path):
    alpha = np.zeros(PICTURE.shape[:2], np.uint8)
    data = encode(np.dstack([PICTURE, alpha]))
    np.testing.assert_array_equal(read(data, tmp_path), PICTURE)


@pytest.mark.parametrize("extension", [".png", ".tiff"])
def test_16_bits_become_8(extension, tmp_path):
    deep = PICTURE.astype(np.uint16) * 256 + 77
    photo = read(encode(deep, extension), tmp_path)
    np.testing.assert_allclose(photo, PICTURE.astype(int), atol=1)


def test_cmyk_becomes_rgb(tmp_path):
    photo = read(CMYK_JPEG, tmp_path).astype(int)
    assert np.abs(photo[4, 3] - [200, 40, 40]).max() < 5
    assert np.abs(photo[4, 12] - [30, 60, 180]).max() < 5


# How the stored picture must be turned for each EXIF orientation.
TURNS = {
    1: lambda picture: picture,
    2: lambda picture: picture[:, ::-1],
    3: lambda picture: picture[::-1, ::-1],
    4: lambda picture: picture[::-1],
    5: lambda picture: picture.transpose(1, 0, 2),
    6: lambda picture: np.rot90(picture, -1),
    7: lambda picture: picture[::-1, ::-1].transpose(1, 0, 2),
    8: lambda picture: np.rot90(picture),
}


@pytest.mark.parametrize("orientation", TURNS)
def test_exif_orientation_is_applied(orientation, tmp_path):
    stored = make_picture(16, 32)
    photo = read(jpeg_with_orientation(stored, orientation), tmp_path)
    upright = TURNS[orientation](stored).astype(int)
    assert photo.shape == upright.shape
    rows = [2, photo.shape[0] - 3]
    columns = [2, photo.shape[1] - 3]
    difference = photo[np.ix_(rows, columns)] - upright[np.ix_(rows, columns)]
    assert np.abs(difference).max() < 12


def test_one_pixel_is_a_photo(tmp_path):
    photo = read(encode(PICTURE[:1, :1]), tmp_path)
    np.testing.assert_array_equal(photo, PICTURE[:1, :1])


def refuse(data, match):
    with pytest.raises(PhotoError, match=match) as caught:
        decode_photo(data, "me.jpg")
    message = str(caught.value)
    assert message.startswith("me.jpg: ")
    assert "\n" not in message


def test_refuses_an_empty_file():
    refuse(b"", "the file is empty")


def test_refuses_what_is_no_image():
    refuse(b"Dear diary, ...", "Expected JPEG, PNG")


@pytest.mark.parametrize(
    "extension", [".jpg", ".png", ".webp", ".bmp", ".tiff"]
)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_refuses_files_that_break_off(extension, share):
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    data = encode(noise, extension)
    refuse(data[: int(len(data) * share)], "damaged|breaks off")


def test_refuses_a_jpeg_without_its_end_marker():
    refuse(encode(PICTURE, ".jpg")[:-2], "breaks off")


def test_refuses_a_damaged_png_without_a_message_of_the_decoder(capfd):
    data = bytearray(encode(PICTURE))
    data[-20] ^= 1
    refuse(bytes(data), "damaged")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "data",
    [
        png_of_announced_size(20_000, 20_000),
        jpeg_of_announced_size(20_000, 20_000),
        png_of_announced_size(40_000, 1),
    ],
)
def test_refuses_a_gigapixel_before_allocating_it(data):
    tracemalloc.start()
    refuse(data, "too many. Expected at most 100 megapixels")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1e6


def test_refuses_a_size_of_zero():
    refuse(png_of_announced_size(0, 7), "0 x 7 pixels")


def test_one_row_more_than_100_megapixels_is_too_many():
    refuse(png_of_announced_size(10_000, 10_001), "10,000 x 10,001 pixels")
    # At the limit of a side the decoder is asked; there is no picture in it.
    refuse(png_of_announced_size(MAX_SIDE, 1), "cannot be decoded")


def test_refuses_samples_that_are_no_integers():
    floats = PICTURE.astype(np.float32) / 255
    data = cv2.imencode(".tiff", floats)[1].tobytes()
    refuse(data, "convert it to 8-bit")


def test_refuses_a_folder(tmp_path):
    with pytest.raises(PhotoError, match="got a folder"):
        read_photo(tmp_path)


def test_refuses_a_missing_path(tmp_path):
    with pytest.raises(PhotoError, match="no such file"):
        read_photo(tmp_path / "missing.jpg")
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(PhotoError, match="Not a directory"):
        read_photo(tmp_path / "file" / "photo.jpg")


def test_refuses_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PhotoError, match="special file"):
        read_photo(tmp_path / "pipe")


def test_refuses_a_file_of_gigabytes_unread(tmp_path):
    path = tmp_path / "huge.jpg"
    with path.open("wb") as file:
        file.truncate(5_000_000_000)  # Sparse, takes no disk.
    with pytest.raises(PhotoError, match="at most 1,600 MB, got 5,000 MB"):
        read_photo(path)


@pytest.mark.skipif(
    os.geteuid() == 0, reason="the superuser may read every file"
)
def test_refuses_an_unreadable_file(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(encode(PICTURE, ".jpg"))
    path.chmod(0)
    with pytest.raises(PhotoError, match="Permission denied"):
        read_photo(path)


def test_names_the_reason_of_an_unreadable_file(tmp_path, monkeypatch):
    path = tmp_path / "photo.jpg"
    path.write_bytes(encode(PICTURE, ".jpg"))

    def refuse_to_read(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "read_bytes", refuse_to_read)
    with pytest.raises(PhotoError, match=r"photo\.jpg: cannot be read: Perm"):
        read_photo(path)
