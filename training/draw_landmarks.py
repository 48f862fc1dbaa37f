"""Draws the 68 landmarks on the bundled head, from the front and both sides.

python -m training.draw_landmarks --output docs/head_landmarks.png
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

from tf_facegcn.geometry.camera import compose_camera, project
from tf_facegcn.geometry.morphable_model import MorphableModel
from tf_facegcn.imaging.rasterizer import render_mesh

# Side of one view in pixels, and what fits into it: the face, mm.
_VIEW_SIZE = 560
_VIEW_EXTENT = 200.0
_VIEW_CENTRE = np.array([0.0, -10.0, 55.0])
# Front, the image's right side and its left, degrees of yaw.
_YAWS = (0.0, 75.0, -75.0)

_SKIN = np.array([0.85, 0.72, 0.63])
_LIGHT = np.array([0.3, -0.45, 0.84])
_AMBIENT = 0.45
_POINT_COLOR = (200, 30, 30)
_TEXT_COLOR = (20, 40, 160)
# A landmark this far behind the surface is hidden, mm.
_HIDDEN_BEHIND = 40.0

Picture = NDArray[np.uint8]


def draw_landmarks(model: MorphableModel) -> Picture:
    """Renders a model's mean with its numbered landmarks.

    Args:
        model: In millimetres, about the size of a head.

    Returns:
        `(560, 1680, 3)` uint8 RGB: front, then both sides; landmarks behind
        the head are left out.
    """
    return np.hstack([_view(model, yaw) for yaw in _YAWS])


def _view(model: MorphableModel, yaw: float) -> Picture:
    scale = _VIEW_SIZE / _VIEW_EXTENT
    camera = compose_camera(scale, yaw, 0.0, 0.0, np.zeros(3))
    middle = project(_VIEW_CENTRE[None], camera)[0]
    camera[:2, 3] = _VIEW_SIZE / 2 - middle[:2]
    vertices = project(model.mean.astype(np.float64), camera)
    rotated = model.template.vertex_normals @ (camera[:, :3] / scale).T
    light = _AMBIENT + (1 - _AMBIENT) * np.clip(rotated @ _LIGHT, 0, 1)
    rendered = render_mesh(
        vertices, model.faces, _VIEW_SIZE, _VIEW_SIZE, light[:, None] * _SKIN
    )
    colors = np.where(rendered.mask[..., None], rendered.colors, 1.0)
    picture = np.ascontiguousarray((colors * 255).round().astype(np.uint8))
    for number, (x, y, z) in enumerate(vertices[model.landmarks]):
        column, row = round(float(x)), round(float(y))
        if z < rendered.depth[row, column] - _HIDDEN_BEHIND * scale:
            continue
        cv2.circle(picture, (column, row), 2, _POINT_COLOR, -1, cv2.LINE_AA)
        cv2.putText(
            picture,
            str(number),
            (column + 3, row - 3),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.32,
            _TEXT_COLOR,
            1,
            cv2.LINE_AA,
        )
    return picture


def _command(
    output: Annotated[Path, typer.Option(help="The PNG file to write.")] = Path(
        "docs/head_landmarks.png"
    ),
) -> None:
    """Draws the landmarks of the bundled head."""
    picture = draw_landmarks(MorphableModel.bundled())
    _, data = cv2.imencode(
        ".png", picture[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9]
    )
    output.write_bytes(data.tobytes())


if __name__ == "__main__":
    typer.run(_command)
