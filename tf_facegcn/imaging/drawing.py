"""Drawing: a copy of a photo with meshes, landmarks and boxes drawn on it."""

import math

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tf_facegcn.imaging.bounding_box import BoundingBox
from tf_facegcn.imaging.rasterizer import render_mesh, vertex_normals

MESH_COLOR = (110, 190, 255)
MESH_OPACITY = 0.6
LANDMARK_COLOR = (255, 60, 60)
BOX_COLOR = (60, 230, 90)
AXIS_COLORS = ((235, 60, 60), (60, 200, 60), (70, 110, 255))  # x, y, z.

# The polylines of the 68 iBUG landmarks, as (first, last + 1, closed):
# contour, brows, nose bridge, nostrils, eyes, outer and inner lips.
LANDMARK_LINES = (
    (0, 17, False),
    (17, 22, False),
    (22, 27, False),
    (27, 31, False),
    (31, 36, False),
    (36, 42, True),
    (42, 48, True),
    (48, 60, True),
    (60, 68, True),
)

# Light on a face that looks away from the viewer.
_AMBIENT = 0.25

# A mesh is rendered at this size at most and then enlarged: more is not seen
# through the photo, and a face of 8,000 pixels would take gigabytes.
_MAX_RENDER_SIDE = 2048

# OpenCV's lines take fixed-point coordinates: 4 bits are 1/16 of a pixel.
_FRACTION_BITS = 4

# Beyond this OpenCV's fixed-point coordinates overflow.
_MAX_COORDINATE = 1e6


