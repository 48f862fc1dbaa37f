"""EXIF orientation of a photo's file, read inside a TensorFlow graph.

TensorFlow's decoders leave it out. Files that contradict themselves count as
upright.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

_UPRIGHT = 1
_EXIF_START = b"Exif\0\0"
_LITTLE_ENDIAN, _BIG_ENDIAN = b"II", b"MM"
_ORIENTATION_TAG = 0x0112
_SHORT = 3
_ENTRY_BYTES = 12
# Bytes of a PNG's signature, and of a chunk beside its data.
_PNG_START, _PNG_CHUNK = 8, 12
_APP1, _SCAN, _END = 0xE1, 0xDA, 0xD9
# Segments of a JPEG, chunks of a PNG or entries of a directory that are
# looked at; a file can have millions.
_MOST = 1000


def jpeg_orientation(data: tf.Tensor) -> tf.Tensor:
    """Reads the orientation of a JPEG file.

    Args:
        data: Scalar string.

    Returns:
        Scalar int32, 1 to 8.
    """
    length = tf.strings.length(data)

    def following(position: tf.Tensor) -> tf.Tensor:
        # Any number of 0xFF may stand before a marker.
        is_padding = _number(data, position + 1, 1) == 0xFF
        return tf.where(
            is_padding,
            position + 1,
            position + 2 + _number(data, position + 2, 2),
        )

    def is_exif(position: tf.Tensor) -> tf.Tensor:
        start = tf.strings.substr(data, _within(position + 4, length), 6)
        is_app1 = _number(data, position + 1, 1) == _APP1
        return is_app1 & (start == _EXIF_START)

    def is_end(position: tf.Tensor) -> tf.Tensor:
        marker = _number(data, position + 1, 1)
        is_marker = _number(data, position, 1) == 0xFF
        return ~is_marker | (marker == _SCAN) | (marker == _END)

    found = _find(2, length, following, is_exif, is_end)
    start = found + 4 + len(_EXIF_START)
    end = tf.minimum(found + 2 + _number(data, found + 2, 2), length)
    return _of_directory(data, found, start, end)


def png_orientation(data: tf.Tensor) -> tf.Tensor:
    """Reads the orientation of a PNG file, as `jpeg_orientation`."""
    length = tf.strings.length(data)

    def name(position: tf.Tensor) -> tf.Tensor:
        return tf.strings.substr(data, _within(position + 4, length), 4)

    found = _find(
        _PNG_START,
        length,
        lambda position: position + _PNG_CHUNK + _number(data, position, 4),
        lambda position: name(position) == b"eXIf",
        lambda position: name(position) == b"IEND",
    )
    start = found + 8
    end = tf.minimum(start + _number(data, found, 4), length)
    return _of_directory(data, found, start, end)


def _find(
    first: int,
    length: tf.Tensor,
    following: Callable[[tf.Tensor], tf.Tensor],
    is_wanted: Callable[[tf.Tensor], tf.Tensor],
    is_end: Callable[[tf.Tensor], tf.Tensor],
) -> tf.Tensor:
    """Goes from part to part; gives the wanted one's position, or -1."""

    def search(position: tf.Tensor) -> tf.Tensor:
        ended = (position + 4 >= length) | is_end(position)
        # Lengths are 32 bits without sign: a damaged one may turn negative.
        after = following(position)
        after = tf.where(after > position, after, length)
        return tf.where(ended, -1, after)

    last = tf.while_loop(
        lambda position: (position >= 0) & ~is_wanted(position),
        lambda position: (search(position),),
        (tf.constant(first),),
        maximum_iterations=_MOST,
        parallel_iterations=1,
    )[0]
    return tf.where(is_wanted(last), last, -1)


def _of_directory(
    data: tf.Tensor, found: tf.Tensor, start: tf.Tensor, end: tf.Tensor
) -> tf.Tensor:
    """Reads the orientation of TIFF data in `[start, end)`, if it was found."""

    def read() -> tf.Tensor:
        tiff = tf.strings.substr(data, start, tf.maximum(end - start, 0))
        order = tf.strings.substr(tiff, 0, 2)
        swapped = order == _LITTLE_ENDIAN
        directory = _number(tiff, 4, 4, swapped)
        known = swapped | (order == _BIG_ENDIAN)
        count = tf.minimum(_number(tiff, directory, 2, swapped), _MOST)
        entries = directory + 2 + _ENTRY_BYTES * tf.range(count)
        tags = tf.map_fn(
            lambda entry: _number(tiff, entry, 2, swapped), entries
        )
        wanted = tf.concat([entries[tags == _ORIENTATION_TAG], [-1]], 0)[0]
        kind = _number(tiff, wanted + 2, 2, swapped)
        value = _number(tiff, wanted + 8, 2, swapped)
        valid = known & (wanted >= 0) & (kind == _SHORT)
        valid &= (value >= 1) & (value <= 8)
        return tf.where(valid, value, _UPRIGHT)

    return tf.cond(found >= 0, read, lambda: tf.constant(_UPRIGHT))


def _number(
    data: tf.Tensor,
    position: tf.Tensor,
    size: int,
    swapped: tf.Tensor | bool = False,
) -> tf.Tensor:
    """Reads a whole number, the high byte first; 0 beyond the end."""
    length = tf.strings.length(data)
    inside = (position >= 0) & (position + size <= length)
    start = tf.where(inside, position, 0)
    text = tf.where(inside, tf.strings.substr(data, start, size), b"\0" * size)
    values = tf.cast(tf.io.decode_raw(text, tf.uint8), tf.int32)
    values = tf.ensure_shape(values, (size,))
    values = tf.cond(
        tf.convert_to_tensor(swapped), lambda: values[::-1], lambda: values
    )
    powers = [1 << 8 * power for power in reversed(range(size))]
    return tf.reduce_sum(values * powers)


def _within(position: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(position, 0, length)
