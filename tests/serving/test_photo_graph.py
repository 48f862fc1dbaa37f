"""Decoding and cropping in a graph, against the same in NumPy and OpenCV."""

import struct
import zlib

import cv2
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from serving.photo_graph import (
    Crop,
    checked_box,
    crop_photo,
    decode_photo,
    square,
    to_photo,
    upright_crop,
)
from tests.imaging.photo_files import (
    ASTRONAUT,
    encode,
    jpeg_of_announced_size,
    jpeg_with_orientation,
    make_picture,
    png_of_announced_size,
)
from tf_facegcn.imaging import photo as photo_reader
from tf_facegcn.imaging.bounding_box import BoundingBox
from tf_facegcn.imaging.face_crop import FaceCrop
from tf_facegcn.imaging.upright_crop import LEAST_LEAN, ROLL_STEP
from tf_facegcn.imaging.upright_crop import upright_crop as numpy_upright_crop

MAX_PIXELS = 2_000_000


@tf.function(input_signature=[tf.TensorSpec((), tf.string)])
def decode(data):
    return decode_photo(data, MAX_PIXELS)


@tf.function(
    input_signature=[
        tf.TensorSpec((None, None, 3), tf.uint8),
        tf.TensorSpec((4,), tf.float64),
    ]
)
def crop(photo, box):
    return crop_photo(photo, Crop.of_box(box), 32)


# The mean head's landmarks, in any unit: here leaves of a spiral.
TEMPLATE = np.stack(
    [np.sqrt(np.arange(68)) * f(np.arange(68)) for f in (np.cos, np.sin)], 1
)


@tf.function(
    input_signature=[
        tf.TensorSpec((None, None, 3), tf.uint8),
        tf.TensorSpec((68, 3), tf.float64),
    ]
)
def turned_crop(photo, landmarks):
    turned = upright_crop(landmarks, TEMPLATE)
    points = to_photo(tf.cast(landmarks, tf.float32), turned)
    return turned, crop_photo(photo, turned, 32), points


def leaning(roll, center, scale):
    """The template's landmarks, of a head of some roll in degrees."""
    angle = np.radians(roll)
    cosine, sine = np.cos(angle), np.sin(angle)
    points = TEMPLATE @ [[cosine, -sine], [sine, cosine]] * scale + center
    return np.concatenate([points, np.arange(68.0)[:, None]], axis=1)


def with_png_orientation(data, orientation, order=">"):
    """Puts an eXIf chunk before a PNG's pixels."""
    mark = {"<": b"II", ">": b"MM"}[order]
    tiff = mark + struct.pack(f"{order}HIH", 42, 8, 1)
    tiff += struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)
    name = b"eXIf" + tiff + bytes(4)
    chunk = struct.pack(">I", len(tiff) + 4) + name
    chunk += struct.pack(">I", zlib.crc32(name))
    start = data.index(b"IDAT") - 4
    return data[:start] + chunk + data[start:]


def noise(height=37, width=53, channels=3):
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (height, width, channels), np.uint8)
    return cv2.GaussianBlur(pixels, (5, 5), 0).reshape(height, width, channels)


FILES = {
    "jpeg": encode(noise(), ".jpg"),
    "rough jpeg": encode(noise(), ".jpg", cv2.IMWRITE_JPEG_QUALITY, 30),
    "progressive": encode(noise(), ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "grey jpeg": encode(noise()[..., 0], ".jpg"),
    "a photo": ASTRONAUT.read_bytes(),
    "png": encode(noise()),
    "grey png": encode(noise()[..., 0]),
    "png with alpha": encode(noise(channels=4)),
    "16 bits": encode(np.arange(3000, dtype=np.uint16).reshape(20, 50, 3) * 20),
    "turned png": with_png_orientation(encode(noise()), 6),
    "turned png, little endian": with_png_orientation(encode(noise()), 3, "<"),
    **{
        f"orientation {value}": jpeg_with_orientation(make_picture(), value)
        for value in range(10)
    },
}


@pytest.mark.parametrize("name", FILES)
def test_decodes_as_the_reader_does(name):
    expected = photo_reader.decode_photo(FILES[name], name)
    np.testing.assert_array_equal(decode(FILES[name]), expected)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "JPEG or PNG"),
        (b"GIF89a and so on", "JPEG or PNG"),
        (b"\xff\xd8\xff", "JPEG"),
        (b"\x89PNG\r\n\x1a\n", "breaks off"),
        (FILES["jpeg"][:-40], "JPEG"),
        (FILES["png"][:-40], "PNG"),
        (png_of_announced_size(60_000, 60_000), "at most 2 megapixels"),
        (jpeg_of_announced_size(60_000, 60_000), "at most 2 megapixels"),
        (png_of_announced_size(0, 5), "at most 2 megapixels"),
    ],
)
def test_refuses_what_is_no_photo(data, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        decode(data)


@given(data=st.data())
def test_survives_mutated_files(data):
    name = data.draw(st.sampled_from(sorted(FILES)))
    file = bytearray(FILES[name])
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, min(len(file), 600) - 1))
        file[place] = data.draw(st.integers(0, 255))
    try:
        pixels = decode(bytes(file))
    except tf.errors.OpError as error:
        assert isinstance(error, tf.errors.InvalidArgumentError)
    else:
        assert pixels.shape[-1] == 3


