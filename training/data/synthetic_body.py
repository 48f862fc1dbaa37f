"""BodyParts: shoulders and long hair, which the head model does not have."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

# `(height, width, 3)` uint8; OpenCV's annotations say less.
Image = np.ndarray

# Half width, half depth and height (up from the ears) of rings around the
# body, of a head of the bundled size, mm: collar, shoulders, chest.
_RINGS = ((75, 60, -122), (210, 90, -185), (235, 110, -420))
# How far in front of the ears' axis the body's axis lies, mm.
_FORWARD = -5.0
_RING_POINTS = 16


@dataclass(frozen=True)
class BodyParts:
    """Draws what is behind and below a head, flat, as a photo's blur allows.

    Attributes:
        camera: `(3, 4)` from model space to pixels.
        unit: Model units in a millimetre of a head of the bundled size.
        brightness: How bright the light is, 0 to 1.
        texture: `(size, size)` float32, noise of standard deviation 1.
    """

    camera: NDArray[np.float64]
    unit: float
    brightness: float
    texture: NDArray[np.float32]

    def draw_shoulders(
        self, picture: Image, generator: np.random.Generator
    ) -> None:
        """Draws shoulders in clothes onto a picture."""
        angles = np.linspace(0, 2 * np.pi, _RING_POINTS, endpoint=False)
        width, depth, height = (
            generator.uniform(0.85, 1.12) * np.array(_RINGS, np.float64).T
        )
        x = np.cos(angles)[:, None] * width
        z = np.sin(angles)[:, None] * depth + _FORWARD
        y = np.broadcast_to(height, x.shape)
        points = np.stack([x, y, z], axis=-1).reshape(-1, 3) * self.unit
        color = generator.uniform(10, 240, 3)
        color = color * 0.6 + color.mean() * 0.4
        self._fill(picture, self._project(points), color, 0.05)

    def draw_hair(
        self,
        picture: Image,
        scalp: NDArray[np.floating],
        color: NDArray[np.float64],
        generator: np.random.Generator,
    ) -> None:
        """Draws long hair onto a picture, from the scalp downwards.

        Args:
            picture: `(size, size, 3)` uint8.
            scalp: `(n, 3)` points of the hair on the head, pixels.
            color: `(3,)` from 0 to 255.
            generator: Source of all randomness.
        """
        down = -self.camera[:2, 1] * self.unit
        length = generator.uniform(30, 220)
        aside = generator.normal(0, 0.06, 2)
        ends = scalp[:, :2] + length * (down + aside * np.linalg.norm(down))
        self._fill(
            picture, np.concatenate([scalp[:, :2], ends]), color * 0.75, 0.2
        )

    def _project(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        linear, offset = self.camera[:2, :3], self.camera[:2, 3]
        return np.asarray(points @ linear.T + offset)

    def _fill(
        self,
        picture: Image,
        points: NDArray[np.floating],
        color: NDArray[np.float64],
        contrast: float,
    ) -> None:
        """Fills the convex hull, darker towards its rim."""
        size = len(picture)
        limited = np.clip(points, -4 * size, 5 * size)
        # Only the rows that are covered, which saves half the time.
        top = max(int(limited[:, 1].min()) - 1, 0)
        bottom = min(int(limited[:, 1].max()) + 2, size)
        if top >= bottom:
            return
        limited = limited - np.array([0, top])
        hull = cv2.convexHull(np.rint(limited * 16).astype(np.int32))
        cover = np.zeros((bottom - top, size), np.uint8)
        cv2.fillConvexPoly(cover, hull, 255, cv2.LINE_AA, 4)
        width = (size // 12) | 1
        rounded = cv2.blur(cover, (width, width)) * np.float32(1 / 255)
        shade = self.brightness * (0.4 + 0.6 * rounded)
        shade *= 1 + np.float32(contrast) * self.texture[top:bottom]
        layer = shade[..., None] * np.asarray(color, np.float32)
        weight = cover * np.float32(1 / 255)
        picture[top:bottom] = cv2.blendLinear(
            picture[top:bottom],
            np.clip(layer, 0, 255).astype(np.uint8),
            1 - weight,
            weight,
        )
