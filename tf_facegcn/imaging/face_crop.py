"""FaceCrop: the square part of a photo that the network sees."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tf_facegcn.imaging.bounding_box import BoundingBox

# Crop units are pixels of a crop of this size whatever the network's input
# size: the unit in which Eq. 3 of the paper makes sense.
CROP_UNITS = 256

# How far width and height of a "square" may differ, as a share of the width:
# rounding errors of float64 boxes at any position in a photo.
_SQUARE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class FaceCrop:
    """Maps between a photo and a square crop of it.

    Three coordinate systems meet here, each with the centre of its top-left
    pixel at (0, 0), x to the right, y down:

    - photo pixels;
    - crop pixels, `size` of them along the crop;
    - crop units, 256 of them along the crop, whatever `size` is.

    The map from photo pixels to crop units is
    `u = (x + 0.5 - left) * 256 / side - 0.5`, the same for `v`, and
    `z * 256 / side` for depths.

    Args:
        box: Square box in the photo's pixels, which may reach beyond the
            photo.
        size: Side of the crop, in crop pixels.

    Raises:
        ValueError: If the box is not square or `size` is not positive.

    Example:
        >>> crop = FaceCrop(BoundingBox(100, 50, 228, 178), size=128)
        >>> crop.to_crop([[164.0, 114.0, 10.0]]).tolist()
        [[128.5, 128.5, 20.0]]
    """

    box: BoundingBox
    size: int

    def __post_init__(self) -> None:
        difference = abs(self.box.width - self.box.height)
        if difference > _SQUARE_TOLERANCE * self.box.width:
            raise ValueError(
                "The box of a crop must be square, see BoundingBox.square. "
                f"Received: box={self.box}"
            )
        if self.size < 1:
            raise ValueError(
                f"size must be at least 1. Received: size={self.size}"
            )

    def crop(self, photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Cuts the crop out of a photo.

        Bilinear sampling at exact sub-pixel positions. A box that is shrunk
        is first averaged over whole blocks of `k * k` photo pixels, `k` the
        rounded factor, so that detail finer than the crop's pixels does not
        alias. What lies beyond the photo is black.

        Args:
            photo: `(height, width, 3)` uint8.

        Returns:
            `(size, size, 3)` uint8.
        """
        height, width = photo.shape[:2]
        columns = _Axis.of_crop(self.box.left, self.box.right, width, self.size)
        rows = _Axis.of_crop(self.box.top, self.box.bottom, height, self.size)
        if columns.first >= columns.last or rows.first >= rows.last:
            return np.zeros((self.size, self.size, 3), np.uint8)
        part = photo[rows.first : rows.last, columns.first : columns.last]
        if columns.block > 1 or rows.block > 1:
            part = _block_means(part, rows.block, columns.block)
        linear = [[columns.scale, 0.0], [0.0, rows.scale]]
        offsets = [[columns.offset], [rows.offset]]
        crop = cv2.warpAffine(
            part,
            np.hstack([linear, offsets]),
            (self.size, self.size),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(0, 0, 0),
        )
        return np.asarray(crop, np.uint8)

    def to_photo(self, points: ArrayLike) -> NDArray[np.float64]:
        """Maps crop units to photo pixels.

        Args:
            points: `(..., 2)` or `(..., 3)` float, crop units.

        Returns:
            The same points in photo pixels; z is scaled, not shifted.
        """
        array = _checked_points(points)
        side = self.box.width
        mapped = array * (side / CROP_UNITS)
        shift = 0.5 * side / CROP_UNITS - 0.5
        mapped[..., 0] += self.box.left + shift
        mapped[..., 1] += self.box.top + shift
        return mapped

    def to_crop(self, points: ArrayLike) -> NDArray[np.float64]:
        """Maps photo pixels to crop units, the inverse of `to_photo`."""
        array = _checked_points(points)
        scale = CROP_UNITS / self.box.width
        mapped = array * scale
        mapped[..., 0] += (0.5 - self.box.left) * scale - 0.5
        mapped[..., 1] += (0.5 - self.box.top) * scale - 0.5
        return mapped


def _checked_points(points: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(points, dtype=np.float64)
    if array.ndim < 1 or array.shape[-1] not in (2, 3):
        raise ValueError(
            "points must have shape (..., 2) or (..., 3). "
            f"Received: points.shape={array.shape}"
        )
    return array


@dataclass(frozen=True)
class _Axis:
    """How a crop reads one axis of a photo.

    Only the pixels `[first, last)` are read, in blocks of `block`; crop pixel
    `j` has its centre at `scale * j + offset` in these blocks. Cutting this
    part out first keeps big photos fast and within OpenCV's 32,767 pixels.
    """

    first: int
    last: int
    block: int
    scale: float
    offset: float

    @classmethod
    def of_crop(
        cls, start: float, stop: float, length: int, size: int
    ) -> _Axis:
        step = (stop - start) / size  # Photo pixels in a crop pixel.
        block = min(max(1, round(step)), length)
        # One block more on each side, for the neighbours that bilinear
        # sampling asks for.
        first = max(0, (math.floor(start / block) - 1) * block)
        last = min(length, (math.ceil(stop / block) + 1) * block)
        scale = step / block
        # The centre of crop pixel j is at the edge coordinate
        # start + (j + 0.5) * step of the photo; of block b, at
        # first + (b + 0.5) * block.
        offset = (start - first) / block + 0.5 * scale - 0.5
        return cls(first, last, block, scale, offset)


def _block_means(
    part: NDArray[np.uint8], rows: int, columns: int
) -> NDArray[np.uint8]:
    """Averages whole blocks; black fills up those cut by the photo's end."""
    bottom, right = -part.shape[0] % rows, -part.shape[1] % columns
    padded: cv2.typing.MatLike = part
    if bottom or right:
        padded = cv2.copyMakeBorder(
            part, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=(0, 0, 0)
        )
    size = (padded.shape[1] // columns, padded.shape[0] // rows)
    means = cv2.resize(padded, size, interpolation=cv2.INTER_AREA)
    return np.asarray(means, np.uint8)
