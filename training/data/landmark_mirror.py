"""LANDMARK_MIRROR: the left-right permutation of the 68 iBUG landmarks."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tf_facegcn.imaging.face_crop import CROP_UNITS

Images = NDArray[np.float32]

LANDMARK_MIRROR = np.array(
    [
        *range(16, -1, -1),  # Jaw.
        *range(26, 16, -1),  # Brows.
        *range(27, 31),  # Bridge of the nose.
        *range(35, 30, -1),  # Nostrils.
        *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),  # Eyes.
        *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),  # Outer lips.
        *(64, 63, 62, 61, 60, 67, 66, 65),  # Inner lips.
    ]
)


def mirror_averaged(
    predict: Callable[[Images], NDArray[np.floating]], images: Images
) -> NDArray[np.float64]:
    """Averages predictions for images and for their mirror images.

    Args:
        predict: From images to `(n, 68, 3)` landmarks in crop units.
        images: `(n, S, S, 3)`.

    Returns:
        `(n, 68, 3)` landmarks in crop units.
    """
    points = np.asarray(predict(images), np.float64)
    flipped = np.ascontiguousarray(images[:, :, ::-1])
    mirrored = np.asarray(predict(flipped), np.float64)[:, LANDMARK_MIRROR]
    # The fancy index has made a copy.
    mirrored[..., 0] = CROP_UNITS - 1 - mirrored[..., 0]
    return (points + mirrored) / 2
