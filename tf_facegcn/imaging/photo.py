"""Reading of photos: a file in, upright RGB pixels out."""

from os import PathLike
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tf_facegcn.imaging.image_header import ImageHeader
from tf_facegcn.imaging.photo_error import PhotoError

# A decoded photo of this size takes 300 MB. The largest sensors of phones and
# cameras that take portraits have 200 and 150 megapixels, but write 12 to 50
# unless told otherwise.
MAX_PIXELS = 100_000_000

# OpenCV's warps refuse longer sides (SHRT_MAX).
MAX_SIDE = 32_767

# No file of at most `MAX_PIXELS` is larger: 16-bit RGBA, not compressed, and
# as much again for profiles and thumbnails.
MAX_BYTES = 16 * MAX_PIXELS

FORMATS = "JPEG, PNG, WebP, BMP or TIFF"


def read_photo(path: str | PathLike[str]) -> NDArray[np.uint8]:
    """Reads a photo as upright 8-bit RGB.

    EXIF orientation is applied. Grey, palette and CMYK pictures become RGB;
    16 bits become 8; transparency is dropped, so the colours behind it show.
    A file that breaks off is refused: its missing part would be invented.

    Args:
        path: A JPEG, PNG, WebP, BMP or TIFF file of at most 100 megapixels
            (`MAX_PIXELS`); the size is checked before anything is decoded.

    Returns:
        `(height, width, 3)` uint8, RGB.

    Raises:
        PhotoError: If this file is missing, unreadable or no such photo.
    """
    path = Path(path)
    return decode_photo(_read_bytes(path), name=str(path))


def decode_photo(data: bytes, name: str) -> NDArray[np.uint8]:
    """Decodes the bytes of a photo's file, see `read_photo`.

    Args:
        data: The whole file.
        name: What error messages call it.

    Returns:
        `(height, width, 3)` uint8, RGB.

    Raises:
        PhotoError: If these are not the bytes of such a photo.
    """
    if not data:
        raise PhotoError(f"{name}: the file is empty. Expected {FORMATS}")
    try:
        header = ImageHeader.parse(data)
    except ValueError as error:
        raise PhotoError(
            f"{name}: the file is damaged ({error}). Fetch it again"
        ) from error
    if header is None:
        raise PhotoError(
            f"{name}: not a photo that can be read. Expected {FORMATS}"
        )
    _check_size(header, name)
    pixels = _decode(data) if header.complete else None
    if pixels is None:
        state = "damaged" if header.complete else "damaged or breaks off"
        raise PhotoError(
            f"{name}: the {header.format} file of {header.width} x "
            f"{header.height} pixels is {state} and cannot be decoded. Fetch "
            "it again or convert it to 8-bit JPEG or PNG"
        )
    return pixels


def _read_bytes(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise PhotoError(
                f"{path}: expected a photo, got a folder. Name its photos, "
                f"for example {path / '*.jpg'}"
            )
        if path.exists() and not path.is_file():
            raise PhotoError(f"{path}: expected a photo, got a special file")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise PhotoError(
                f"{path}: expected a photo of at most {MAX_BYTES / 1e6:,.0f} "
                f"MB, got {size / 1e6:,.0f} MB. Make a smaller copy"
            )
        return path.read_bytes()
    except FileNotFoundError as error:
        raise PhotoError(
            f"{path}: no such file. Expected a photo ({FORMATS})"
        ) from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise PhotoError(f"{path}: cannot be read: {reason}") from error


def _check_size(header: ImageHeader, name: str) -> None:
    if header.width < 1 or header.height < 1:
        raise PhotoError(
            f"{name}: the {header.format} file says that it has "
            f"{header.width} x {header.height} pixels. Expected at least 1 x 1"
        )
    pixels = header.width * header.height
    if pixels > MAX_PIXELS or max(header.width, header.height) > MAX_SIDE:
        raise PhotoError(
            f"{name}: {header.width:,} x {header.height:,} pixels are too "
            f"many. Expected at most {MAX_PIXELS / 1e6:.0f} megapixels and "
            f"{MAX_SIDE:,} pixels a side; make a smaller copy"
        )


def _decode(data: bytes) -> NDArray[np.uint8] | None:
    try:
        pixels = cv2.imdecode(
            np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB
        )
    except cv2.error:  # Some decoders raise, others return None.
        return None
    return None if pixels is None else np.asarray(pixels, np.uint8)
