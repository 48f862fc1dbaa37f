"""The axes of mesh files: y up, unlike in photos."""

import numpy as np
from numpy.typing import NDArray


def to_y_up(
    vertices: NDArray[np.float32], photo_height: int
) -> NDArray[np.float32]:
    """Turns the y axis of photo pixels up, as programs for meshes expect.

    Args:
        vertices: `(V, 3)` float32, photo pixels: y down, z towards the
            viewer.
        photo_height: Rows of the photo.

    Returns:
        `(V, 3)` float32 in right-handed axes, still in pixels: x right,
        y up from the centre of the photo's lowest row
        (`photo_height - 1 - y`), z towards the viewer. In them the corners of
        a face run counter-clockwise seen from outside.
    """
    return np.stack(
        [
            vertices[:, 0],
            np.float32(photo_height - 1) - vertices[:, 1],
            vertices[:, 2],
        ],
        axis=1,
    )
