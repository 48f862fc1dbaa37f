"""Whether a network fits on a disk, before it is written."""

from __future__ import annotations

import errno
import math
import shutil
from collections.abc import Iterable
from pathlib import Path

import keras

# What HDF5 adds to each array, bytes, generously, and to a file.
_BYTES_AN_ARRAY = 4096
_BYTES_A_FILE = 2**20


def check_disk_space(
    path: Path, variables: Iterable[keras.Variable], num_copies: int = 1
) -> None:
    """Fails if variables will not fit on a disk.

    HDF5 ends the whole process when it meets a full disk, so it must not.

    Args:
        path: The file to be written; its folder exists.
        variables: What it will hold.
        num_copies: How often.

    Raises:
        OSError: If there is not enough space.
    """
    needed = _BYTES_A_FILE
    for variable in variables:
        size = keras.backend.standardize_dtype(variable.dtype)
        width = 1 if size == "bool" else _width(size)
        needed += math.prod(variable.shape) * width + _BYTES_AN_ARRAY
    needed *= num_copies
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        raise OSError(
            errno.ENOSPC,
            f"No space left on device: {needed / 1e6:.1f} MB are needed, "
            f"{free / 1e6:.1f} MB are free; what was saved before is whole. "
            "Make room and run the same command again",
            str(path),
        )


def _width(dtype: str) -> int:
    """Bytes of a number."""
    digits = "".join(letter for letter in dtype if letter.isdigit())
    return int(digits or 64) // 8
