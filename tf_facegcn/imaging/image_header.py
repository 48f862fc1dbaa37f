"""ImageHeader: format and size of an image file, read without decoding it.

A file of a few hundred bytes can announce a picture of a gigapixel, for which
a decoder would allocate gigabytes before it finds out.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

_JPEG_START = b"\xff\xd8\xff"
_PNG_START = b"\x89PNG\r\n\x1a\n"
_TIFF_STARTS = {b"II*\0": "<", b"MM\0*": ">"}
# Start-of-frame markers: 0xC0 to 0xCF without DHT, JPG and DAC.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_SCAN = 0xDA
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257
_TIFF_SHORT, _TIFF_LONG = 3, 4


@dataclass(frozen=True)
class ImageHeader:
    """What an image file says about itself.

    Args:
        format: `"JPEG"`, `"PNG"`, `"WebP"`, `"BMP"` or `"TIFF"`.
        width: Columns, before any EXIF rotation.
        height: Rows, before any EXIF rotation.
        complete: Whether the file has its end: an end marker in a JPEG, all
            chunks with the right check sums in a PNG, the announced length in
            a WebP or a BMP. Not looked for in a TIFF.
    """

    format: str
    width: int
    height: int
    complete: bool

    @classmethod
    def parse(cls, data: bytes) -> ImageHeader | None:
        """Reads a header.

        Args:
            data: The whole file.

        Returns:
            The header, or `None` if this is no JPEG, PNG, WebP, BMP or TIFF.

        Raises:
            ValueError: If the file begins like one of these and breaks off
                or contradicts itself before it has said its size.
        """
        for start, parse in _PARSERS.items():
            if data.startswith(start):
                try:
                    return parse(data)
                except (struct.error, IndexError) as error:
                    raise ValueError(
                        f"The header breaks off. Received: {len(data)} bytes"
                    ) from error
        return None


def _parse_jpeg(data: bytes) -> ImageHeader:
    size = None
    position = len(b"\xff\xd8")
    while True:
        # Decoders pass over stray bytes between segments, so does this.
        position = data.find(b"\xff", position)
        if position < 0:
            raise IndexError("no further marker")
        marker = data[position + 1]
        if marker == 0xFF:  # Padding.
            position += 1
            continue
        if marker in _JPEG_FRAMES:
            size = struct.unpack_from(">HH", data, position + 5)
        if marker == _JPEG_SCAN:
            break
        (length,) = struct.unpack_from(">H", data, position + 2)
        position += 2 + length
    if size is None:
        raise ValueError("Expected a size before the first scan of a JPEG")
    # Inside a scan 0xFF is always escaped, so this is the end marker and no
    # accident; that of an embedded thumbnail lies before the scan.
    complete = data.find(b"\xff\xd9", position) >= 0
    return ImageHeader("JPEG", size[1], size[0], complete)


def _parse_png(data: bytes) -> ImageHeader:
    width, height = struct.unpack_from(">II", data, 16)
    return ImageHeader("PNG", width, height, _png_is_complete(data))


def _png_is_complete(data: bytes) -> bool:
    position = len(_PNG_START)
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        name = data[position + 4 : position + 8]
        end = position + 8 + length
        if end + 4 > len(data):
            return False
        (check_sum,) = struct.unpack_from(">I", data, end)
        if zlib.crc32(memoryview(data)[position + 4 : end]) != check_sum:
            return False
        if name == b"IEND":
            return True
        position = end + 4
    return False


def _parse_webp(data: bytes) -> ImageHeader | None:
    if data[8:12] != b"WEBP":
        return None
    (length,) = struct.unpack_from("<I", data, 4)
    complete = len(data) >= 8 + length
    kind = data[12:16]
    if kind == b"VP8X":
        width = 1 + int.from_bytes(_slice(data, 24, 27), "little")
        height = 1 + int.from_bytes(_slice(data, 27, 30), "little")
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        width, height = struct.unpack_from("<HH", data, 26)
        width, height = width & 0x3FFF, height & 0x3FFF
    return ImageHeader("WebP", width, height, complete)


def _parse_bmp(data: bytes) -> ImageHeader:
    (length,) = struct.unpack_from("<I", data, 2)
    (header_size,) = struct.unpack_from("<I", data, 14)
    if header_size == 12:  # OS/2.
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    # A negative height says that the rows run from the top.
    return ImageHeader("BMP", width, abs(height), len(data) >= length)


def _parse_tiff(data: bytes) -> ImageHeader:
    order = _TIFF_STARTS[data[:4]]
    (directory,) = struct.unpack_from(f"{order}I", data, 4)
    (num_entries,) = struct.unpack_from(f"{order}H", data, directory)
    sizes = {}
    for i in range(num_entries):
        position = directory + 2 + 12 * i
        tag, kind = struct.unpack_from(f"{order}HH", data, position)
        if tag in (_TIFF_WIDTH, _TIFF_HEIGHT):
            code = {_TIFF_SHORT: "H", _TIFF_LONG: "I"}.get(kind)
            if code is None:
                raise ValueError(
                    f"Expected a whole number for a TIFF's size. Received: "
                    f"field type {kind}"
                )
            (sizes[tag],) = struct.unpack_from(
                f"{order}{code}", data, position + 8
            )
    if len(sizes) != 2:
        raise ValueError("Expected width and height in a TIFF's directory")
    width, height = sizes[_TIFF_WIDTH], sizes[_TIFF_HEIGHT]
    return ImageHeader("TIFF", width, height, complete=True)


def _slice(data: bytes, start: int, stop: int) -> bytes:
    if len(data) < stop:
        raise IndexError(stop)
    return data[start:stop]


_PARSERS = {
    _JPEG_START: _parse_jpeg,
    _PNG_START: _parse_png,
    b"RIFF": _parse_webp,
    b"BM": _parse_bmp,
    b"II*\0": _parse_tiff,
    b"MM\0*": _parse_tiff,
}
