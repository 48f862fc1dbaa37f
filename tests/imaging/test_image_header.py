import struct

import cv2
import numpy as np
import pytest

from tests.imaging.photo_files import encode, make_picture
from tf_facegcn.imaging.image_header import ImageHeader

PICTURE = make_picture(height=12, width=20)


@pytest.mark.parametrize(
    ("data", "format_name"),
    [
        (encode(PICTURE, ".jpg"), "JPEG"),
        (encode(PICTURE, ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1), "JPEG"),
        (encode(PICTURE, ".png"), "PNG"),
        (encode(PICTURE, ".webp", cv2.IMWRITE_WEBP_QUALITY, 80), "WebP"),
        (encode(PICTURE, ".webp", cv2.IMWRITE_WEBP_QUALITY, 101), "WebP"),
        (encode(PICTURE, ".bmp"), "BMP"),
        (encode(PICTURE, ".tiff"), "TIFF"),
    ],
)
def test_reads_format_and_size(data, format_name):
    header = ImageHeader.parse(data)
    assert header == ImageHeader(format_name, 20, 12, complete=True)


def test_reads_the_size_of_an_extended_webp():
    chunk = b"VP8X" + struct.pack("<I", 10) + bytes(4)
    sizes = (19).to_bytes(3, "little") + (11).to_bytes(3, "little")
    data = b"RIFF" + struct.pack("<I", 22) + b"WEBP" + chunk + sizes
    assert ImageHeader.parse(data) == ImageHeader("WebP", 20, 12, complete=True)


def test_reads_big_endian_tiff_and_upside_down_bmp():
    entries = struct.pack(">HHII", 256, 4, 1, 20)
    entries += struct.pack(">HHIHH", 257, 3, 1, 12, 0)
    tiff = b"MM\0*" + struct.pack(">IH", 8, 2) + entries
    assert ImageHeader.parse(tiff) == ImageHeader("TIFF", 20, 12, complete=True)
    bmp = b"BM" + struct.pack("<I8xIii", 26, 40, 20, -12)
    assert ImageHeader.parse(bmp) == ImageHeader("BMP", 20, 12, complete=True)


@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp", ".bmp"])
def test_notices_that_the_end_is_missing(extension):
    data = encode(PICTURE, extension)
    header = ImageHeader.parse(data[:-5])
    assert (header.width, header.height) == (20, 12)
    assert not header.complete


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_photo():
    data = encode(PICTURE, ".jpg")
    thumbnail = b"\xff\xe1" + struct.pack(">H", 6) + b"\xff\xd9\0\0"
    data = data[:2] + thumbnail + data[2:]
    assert ImageHeader.parse(data).complete
    assert not ImageHeader.parse(data[:-2]).complete


def test_passes_over_stray_bytes_between_the_segments_of_a_jpeg():
    data = encode(PICTURE, ".jpg")
    header = ImageHeader.parse(data[:2] + b"\xff\xfe\0\2" + b"stray" + data[2:])
    assert (header.width, header.height) == (20, 12)


def test_notices_damage_in_a_png():
    data = bytearray(encode(PICTURE, ".png"))
    data[-20] ^= 1
    assert not ImageHeader.parse(bytes(data)).complete


@pytest.mark.parametrize("data", [b"", b"hello", b"RIFF....WAVE", b"GIF89a"])
def test_other_files_have_no_header(data):
    assert ImageHeader.parse(data) is None


@pytest.mark.parametrize(
    "extension", [".jpg", ".png", ".webp", ".bmp", ".tiff"]
)
def test_any_beginning_of_a_file_is_refused_or_read_but_nothing_else(extension):
    data = encode(PICTURE, extension)
    refused = 0
    for length in range(1, min(len(data), 700)):
        try:
            header = ImageHeader.parse(data[:length])
        except ValueError as error:
            assert "Received" in str(error) or "Expected" in str(error)
            refused += 1
        else:
            assert header is None or (header.width, header.height) == (20, 12)
    assert refused


def test_random_bytes_after_a_signature_never_raise_anything_else():
    generator = np.random.default_rng(0)
    starts = [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"BM"]
    for number in range(300):
        data = starts[number % 5] + generator.bytes(number)
        try:
            ImageHeader.parse(data)
        except ValueError:
            continue
