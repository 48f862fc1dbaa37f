"""LANDMARK_MIRROR: the left-right permutation of the 68 iBUG landmarks."""

import numpy as np

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
