"""Decoding and cropping of photos inside a TensorFlow graph.

Equal, pixel by pixel, to `tf_facegcn.imaging`: a client may send a photo's
file, and gets the mesh that `Predictor` finds.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from serving.exif_orientation import jpeg_orientation, png_orientation
from tf_facegcn.imaging.bounding_box import CROP_SIDE_RATIO
from tf_facegcn.imaging.crop_axis import WEIGHT_BITS
from tf_facegcn.imaging.face_crop import CROP_UNITS
from tf_facegcn.imaging.upright_crop import LEAST_LEAN, ROLL_STEP

_JPEG_START = b"\xff\xd8\xff"
_PNG_START = b"\x89PNG\r\n\x1a\n"
# Where a PNG says its width and height, each four bytes.
_PNG_SIZE = 16
# Boxes reach at most so many pixels beyond 0: exact in float32, as boxes come.
_MAX_EDGE = 1e6


def decode_photo(data: tf.Tensor, max_pixels: int) -> tf.Tensor:
    """Decodes a photo's file, upright.

    Args:
        data: Scalar string, the bytes of a JPEG or PNG file.
        max_pixels: Photos of more pixels are refused before they are decoded.

    Returns:
        `(height, width, 3)` uint8, RGB. An error of the graph,
        `InvalidArgumentError`, if the bytes are no such file.
    """
    is_jpeg = tf.strings.substr(data, 0, len(_JPEG_START)) == _JPEG_START
    is_png = tf.strings.substr(data, 0, len(_PNG_START)) == _PNG_START
    data = _checked(
        data,
        is_jpeg | is_png,
        "Expected the bytes of a JPEG or PNG file, got something else",
    )
    height, width = tf.cond(
        is_jpeg, lambda: _jpeg_size(data), lambda: _png_size(data)
    )
    data = _checked(
        data,
        (height > 0) & (width > 0) & (height * width <= max_pixels),
        f"Expected a photo of at most {max_pixels / 1e6:g} megapixels; make a "
        "smaller copy",
    )
    pixels = tf.cond(
        is_jpeg,
        # As OpenCV decodes; TensorFlow's default differs by up to 3 levels.
        lambda: tf.io.decode_jpeg(
            data, channels=3, dct_method="INTEGER_ACCURATE"
        ),
        lambda: tf.io.decode_png(data, channels=3),
    )
    orientation = tf.cond(
        is_jpeg, lambda: jpeg_orientation(data), lambda: png_orientation(data)
    )
    return _upright(tf.ensure_shape(pixels, (None, None, 3)), orientation)


def whole_photo(photo: tf.Tensor) -> tf.Tensor:
    """Returns the box of a whole photo, `(4,)` float64."""
    shape = tf.cast(tf.shape(photo), tf.float64)
    zero = tf.zeros((), tf.float64)
    return tf.stack([zero, zero, shape[1], shape[0]])


def checked_box(box: tf.Tensor, photo: tf.Tensor) -> tf.Tensor:
    """Checks that a box is one and overlaps a photo.

    Args:
        box: `(4,)` float: left, top, right, bottom in pixels.
        photo: `(height, width, 3)` uint8.

    Returns:
        The box, float64.
    """
    box = tf.cast(box, tf.float64)
    whole = whole_photo(photo)
    low = tf.maximum(box[:2], whole[:2])
    high = tf.minimum(box[2:], whole[2:])
    return _checked(
        box,
        # False for NaN too.
        tf.reduce_all(low < high) & tf.reduce_all(tf.abs(box) <= _MAX_EDGE),
        "Expected a box left, top, right, bottom in pixels, left < right and "
        f"top < bottom, at most {_MAX_EDGE:g}, that overlaps the photo",
    )


def square(box: tf.Tensor, ratio: float = 1.0) -> tf.Tensor:
    """Makes the square around a box, see `BoundingBox.square`.

    Args:
        box: `(..., 4)` float64.
        ratio: Side of the square over the box's longer side.
    """
    center = (box[..., :2] + box[..., 2:]) / 2
    sides = box[..., 2:] - box[..., :2]
    half = ratio * tf.reduce_max(sides, -1, keepdims=True) / 2
    return tf.concat([center - half, center + half], -1)


class Crop(NamedTuple):
    """What `FaceCrop` holds, without its size, as tensors.

    Attributes:
        box: `(4,)` float64, square.
        roll: `()` float64, degrees.
        cosine: `()` float64, of the roll.
        sine: `()` float64.
    """

    box: tf.Tensor
    roll: tf.Tensor
    cosine: tf.Tensor
    sine: tf.Tensor

    @classmethod
    def of_box(cls, box: tf.Tensor) -> Crop:
        """The crop of a square `(4,)` box, not turned."""
        zero = tf.zeros((), tf.float64)
        return cls(box, zero, tf.ones_like(zero), zero)


def upright_crop(landmarks: tf.Tensor, template: NDArray[np.floating]) -> Crop:
    """Makes the crop around landmarks, see `imaging.upright_crop`.

    Args:
        landmarks: `(68, 3)` float64 in a photo's pixels.
        template: `(68, 2)` or `(68, 3)`, those of the mean head, y down.
    """
    # NaN would become an index that is not in the tables.
    landmarks = _checked(
        landmarks,
        tf.reduce_all(tf.math.is_finite(landmarks)),
        "The network's output is not finite, so its weights are damaged",
    )
    points = landmarks[:, :2]
    reference = np.asarray(template, np.float64)[:, :2]
    reference = reference - reference.mean(axis=0)
    cosine = tf.reduce_sum(reference * points)
    sine = tf.reduce_sum(
        reference[:, 1] * points[:, 0] - reference[:, 0] * points[:, 1]
    )
    degrees = tf.atan2(sine, cosine) * (180 / math.pi)
    leans = tf.abs(degrees) >= LEAST_LEAN
    steps = tf.where(leans, tf.round(degrees / ROLL_STEP), 0.0)
    steps = tf.cast(steps, tf.int32)
    # Taken from tables, as the cosines of TensorFlow and of NumPy may differ
    # in the last digit.
    rolls = range(-180, 181, ROLL_STEP)
    roll, cosine, sine = (
        tf.gather(tf.constant(table, tf.float64), steps + len(rolls) // 2)
        for table in (
            [float(each) for each in rolls],
            [math.cos(math.radians(each)) for each in rolls],
            [math.sin(math.radians(each)) for each in rolls],
        )
    )
    turned = tf.stack(
        [
            cosine * points[:, 0] - sine * points[:, 1],
            sine * points[:, 0] + cosine * points[:, 1],
        ],
        -1,
    )
    low = tf.reduce_min(turned, 0) + 0.5
    high = tf.reduce_max(turned, 0) + 0.5
    box = square(tf.concat([low, high], -1), CROP_SIDE_RATIO)
    center = (box[:2] + box[2:]) / 2 - 0.5
    center = tf.stack(
        [
            cosine * center[0] + sine * center[1] + 0.5,
            cosine * center[1] - sine * center[0] + 0.5,
        ]
    )
    half = 0.5 * (box[2] - box[0])
    box = tf.concat([center - half, center + half], -1)
    return Crop(box, roll, cosine, sine)


def crop_photo(photo: tf.Tensor, crop: Crop, size: int) -> tf.Tensor:
    """Cuts a crop out of a photo, see `FaceCrop.crop`.

    Args:
        photo: `(height, width, 3)` uint8.
        crop: Which part of it.
        size: Side of the crop in pixels.

    Returns:
        `(size, size, 3)` uint8.
    """
    shape = tf.shape(photo)
    box, cosine, sine = crop.box, crop.cosine, crop.sine
    side = box[2] - box[0]
    center = (box[:2] + box[2:]) / 2
    step = side / size
    reach = 0.5 * side * (tf.abs(cosine) + tf.abs(sine))
    columns = _axis(center[0] - reach, center[0] + reach, shape[1], step)
    rows = _axis(center[1] - reach, center[1] + reach, shape[0], step)
    offsets = (tf.range(size, dtype=tf.float64) + 0.5) * step - 0.5 * side
    across, down = offsets[tf.newaxis], offsets[:, tf.newaxis]
    x = center[0] + cosine * across + sine * down
    y = center[1] + cosine * down - sine * across
    outside = (columns.first >= columns.last) | (rows.first >= rows.last)
    return tf.cond(
        outside,
        lambda: tf.zeros((size, size, 3), tf.uint8),
        lambda: tf.ensure_shape(
            _resample(photo, rows, columns, y, x), (size, size, 3)
        ),
    )


def to_photo(points: tf.Tensor, crop: Crop) -> tf.Tensor:
    """Maps crop units to photo pixels, mean depth 0.

    Args:
        points: `(V, 3)` float32, crop units.
        crop: The crop.

    Returns:
        `(V, 3)` float64, see `FaceCrop.to_photo`.
    """
    box, cosine, sine = crop.box, crop.cosine, crop.sine
    side = box[2] - box[0]
    center = (box[:2] + box[2:]) / 2
    scaled = tf.cast(points, tf.float64) * (side / CROP_UNITS)
    shift = 0.5 * side / CROP_UNITS - 0.5 * side
    across, down = scaled[:, 0] + shift, scaled[:, 1] + shift
    depth = scaled[:, 2]
    return tf.stack(
        [
            cosine * across + sine * down + (center[0] - 0.5),
            cosine * down - sine * across + (center[1] - 0.5),
            depth - tf.reduce_mean(depth),
        ],
        -1,
    )


class _Axis(NamedTuple):
    """What `CropAxis` holds, as scalar tensors, and its number of blocks."""

    first: tf.Tensor
    last: tf.Tensor
    block: tf.Tensor
    num_blocks: tf.Tensor


def _axis(
    start: tf.Tensor, stop: tf.Tensor, length: tf.Tensor, step: tf.Tensor
) -> _Axis:
    exact_length = tf.cast(length, tf.float64)
    block = tf.minimum(tf.maximum(tf.round(step), 1.0), exact_length)
    first = tf.maximum((tf.floor(start / block) - 1) * block, 0.0)
    last = tf.minimum((tf.math.ceil(stop / block) + 1) * block, exact_length)
    # What lies far outside is empty; its numbers need not fit 32 bits.
    first = tf.minimum(first, exact_length)
    last = tf.maximum(last, 0.0)
    pixels = [tf.cast(value, tf.int32) for value in (first, last, block)]
    num_blocks = -((pixels[0] - pixels[1]) // pixels[2])
    return _Axis(pixels[0], pixels[1], pixels[2], num_blocks)


def _neighbors(axis: _Axis, edges: tf.Tensor) -> tuple[tf.Tensor, ...]:
    first, block, count = (
        tf.cast(each, tf.float64)
        for each in (axis.first, axis.block, axis.num_blocks)
    )
    positions = (edges - first) / block - 0.5
    before = tf.floor(positions)
    weights = tf.round((positions - before) * 2**WEIGHT_BITS)

    def in_photo(blocks: tf.Tensor) -> tf.Tensor:
        inside = (blocks >= 0) & (blocks < count)
        return tf.cast(tf.where(inside, blocks, count), tf.int32)

    weights = tf.cast(weights, tf.int32)[..., tf.newaxis]
    return in_photo(before), in_photo(before + 1), weights


def _resample(
    photo: tf.Tensor,
    rows: _Axis,
    columns: _Axis,
    row_edges: tf.Tensor,
    column_edges: tf.Tensor,
) -> tf.Tensor:
    part = photo[rows.first : rows.last, columns.first : columns.last]
    sums = _block_sums(part, rows, tf.int32)
    sums = _block_sums(tf.transpose(sums, (1, 0, 2)), columns, tf.int64)
    count = tf.cast(rows.block, tf.int64) * tf.cast(columns.block, tf.int64)
    means = (tf.transpose(sums, (1, 0, 2)) + count // 2) // count
    blocks = tf.pad(tf.cast(means, tf.int32), ((0, 1), (0, 1), (0, 0)))
    width = tf.shape(blocks)[1]
    flat = tf.reshape(blocks, (-1, 3))
    above, below, down = _neighbors(rows, row_edges)
    left, right, across = _neighbors(columns, column_edges)
    first, second = (
        _mix(
            tf.gather(flat, above * width + column),
            tf.gather(flat, below * width + column),
            down,
        )
        for column in (left, right)
    )
    mixed = _mix(first, second, across)
    half = 1 << 2 * WEIGHT_BITS - 1
    rounded = tf.bitwise.right_shift(mixed + half, 2 * WEIGHT_BITS)
    return tf.cast(rounded, tf.uint8)


def _mix(first: tf.Tensor, second: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    return first * (2**WEIGHT_BITS - weights) + second * weights


def _block_sums(values: tf.Tensor, axis: _Axis, dtype: tf.DType) -> tf.Tensor:
    """Adds up each block of the first axis, see `crop_axis`.

    A block's pixels are added one after the other, so that the sums, and not
    the photo, are what is held in `dtype`.
    """
    shape = tf.concat([axis.num_blocks[tf.newaxis], tf.shape(values)[1:]], 0)

    def add(number: tf.Tensor, sums: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        step = tf.cast(values[number :: axis.block], dtype)
        missing = axis.num_blocks - tf.shape(step)[0]
        padding = [[0, missing], [0, 0], [0, 0]]
        return number + 1, sums + tf.pad(step, padding)

    _, sums = tf.while_loop(
        lambda number, sums: number < axis.block,
        add,
        (tf.constant(0), tf.zeros(shape, dtype)),
        (tf.TensorShape(()), tf.TensorShape((None, None, 3))),
        parallel_iterations=1,
    )
    return sums


def _upright(photo: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Applies an EXIF orientation, 1 to 8."""
    transposed = orientation >= 5
    photo = tf.cond(
        transposed, lambda: tf.transpose(photo, (1, 0, 2)), lambda: photo
    )
    flip_columns = tf.reduce_any(orientation == [2, 3, 6, 7])
    flip_rows = tf.reduce_any(orientation == [3, 4, 7, 8])
    photo = tf.cond(flip_columns, lambda: photo[:, ::-1], lambda: photo)
    return tf.cond(flip_rows, lambda: photo[::-1], lambda: photo)


def _jpeg_size(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    shape = tf.image.extract_jpeg_shape(data, tf.int64)
    return shape[0], shape[1]


def _png_size(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    data = _checked(
        data,
        tf.strings.length(data) >= _PNG_SIZE + 8,
        "The PNG file breaks off",
    )
    header = tf.strings.substr(data, _PNG_SIZE, 8)
    values = tf.io.decode_raw(header, tf.uint8)
    values = tf.reshape(tf.cast(values, tf.int64), (2, 4))
    size = tf.reduce_sum(values * [1 << 24, 1 << 16, 1 << 8, 1], 1)
    return size[1], size[0]


def _checked(value: tf.Tensor, condition: tf.Tensor, message: str) -> tf.Tensor:
    """Returns a value that whoever uses it gets after the check only."""
    check = tf.debugging.Assert(condition, [message], summarize=1)
    # Eagerly the check is done already.
    with tf.control_dependencies([] if check is None else [check]):
        return tf.identity(value)
