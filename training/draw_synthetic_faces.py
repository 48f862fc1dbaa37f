"""Draws a sheet of rendered training faces.

python -m training.draw_synthetic_faces --output docs/synthetic_faces.jpg
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

from training.data.bundled_faces import bundled_faces
from training.data.synthetic import SyntheticFaces

# Faces along each side of the sheet and their size in pixels.
_NUM_ALONG_SIDE = 8
_FACE_SIZE = 128
_JPEG_QUALITY = 85


def draw_synthetic_faces(
    faces: SyntheticFaces, num_along_side: int, face_size: int
) -> np.ndarray:
    """Draws the faces of the first seeds in a square.

    Args:
        faces: Renders them.
        num_along_side: Faces along each side of the square.
        face_size: Side of one face in pixels.

    Returns:
        `(n, n, 3)` uint8 RGB, `n = num_along_side * face_size`.
    """
    rows = []
    for row in range(num_along_side):
        seeds = range(row * num_along_side, (row + 1) * num_along_side)
        pictures = [
            cv2.resize(
                faces.face((seed,)).image,
                (face_size, face_size),
                interpolation=cv2.INTER_AREA,
            )
            for seed in seeds
        ]
        rows.append(np.hstack(pictures))
    return np.vstack(rows)


def _command(
    output: Annotated[Path, typer.Option(help="The JPEG file to write.")] = (
        Path("docs/synthetic_faces.jpg")
    ),
) -> None:
    """Draws a sheet of rendered training faces."""
    sheet = draw_synthetic_faces(bundled_faces(), _NUM_ALONG_SIDE, _FACE_SIZE)
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    _, data = cv2.imencode(".jpg", sheet[..., ::-1], quality)
    output.write_bytes(data.tobytes())


if __name__ == "__main__":
    typer.run(_command)
