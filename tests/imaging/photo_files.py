"""Files of photos, good and bad, that the tests of readers share."""

import base64
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np

ASTRONAUT = (
    Path(__file__).parents[2] / "tf_facegcn" / "assets" / "astronaut.jpg"
)


def make_picture(height=12, width=20):
    """Four patches: red, green over blue, white, so that turns show."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2] = (200, 30, 30)
    picture[: height // 2, width // 2 :] = (30, 200, 30)
    picture[height // 2 :, : width // 2] = (30, 30, 200)
    picture[height // 2 :, width // 2 :] = 250
    return picture


def encode(picture, extension=".png", *options):
    """Encodes RGB, RGBA or grey pixels."""
    if picture.ndim == 3:
        order = [2, 1, 0, 3][: picture.shape[2]]
        picture = picture[:, :, order]
    return cv2.imencode(extension, picture, list(options))[1].tobytes()


def jpeg_with_orientation(picture, orientation):
    """A JPEG whose EXIF block says how the camera was held."""
    data = encode(picture, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 100)
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    tiff = b"II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)
    block = b"Exif\0\0" + tiff
    segment = b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block
    return data[:2] + segment + data[2:]


def png_of_announced_size(width, height):
    """A PNG of a few bytes that announces any size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )


def jpeg_of_announced_size(width, height):
    """A JPEG of one small scan that announces any size."""
    data = bytearray(encode(make_picture(), ".jpg"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


# A CMYK JPEG of 16 x 8 pixels: (200, 40, 40) on the left, (30, 60, 180) on
# the right.
CMYK_JPEG = base64.b64decode(
    "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwAIBgYHBgUIBwcHCQkICgwUDQwLCwwZEhMP"
    "FB0aHx4dGhwcICQuJyAiLCMcHCg3KSwwMTQ0NB8nOT04MjwuMzQy/8AAFAgACAAQ"
    "BEMRAE0RAFkRAEsRAP/EABcAAQEBAQAAAAAAAAAAAAAAAAcIAAX/xAAUEAEAAAAA"
    "AAAAAAAAAAAAAAAA/9oADgRDAE0AWQBLAAA/AEgTic/pVdRRjP/Z"
)
