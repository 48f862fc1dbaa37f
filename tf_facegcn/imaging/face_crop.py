"""FaceCrop: the square part of a photo that the network sees."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tf_facegcn.imaging.bounding_box import BoundingBox
from tf_facegcn.imaging.crop_axis import CropAxis, resample

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
    `z * 256 / side` for depths. With `roll`, x and y are turned about the
    box's centre before.

    Args:
        box: Square box in the photo's pixels, which may reach beyond the
            photo.
        size: Side of the crop, in crop pixels.
        roll: The crop is the box, turned about its centre by so many degrees
            counter-clockwise as seen; a head that leans so is upright in it.

    Raises:
        ValueError: If the box is not square, `size` is not positive or `roll`
            is not finite.

    Example:
        >>> crop = FaceCrop(BoundingBox(100, 50, 228, 178), size=128)
        >>> crop.to_crop([[164.0, 114.0, 10.0]]).tolist()
        [[128.5, 128.5, 20.0]]
    """

    box: BoundingBox
    size: int
    roll: float = 0.0

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
        if not math.isfinite(self.roll):
            raise ValueError(f"roll must be finite. Received: roll={self.roll}")

    def crop(self, photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Cuts the crop out of a photo.

        Bilinear sampling at sub-pixel positions. A box that is shrunk is
        first averaged over whole blocks of `k * k` photo pixels, `k` the
        rounded factor, so that detail finer than the crop's pixels does not
        alias. What lies beyond the photo is black. Pixels are computed in
        integers, so an exported graph finds exactly the same.

        Args:
            photo: `(height, width, 3)` uint8.

        Returns:
            `(size, size, 3)` uint8.
        """
        height, width = photo.shape[:2]
        side, size = self.box.width, self.size
        cosine, sine = self._cosine_and_sine()
        center_x, center_y = self.box.center
        step = side / size
        # Half of what the turned square covers of each axis.
        reach = 0.5 * side * (abs(cosine) + abs(sine))
        columns = CropAxis.of_crop(
            center_x - reach, center_x + reach, width, step
        )
        rows = CropAxis.of_crop(
            center_y - reach, center_y + reach, height, step
        )
        if columns.first >= columns.last or rows.first >= rows.last:
            return np.zeros((size, size, 3), np.uint8)
        part = photo[rows.first : rows.last, columns.first : columns.last]
        offsets = (np.arange(size, dtype=np.float64) + 0.5) * step - 0.5 * side
        across, down = offsets[np.newaxis], offsets[:, np.newaxis]
        x = center_x + cosine * across
        y = center_y + cosine * down
        if sine:
            x = x + sine * down
            y = y - sine * across
        return resample(part, rows, columns, y, x)

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
        shift = 0.5 * side / CROP_UNITS
        cosine, sine = self._cosine_and_sine()
        # From the crop's centre, in photo pixels.
        across = mapped[..., 0] + (shift - 0.5 * side)
        down = mapped[..., 1] + (shift - 0.5 * side)
        center_x, center_y = self.box.center
        mapped[..., 0] = cosine * across + sine * down + (center_x - 0.5)
        mapped[..., 1] = cosine * down - sine * across + (center_y - 0.5)
        return mapped

    def to_crop(self, points: ArrayLike) -> NDArray[np.float64]:
        """Maps photo pixels to crop units, the inverse of `to_photo`."""
        array = _checked_points(points)
        scale = CROP_UNITS / self.box.width
        mapped = array * scale
        cosine, sine = self._cosine_and_sine()
        center_x, center_y = self.box.center
        x = mapped[..., 0] + (0.5 - center_x) * scale
        y = mapped[..., 1] + (0.5 - center_y) * scale
        shift = 0.5 * CROP_UNITS - 0.5
        mapped[..., 0] = cosine * x - sine * y + shift
        mapped[..., 1] = sine * x + cosine * y + shift
        return mapped

    def _cosine_and_sine(self) -> tuple[float, float]:
        angle = math.radians(self.roll)
        return math.cos(angle), math.sin(angle)


def _checked_points(points: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(points, dtype=np.float64)
    if array.ndim < 1 or array.shape[-1] not in (2, 3):
        raise ValueError(
            "points must have shape (..., 2) or (..., 3). "
            f"Received: points.shape={array.shape}"
        )
    return array
