"""BoundingBox: an axis-aligned box in a photo's pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

# Side of the crop over the longer side of the landmarks' box. The convention
# of 3DDFA (Zhu et al., CVPR 2016); the paper only says "ground truth bounding
# box".
CROP_SIDE_RATIO = math.sqrt(2)


@dataclass(frozen=True)
class BoundingBox:
    """A box between pixel edges: pixel `i` covers `[i, i + 1)`.

    The box of a whole photo of `width` by `height` pixels is
    `(0, 0, width, height)`. As the centre of pixel `i` has the coordinate `i`
    in every list of points, the point `x` lies at the edge coordinate
    `x + 0.5`. A box may reach beyond the photo.

    Args:
        left: Left edge, in pixels.
        top: Top edge, in pixels, smaller than `bottom`: y points down.
        right: Right edge, in pixels, exclusive.
        bottom: Bottom edge, in pixels, exclusive.

    Raises:
        ValueError: If an edge is not finite or the box is empty.

    Example:
        >>> box = BoundingBox(10, 20, 40, 60)
        >>> box.width, box.height, box.center
        (30.0, 40.0, (25.0, 40.0))
        >>> box.square()
        BoundingBox(left=5.0, top=20.0, right=45.0, bottom=60.0)
    """

    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self) -> None:
        for name in ("left", "top", "right", "bottom"):
            # Also of NumPy scalars, which JSON cannot hold.
            object.__setattr__(self, name, float(getattr(self, name)))
        edges = self.as_tuple()
        if not all(map(math.isfinite, edges)):
            raise ValueError(
                f"The edges of a box must be finite. Received: {edges}"
            )
        if self.right <= self.left or self.bottom <= self.top:
            raise ValueError(
                "A box (left, top, right, bottom) must have left < right and "
                f"top < bottom. Received: {edges}"
            )

    @classmethod
    def from_points(cls, points: ArrayLike) -> BoundingBox:
        """Makes the tight box of points.

        Args:
            points: `(n, 2)` or `(n, 3)` float, pixels, z is ignored. The
                points must span some width and some height.

        Returns:
            The box whose edges pass through the outermost points.
        """
        array = np.asarray(points, dtype=np.float64)
        if array.ndim != 2 or array.shape[1] not in (2, 3) or not len(array):
            raise ValueError(
                "points must have shape (n, 2) or (n, 3) with n at least 2. "
                f"Received: points.shape={array.shape}"
            )
        left, top = array[:, :2].min(axis=0) + 0.5
        right, bottom = array[:, :2].max(axis=0) + 0.5
        return cls(left, top, right, bottom)

    @classmethod
    def of_photo(cls, photo: np.ndarray) -> BoundingBox:
        """Makes the box of a whole photo, an array `(height, width, ...)`."""
        height, width = photo.shape[:2]
        return cls(0, 0, width, height)

    @property
    def width(self) -> float:
        """Width in pixels."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Height in pixels."""
        return self.bottom - self.top

    @property
    def center(self) -> tuple[float, float]:
        """Centre `(x, y)` in edge coordinates."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    @property
    def size(self) -> float:
        """`sqrt(width * height)`, the size that errors are divided by."""
        return math.sqrt(self.width * self.height)

    @property
    def area(self) -> float:
        """Area in square pixels."""
        return self.width * self.height

    def square(
        self, ratio: float = 1.0, shift: tuple[float, float] = (0.0, 0.0)
    ) -> BoundingBox:
        """Makes a square around this box.

        Args:
            ratio: Side of the square over this box's longer side.
            shift: How far the square's centre lies to the right of and below
                this box's centre, in pixels.

        Returns:
            The square box.
        """
        return self.square_of_side(ratio * max(self.width, self.height), shift)

    def square_of_side(
        self, side: float, shift: tuple[float, float] = (0.0, 0.0)
    ) -> BoundingBox:
        """Makes a square of a side in pixels, at this box's shifted centre."""
        x, y = self.center
        x, y = x + shift[0], y + shift[1]
        half = side / 2
        return BoundingBox(x - half, y - half, x + half, y + half)

    def landmarks_crop(self) -> BoundingBox:
        """Makes the network's crop from the tight box of the 68 landmarks.

        Returns:
            The square of side `sqrt(2) * max(width, height)` around the same
            centre (the convention of 3DDFA; not given in the paper).
        """
        return self.square(CROP_SIDE_RATIO)

    def as_tuple(self) -> tuple[float, float, float, float]:
        """Returns `(left, top, right, bottom)`."""
        return self.left, self.top, self.right, self.bottom