@given(
    left=st.floats(-300, 300),
    top=st.floats(-300, 300),
    side=st.floats(0.5, 900),
    width=st.integers(1, 200),
    height=st.integers(1, 200),
)
def test_crops_as_the_predictor_does(left, top, side, width, height):
    photo = np.random.default_rng(0).integers(
        0, 256, (height, width, 3), np.uint8
    )
    box = BoundingBox(left, top, left + side, top + side)
    expected = FaceCrop(box, 32).crop(photo)
    np.testing.assert_array_equal(crop(photo, box.as_tuple()), expected)


def test_crops_far_away_and_enormous_boxes():
    photo = np.full((50, 40, 3), 200, np.uint8)
    far = BoundingBox(1e6 - 10, 1e6 - 10, 1e6, 1e6)
    assert not crop(photo, far.as_tuple()).numpy().any()
    large = BoundingBox(-5e5, -5e5, 5e5, 5e5)
    expected = FaceCrop(large, 32).crop(photo)
    np.testing.assert_array_equal(crop(photo, large.as_tuple()), expected)


@given(
    roll=st.floats(-180, 180).filter(
        # Between two steps either may be the nearer.
        lambda roll: (
            abs(roll / ROLL_STEP % 1 - 0.5) > 1e-6
            and abs(abs(roll) - LEAST_LEAN) > 1e-6
        )
    ),
    x=st.floats(-100, 300),
    y=st.floats(-100, 300),
    scale=st.floats(0.1, 60),
    width=st.integers(1, 200),
    height=st.integers(1, 200),
)
def test_crops_around_landmarks_as_the_predictor_does(
    roll, x, y, scale, width, height
):
    photo = np.random.default_rng(0).integers(
        0, 256, (height, width, 3), np.uint8
    )
    landmarks = leaning(roll, (x, y), scale)
    expected = numpy_upright_crop(landmarks, TEMPLATE, 32)
    turned, pixels, points = turned_crop(photo, landmarks)
    assert turned.roll == expected.roll
    np.testing.assert_array_equal(turned.box, expected.box.as_tuple())
    np.testing.assert_array_equal(pixels, expected.crop(photo))
    mapped = expected.to_photo(landmarks.astype(np.float32))
    mapped[:, 2] -= mapped[:, 2].mean()
    np.testing.assert_allclose(points, mapped, rtol=1e-9, atol=1e-9)


def test_landmarks_that_are_no_numbers_are_an_error():
    landmarks = leaning(0, (50, 50), 5)
    landmarks[7, 1] = np.nan
    with pytest.raises(tf.errors.InvalidArgumentError, match="not finite"):
        turned_crop(noise(), landmarks)


def test_squares_as_the_predictor_does():
    given_box = BoundingBox(1, 2, 31, 12)
    np.testing.assert_array_equal(
        square(tf.constant(given_box.as_tuple(), tf.float64)),
        given_box.square().as_tuple(),
    )


@pytest.mark.parametrize(
    "box",
    [
        (5, 5, 5, 9),
        (9, 5, 5, 9),
        (-9, 0, 0, 9),
        (0, 50, 9, 60),
        (np.nan, 0, 9, 9),
        (0, 0, np.inf, 9),
        (-1e9, 0, 9, 9),
    ],
)
def test_refuses_boxes_beside_the_photo(box):
    photo = np.zeros((50, 40, 3), np.uint8)
    with pytest.raises(tf.errors.InvalidArgumentError, match="Expected a box"):
        checked_box(tf.constant(box, tf.float32), photo)
