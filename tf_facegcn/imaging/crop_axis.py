"""CropAxis: how a crop reads one axis of a photo."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Bilinear weights are whole 2048ths, as those of `cv2.resize`: two of them
# times 255 fit 32 bits.
WEIGHT_BITS = 11


@dataclass(frozen=True)
class CropAxis:
    """How a crop reads one axis of a photo.

    Only the pixels `[first, last)` are read, in blocks of `block`. Cutting this
    part out first keeps big photos fast. The same formulas stand in
    `serving/photo_graph.py` for exported models.
    """

    first: int
    last: int
    block: int

    @classmethod
    def of_crop(
        cls, start: float, stop: float, length: int, step: float
    ) -> CropAxis:
        """Places a crop on an axis.

        Args:
            start: Where the crop begins, edge coordinate in photo pixels.
            stop: Where it ends.
            length: Pixels of the photo.
            step: Photo pixels in a crop pixel.
        """
        block = min(max(1, round(step)), length)
        # One block more on each side, for the neighbours that bilinear
        # sampling asks for.
        first = max(0, (math.floor(start / block) - 1) * block)
        last = min(length, (math.ceil(stop / block) + 1) * block)
        return cls(first, last, block)

    @property
    def num_blocks(self) -> int:
        """Blocks of this axis; the photo may end within the last."""
        return -(-(self.last - self.first) // self.block)

    def neighbors(
        self, edges: NDArray[np.float64]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.int32]]:
        """Finds the two blocks that each crop pixel lies between.

        Args:
            edges: Where the crop's pixels have their centres, edge coordinates
                in photo pixels, of any shape.

        Returns:
            Indices of the block before and of the one after, which are
            `num_blocks` beyond the photo, and the weights of the one after, in
            2048ths.
        """
        # The centre of block b is at the edge coordinate
        # first + (b + 0.5) * block.
        positions = (edges - self.first) / self.block - 0.5
        before = np.floor(positions)
        weights = np.rint((positions - before) * 2**WEIGHT_BITS)
        indices = [self._in_photo(before), self._in_photo(before + 1)]
        return indices[0], indices[1], weights.astype(np.int32)

    def _in_photo(self, blocks: NDArray[np.float64]) -> NDArray[np.intp]:
        inside = (blocks >= 0) & (blocks < self.num_blocks)
        return np.where(inside, blocks, self.num_blocks).astype(np.intp)


def resample(
    part: NDArray[np.uint8],
    rows: CropAxis,
    columns: CropAxis,
    row_edges: NDArray[np.float64],
    column_edges: NDArray[np.float64],
) -> NDArray[np.uint8]:
    """Samples a crop from the part of a photo that its axes read.

    Args:
        part: `(height, width, 3)` uint8, pixels `[first, last)` of both axes.
        rows: The vertical axis.
        columns: The horizontal one.
        row_edges: Where the crop's pixels lie on the vertical axis, see
            `CropAxis.neighbors`; `(size, size)`, or `(size, 1)` where whole
            rows lie alike.
        column_edges: The same on the horizontal one, or `(1, size)`.

    Returns:
        `(size, size, 3)` uint8; black beyond the photo.
    """
    blocks = _block_means(part, rows, columns)
    # One row and one column of black, for what lies beyond the photo.
    blocks = np.pad(blocks, ((0, 1), (0, 1), (0, 0)))
    flat = blocks.reshape(-1, blocks.shape[-1])
    above, below, down = rows.neighbors(row_edges)
    left, right, across = columns.neighbors(column_edges)
    above, below = above * blocks.shape[1], below * blocks.shape[1]
    first, second = (
        _mix(
            flat.take(above + column, axis=0),
            flat.take(below + column, axis=0),
            down[..., None],
        )
        for column in (left, right)
    )
    mixed = _mix(first, second, across[..., None])
    half = 1 << 2 * WEIGHT_BITS - 1
    return (mixed + half >> 2 * WEIGHT_BITS).astype(np.uint8)


def _mix(
    first: NDArray[np.int32], second: NDArray[np.int32], weights: NDArray
) -> NDArray[np.int32]:
    return first * (2**WEIGHT_BITS - weights) + second * weights


def _block_means(
    part: NDArray[np.uint8], rows: CropAxis, columns: CropAxis
) -> NDArray[np.int32]:
    """Averages whole blocks; black fills up those cut by the photo's end."""
    sums = _block_sums(part, rows.block, rows.num_blocks, np.int32)
    # A box much larger than the photo may have one block of 100 megapixels.
    sums = _block_sums(
        sums.swapaxes(0, 1), columns.block, columns.num_blocks, np.int64
    )
    count = rows.block * columns.block
    means = (sums.swapaxes(0, 1) + count // 2) // count
    return means.astype(np.int32)


def _block_sums(
    values: NDArray[np.integer], block: int, num_blocks: int, dtype: type
) -> NDArray[np.integer]:
    """Adds up each `block` entries of the first axis."""
    sums = np.zeros((num_blocks, *values.shape[1:]), dtype)
    for number in range(block):
        step = values[number::block]
        sums[: len(step)] += step
    return sums
