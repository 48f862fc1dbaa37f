"""Changes of a photo's colours and quality, without a point moving."""

from __future__ import annotations

import math

import cv2
import numpy as np

# `(height, width, 3)` uint8; OpenCV's annotations say less.
Image = np.ndarray

# Range of the JPEG quality: artefacts from hardly visible to obvious.
_JPEG_QUALITIES = (15, 75)

# Luma of red, green and blue (ITU-R BT.601).
LUMA = np.array([0.299, 0.587, 0.114])


def color_table(strength: float, generator: np.random.Generator) -> Image:
    """`(256, 1, 3)` look-up table of gamma, contrast, brightness and cast."""
    gamma = math.exp(strength * generator.uniform(-0.5, 0.5))
    contrast = 1 + strength * generator.uniform(-0.4, 0.4)
    brightness = strength * generator.uniform(-0.25, 0.25)
    cast = 1 + strength * generator.uniform(-0.15, 0.15, 3)
    level = np.linspace(0, 1, 256)[:, None, None] ** gamma
    table = ((level - 0.5) * contrast + 0.5 + brightness) * cast
    return np.clip(table * 255, 0, 255).astype(np.uint8)


def blurred(image: Image, strength: float, *, coarse: bool) -> Image:
    """Blurs a photo, or samples it coarsely; the strength is 0 to 1."""
    size = image.shape[0]
    if coarse:
        small = round(size / (1.3 + 2.0 * strength))
        reduced = cv2.resize(
            image, (small, small), interpolation=cv2.INTER_AREA
        )
        return cv2.resize(reduced, (size, size), interpolation=cv2.INTER_LINEAR)
    return cv2.GaussianBlur(image, (0, 0), 0.4 + 1.4 * strength)


def compressed(image: Image, strength: float) -> Image:
    """Compresses a photo by JPEG, from hardly visibly (0) to badly (1)."""
    best, worst = _JPEG_QUALITIES[1], _JPEG_QUALITIES[0]
    quality = round(best + (worst - best) * strength)
    _, encoded = cv2.imencode(
        ".jpg", image[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, quality)
    )
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB))


def occluded(image: Image, generator: np.random.Generator) -> Image:
    """Hides a part behind a box or an ellipse, plain or of the photo itself.

    A part of the same photo has the texture and the edges of real occluders;
    it covers what is there, so the label stays right.
    """
    size = image.shape[0]
    width, height = (generator.uniform(0.1, 0.4, 2) * size).astype(int) + 1
    left, top = generator.integers(0, [size - width, size - height])
    target = (slice(top, top + height), slice(left, left + width))
    cover = np.empty((height, width, 3), np.uint8)
    cover[:] = generator.integers(0, 256, 3)
    if generator.random() < 0.5:
        x, y = generator.integers(0, [size - width, size - height])
        cover = image[y : y + height, x : x + width]
    mask = np.ones((height, width), bool)
    if generator.random() < 0.5:
        rows, columns = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        mask = rows**2 + columns**2 <= 1
    changed = image.copy()
    changed[target][mask] = cover[mask]
    return changed