class Drawing:
    """A copy of a photo to draw on.

    Line widths follow the size of what is drawn, so that overlays of small
    and of large photos look alike.

    Args:
        photo: `(height, width, 3)` uint8, RGB; it is copied.
        enlargement: Whole factor by which the copy is enlarged. Positions
            are given in the photo's pixels all the same.

    Attributes:
        pixels: `(enlargement * height, enlargement * width, 3)` uint8, RGB,
            what has been drawn so far.
    """

    def __init__(self, photo: NDArray[np.uint8], enlargement: int = 1) -> None:
        height, width = photo.shape[:2]
        self._enlargement = enlargement
        size = (enlargement * width, enlargement * height)
        self.pixels = (
            photo.copy()
            if enlargement == 1
            else np.asarray(cv2.resize(photo, size), np.uint8)
        )

    def draw_mesh(self, vertices: ArrayLike, faces: ArrayLike) -> None:
        """Blends in a mesh, shaded by a light at the viewer.

        Args:
            vertices: `(V, 3)` float, photo pixels, z towards the viewer.
            faces: `(F, 3)` int, vertex indices.
        """
        positions = self._enlarged(vertices)
        left, top, right, bottom = self._part_of(positions)
        if left >= right or top >= bottom:
            return
        shrink = min(1.0, _MAX_RENDER_SIDE / max(right - left, bottom - top))
        width = math.ceil((right - left) * shrink)
        height = math.ceil((bottom - top) * shrink)
        local = positions * shrink
        local[:, 0] += (0.5 - left) * shrink - 0.5
        local[:, 1] += (0.5 - top) * shrink - 0.5
        facing = np.clip(vertex_normals(local, faces)[:, 2:], 0.0, 1.0)
        shade = _AMBIENT + (1 - _AMBIENT) * facing
        rendered = render_mesh(
            local, faces, width, height, shade * (np.array(MESH_COLOR) / 255)
        )
        colors = rendered.colors * 255
        opacity = rendered.mask.astype(np.float32) * MESH_OPACITY
        size = (right - left, bottom - top)
        if (width, height) != size:
            colors = np.asarray(cv2.resize(colors, size), np.float32)
            opacity = np.asarray(cv2.resize(opacity, size), np.float32)
        part = self.pixels[top:bottom, left:right]
        opacity = opacity[..., None]
        part[:] = np.rint(part * (1 - opacity) + colors * opacity)

    def draw_landmarks(self, landmarks: ArrayLike) -> None:
        """Draws the 68 landmarks as dots, joined by thin lines.

        Args:
            landmarks: `(68, 2)` or `(68, 3)` float, photo pixels, iBUG order.
        """
        points = self._enlarged(landmarks)[:, :2]
        scale = self._line_scale(points)
        fixed = _fixed_point(points)
        for first, last, closed in LANDMARK_LINES:
            cv2.polylines(
                self.pixels,
                [fixed[first:last].reshape(-1, 1, 2)],
                closed,
                (255, 255, 255),
                max(1, round(0.5 * scale)),
                cv2.LINE_AA,
                _FRACTION_BITS,
            )
        radius = round(max(0.5, 0.8 * scale) * 2**_FRACTION_BITS)
        for point in fixed:
            cv2.circle(
                self.pixels,
                tuple(map(int, point)),
                radius,
                LANDMARK_COLOR,
                cv2.FILLED,
                cv2.LINE_AA,
                _FRACTION_BITS,
            )

    def draw_axes(
        self, origin: ArrayLike, directions: ArrayLike, length: float
    ) -> None:
        """Draws the head's axes: x red, y green, z blue.

        Args:
            origin: `(2,)` or `(3,)` float, where they start, photo pixels.
            directions: `(3, 3)` float, the axes' unit vectors in rows, in
                photo axes: y down, z towards the viewer.
            length: Of an axis that lies in the picture's plane, in pixels.
        """
        start = self._enlarged(origin)[:2]
        length *= self._enlargement
        ends = start + length * np.asarray(directions, dtype=np.float64)[:, :2]
        thickness = max(1, round(length / 25))
        depths = np.asarray(directions)[:, 2]
        for axis in np.argsort(depths):  # The farthest first.
            first, last = _fixed_point(np.stack([start, ends[axis]]))
            cv2.line(
                self.pixels,
                tuple(map(int, first)),
                tuple(map(int, last)),
                AXIS_COLORS[axis],
                thickness,
                cv2.LINE_AA,
                _FRACTION_BITS,
            )

    def draw_box(self, box: BoundingBox) -> None:
        """Draws a box along its edges."""
        edges = np.array([[box.left, box.top], [box.right, box.bottom]])
        corners = self._enlarged(edges - 0.5)
        first, last = _fixed_point(corners)
        cv2.rectangle(
            self.pixels,
            tuple(map(int, first)),
            tuple(map(int, last)),
            BOX_COLOR,
            max(1, round(0.75 * self._line_scale(corners))),
            cv2.LINE_AA,
            _FRACTION_BITS,
        )

    def _enlarged(self, points: ArrayLike) -> NDArray[np.float64]:
        """Maps positions in the photo to positions in the drawing."""
        array = np.array(points, dtype=np.float64) * self._enlargement
        # Pixel centres: the photo's edge at -0.5 stays the drawing's.
        array[..., :2] += (self._enlargement - 1) / 2
        return array

    def _line_scale(self, points: NDArray[np.float64]) -> float:
        """A width of lines that suits points: 1 pixel on a face of 100."""
        extent = float(np.ptp(points, axis=0).max())
        height, width = self.pixels.shape[:2]
        return float(min(extent, height, width)) / 100

    def _part_of(
        self, positions: NDArray[np.float64]
    ) -> tuple[int, int, int, int]:
        """Finds the pixels that positions span, clipped to the picture."""
        height, width = self.pixels.shape[:2]
        low = np.clip(np.floor(positions.min(axis=0)[:2]), 0, (width, height))
        high = np.clip(
            np.ceil(positions.max(axis=0)[:2]) + 1, 0, (width, height)
        )
        return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _fixed_point(points: NDArray[np.float64]) -> NDArray[np.int32]:
    clipped = np.clip(points, -_MAX_COORDINATE, _MAX_COORDINATE)
    fixed: NDArray[np.int32] = np.rint(clipped * 2**_FRACTION_BITS).astype(
        np.int32
    )
    return fixed
