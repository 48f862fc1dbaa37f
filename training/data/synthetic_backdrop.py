"""Backdrops: what stands behind a rendered face."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.synthetic_noise import NoiseBank

# `(height, width, 3)` uint8; OpenCV's annotations say less.
Image = np.ndarray

# Kinds of patterns and how often each is drawn.
_KINDS = ("gradient", "cloud", "stripes", "shapes", "room")
_SHARES = (0.25, 0.3, 0.12, 0.2, 0.13)
# Share of pictures that are blurred, as by a lens.
_BLURRED = 0.5


class Backdrops:
    """Draws random pictures without any face.

    Args:
        noise: Where clouds are cut from.
    """

    def __init__(self, noise: NoiseBank) -> None:
        self._noise = noise

    def draw(self, size: int, generator: np.random.Generator) -> Image:
        """Draws a picture.

        Args:
            size: Its side in pixels.
            generator: Source of all randomness.

        Returns:
            `(size, size, 3)` uint8.
        """
        kind = generator.choice(_KINDS, p=_SHARES)
        picture = _gradient(size, generator)
        if kind == "cloud":
            picture = self._clouds(picture, generator)
        elif kind == "stripes":
            picture = _stripes(picture, generator)
        elif kind == "shapes":
            for _ in range(generator.integers(4, 16)):
                _draw_shape(picture, generator)
        elif kind == "room":
            for _ in range(generator.integers(3, 10)):
                _draw_panel(picture, generator)
        if generator.random() < _BLURRED:
            # A box, twice: as smooth as a Gaussian and faster.
            width = 2 * int(generator.integers(1, max(size // 24, 2))) + 1
            picture = np.asarray(
                cv2.blur(cv2.blur(picture, (width, width)), (width,) * 2),
                np.uint8,
            )
        return picture

    def _clouds(self, picture: Image, generator: np.random.Generator) -> Image:
        size = len(picture)
        kind = int(generator.integers(1, 4))
        cloud = self._noise.cut(kind, 256, generator)
        part = int(generator.integers(64, 257))
        cloud = np.asarray(
            cv2.resize(np.ascontiguousarray(cloud[:part, :part]), (size,) * 2),
            np.float32,
        )
        weight = np.clip(0.5 + generator.uniform(0.15, 0.45) * cloud, 0, 1)
        color = _color(generator)
        return cv2.blendLinear(
            picture,
            np.full_like(picture, color),
            np.ascontiguousarray(1 - weight, np.float32),
            np.ascontiguousarray(weight, np.float32),
        )


def _color(generator: np.random.Generator) -> NDArray[np.uint8]:
    """A colour, most often a dull one."""
    grey = generator.uniform(10, 245)
    dullness = generator.uniform(0, 1) ** 0.35
    color = generator.uniform(0, 255, 3)
    mixed = grey * dullness + color * (1 - dullness)
    return mixed.astype(np.uint8)


def _gradient(size: int, generator: np.random.Generator) -> Image:
    count = int(generator.integers(1, 5))
    base = _color(generator).astype(np.float64)
    spread = generator.uniform(5, 90)
    grid = base + generator.uniform(-spread, spread, (count, count, 1))
    grid = grid + generator.uniform(-spread, spread, (count, count, 3)) / 4
    coarse = np.clip(grid, 0, 255).astype(np.uint8)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)


def _stripes(picture: Image, generator: np.random.Generator) -> Image:
    size = len(picture)
    angle = generator.uniform(0, np.pi)
    period = generator.uniform(0.03, 0.4) * size
    places = np.arange(size) / period
    phase = places * np.cos(angle) + places[:, None] * np.sin(angle)
    wave = np.sin(2 * np.pi * phase).astype(np.float32)
    weight = np.clip(wave * generator.uniform(0.6, 6) + 0.5, 0, 1)
    weight *= np.float32(generator.uniform(0.3, 1))
    other = np.full_like(picture, _color(generator))
    return cv2.blendLinear(picture, other, 1 - weight, weight)


def _draw_shape(picture: Image, generator: np.random.Generator) -> None:
    size = len(picture)
    color = _color(generator).tolist()
    center = generator.integers(0, size, 2)
    kind = generator.integers(3)
    extent = generator.uniform(0.03, 0.35, 2) * size
    if kind == 0:
        box = (tuple(map(float, center)), tuple(extent * 2), generator.random())
        cv2.ellipse(picture, box, color, -1, cv2.LINE_AA)
    elif kind == 1:
        corners = center + generator.uniform(-1, 1, (4, 2)) * extent
        cv2.fillConvexPoly(
            picture, cv2.convexHull(corners.astype(np.int32)), color
        )
    else:
        other = center + (generator.uniform(-2, 2, 2) * extent).astype(int)
        width = int(generator.integers(1, max(size // 16, 2)))
        cv2.line(
            picture, center.tolist(), other.tolist(), color, width, cv2.LINE_AA
        )


def _draw_panel(picture: Image, generator: np.random.Generator) -> None:
    """A rectangle with a frame: windows, shelves, doors."""
    size = len(picture)
    left, top = generator.integers(-size // 4, size, 2)
    width, height = (generator.uniform(0.1, 0.7, 2) * size).astype(int)
    box = (int(left), int(top), int(width), int(height))
    cv2.rectangle(picture, box, _color(generator).tolist(), -1)
    thickness = int(generator.integers(1, max(size // 40, 2)))
    cv2.rectangle(picture, box, _color(generator).tolist(), thickness)
