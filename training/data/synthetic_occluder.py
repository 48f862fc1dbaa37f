"""Occluders: what stands in front of a rendered face."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

# `(height, width, 3)` uint8; OpenCV's annotations say less.
Image = np.ndarray

# Kinds of occluders and how often each is drawn.
_KINDS = ("glasses", "shape", "hand", "strands", "mask")
_SHARES = (0.36, 0.2, 0.2, 0.14, 0.1)

# Positions along a line are given to OpenCV in sixteenths of a pixel.
_SHIFT = 4

_EYES = ((36, 37, 38, 39, 40, 41), (42, 43, 44, 45, 46, 47))


@dataclass(frozen=True)
class OccluderScene:
    """What an occluder has to know of the picture.

    Attributes:
        landmarks: `(68, 3)` pixels.
        camera: `(3, 4)` from model space to pixels.
        unit: Model units in a millimetre of a head of the bundled size.
        hair: `(3,)` uint8 colour.
        texture: `(size, size)` float32, noise of standard deviation 1.
        brightness: How bright the light is, 0 to 1.
    """

    landmarks: NDArray[np.float64]
    camera: NDArray[np.float64]
    unit: float
    hair: NDArray[np.uint8]
    texture: NDArray[np.float32]
    brightness: float

    @property
    def pixels_per_mm(self) -> float:
        """Pixels of a millimetre that lies in the picture's plane."""
        determinant = abs(float(np.linalg.det(self.camera[:, :3])))
        return determinant ** (1 / 3) * self.unit


def draw_occluder(
    picture: Image, scene: OccluderScene, generator: np.random.Generator
) -> tuple[Image, NDArray[np.uint8]]:
    """Draws a random occluder.

    Args:
        picture: `(size, size, 3)` uint8, left as it is.
        scene: What is in the picture.
        generator: Source of all randomness.

    Returns:
        The changed picture, and `(size, size)` uint8, 255 where it is covered.
    """
    kind = generator.choice(_KINDS, p=_SHARES)
    draw = {
        "glasses": _glasses,
        "shape": _shape,
        "hand": _hand,
        "strands": _strands,
        "mask": _face_mask,
    }[kind]
    cover = np.zeros(picture.shape[:2], np.uint8)
    layer = draw(cover, picture, scene, generator)
    weight = cover * np.float32(1 / 255)
    changed = cv2.blendLinear(picture, layer, 1 - weight, weight)
    # Tinted glass: what shines through counts as seen, see _glasses.
    return changed, cover


def _glasses(
    cover: NDArray[np.uint8],
    picture: Image,
    scene: OccluderScene,
    generator: np.random.Generator,
) -> Image:
    """Frames around the eyes, with temples; the glass may be dark."""
    scale = scene.pixels_per_mm
    turn = scene.camera[:, :3] * scene.unit
    right, up, front = turn.T
    centers = [
        scene.landmarks[list(eye)].mean(axis=0) + 9 * front - 2 * up
        for eye in _EYES
    ]
    half_width, half_height = generator.uniform([20, 13], [28, 23])
    power = generator.uniform(2, 5)
    angles = np.linspace(0, 2 * math.pi, 40, endpoint=False)
    cosine, sine = np.cos(angles), np.sin(angles)
    x = np.sign(cosine) * np.abs(cosine) ** (2 / power) * half_width
    y = np.sign(sine) * np.abs(sine) ** (2 / power) * half_height
    rims = [
        c
        + x[:, None] * right
        + y[:, None] * up
        - 0.006 * x[:, None] ** 2 * front
        for c in centers
    ]
    thickness = max(1, round(generator.uniform(1.2, 5) * scale))
    dark = generator.random() < 0.35
    color = generator.integers(0, 90, 3)
    if generator.random() < 0.3:
        color = generator.integers(0, 255, 3)
    side = _near_side(scene)
    towards = abs(_turned_aside(scene))
    # In profile the nose hides the other glass.
    hidden = None if side is None or towards < 0.7 else 1 - side
    for number, rim in enumerate(rims):
        if number == hidden:
            continue
        points = _fixed(rim[:, :2])
        if dark:
            cv2.fillPoly(cover, [points], 235, cv2.LINE_AA, _SHIFT)
        cv2.polylines(
            cover,
            [points],
            isClosed=True,
            color=255,
            thickness=thickness,
            lineType=cv2.LINE_AA,
            shift=_SHIFT,
        )
    lines = [[rims[0][0], rims[1][20]]] if hidden is None else []
    if side is not None:
        ear = scene.landmarks[0 if side == 0 else 16] + 12 * up
        lines.append([rims[side][20 if side == 0 else 0], ear])
    for line in lines:
        points = _fixed(np.array(line)[:, :2])
        cv2.polylines(
            cover,
            [points],
            isClosed=False,
            color=255,
            thickness=thickness,
            lineType=cv2.LINE_AA,
            shift=_SHIFT,
        )
    layer = np.empty_like(picture)
    layer[:] = color * scene.brightness
    return layer


def _near_side(scene: OccluderScene) -> int | None:
    """Which side of the head the viewer sees: 0 the image's left, 1, None."""
    aside = _turned_aside(scene)
    return None if abs(aside) < 0.15 else int(aside > 0)


def _turned_aside(scene: OccluderScene) -> float:
    """How far the head's right points towards the viewer, -1 to 1."""
    depth = scene.camera[2, :3]
    return float(depth[0] / np.linalg.norm(depth))


def _shape(
    cover: NDArray[np.uint8],
    picture: Image,
    scene: OccluderScene,
    generator: np.random.Generator,
) -> Image:
    """A box or an ellipse, plain, shaded or of the picture's own texture."""
    size = len(picture)
    center = generator.uniform(0, size, 2)
    extent = generator.uniform(0.12, 0.45, 2) * size
    angle = float(generator.uniform(0, 180))
    box = (tuple(map(float, center)), tuple(map(float, extent)), angle)
    if generator.random() < 0.5:
        cv2.ellipse(cover, box, 255, -1, cv2.LINE_AA)
    else:
        corners = _fixed(np.asarray(cv2.boxPoints(box), np.float64))
        cv2.fillConvexPoly(cover, corners, 255, cv2.LINE_AA, _SHIFT)
    if generator.random() < 0.3:
        shift = generator.integers(size // 4, 3 * size // 4, 2)
        return np.ascontiguousarray(np.roll(picture, shift, axis=(0, 1)))
    color = generator.uniform(15, 245, 3) * (0.4 + 0.6 * scene.brightness)
    return _textured(color, scene.texture, generator.uniform(0, 0.2))


def _hand(
    cover: NDArray[np.uint8],
    picture: Image,
    scene: OccluderScene,
    generator: np.random.Generator,
) -> Image:
    """A palm with fingers and a wrist that comes in from below or aside."""
    scale = scene.pixels_per_mm * generator.uniform(0.75, 1.05)
    target = scene.landmarks[generator.integers(0, 68), :2]
    direction = generator.uniform(0, 2 * math.pi)
    # Fingers point up or inwards, hands come from below.
    if math.sin(direction) > 0.3:
        direction = -direction
    along = np.array([math.cos(direction), math.sin(direction)])
    across = np.array([-along[1], along[0]])
    palm = target - along * 45 * scale
    cv2.ellipse(
        cover,
        (
            tuple(map(float, palm)),
            (90 * scale, 78 * scale),
            math.degrees(direction),
        ),
        255,
        -1,
        cv2.LINE_AA,
    )
    wrist = palm - along * 300 * scale
    _capsule(cover, palm, wrist, 56 * scale)
    bent = generator.uniform(0.25, 1)
    spread = generator.uniform(0.03, 0.22)
    seams = np.zeros_like(cover)
    for number, length in enumerate((62, 76, 80, 70)):
        offset = number - 1.5
        root = palm + along * 30 * scale + across * offset * 19 * scale
        angle = direction + spread * offset
        finger = np.array([math.cos(angle), math.sin(angle)])
        tip = root + finger * length * scale * bent
        _capsule(seams, root, tip, 21 * scale)
        _capsule(seams, root, tip, 16 * scale, color=0)
        _capsule(cover, root, tip, 19 * scale)
    thumb = direction + generator.choice([-1, 1]) * generator.uniform(0.6, 1.1)
    tip = palm + 85 * scale * np.array([math.cos(thumb), math.sin(thumb)])
    _capsule(cover, palm, tip, 22 * scale)
    tone = generator.uniform(0.25, 1)
    color = np.array([236, 190, 165]) * tone * [1, tone**0.15, tone**0.25]
    color = color * (0.35 + 0.65 * scene.brightness)
    layer = _textured(color, scene.texture, 0.03)
    # Rounded: darker towards the rim.
    width = max(3, int(14 * scale) | 1)
    rounded = cv2.blur(cv2.blur(cover, (width, width)), (width, width))
    shade = 0.45 + 0.55 * rounded * np.float32(1 / 255)
    shade *= 1 - np.float32(0.3 / 255) * cv2.blur(seams, (3, 3))
    return (layer * shade[..., None]).astype(np.uint8)


def _strands(
    cover: NDArray[np.uint8],
    picture: Image,
    scene: OccluderScene,
    generator: np.random.Generator,
) -> Image:
    """Locks of hair that hang into the face."""
    scale = scene.pixels_per_mm
    up = scene.camera[:2, 1] * scene.unit
    right = scene.camera[:2, 0] * scene.unit
    steps = np.linspace(0, 1, 12)[:, None]
    brow = scene.landmarks[generator.integers(17, 27), :2]
    length = generator.uniform(30, 150)
    bend = generator.normal(0, 18)
    for _ in range(generator.integers(6, 40)):
        start = brow + (55 + generator.normal(0, 5)) * up
        start = start + generator.normal(0, 11) * right
        end = -length * (1 + 0.1 * generator.normal()) * up
        aside = bend + generator.normal(0, 7)
        points = start + steps * end + (aside * 2 * steps**1.6) * right
        thickness = max(1, round(generator.uniform(0.8, 3) * scale))
        cv2.polylines(
            cover,
            [_fixed(points)],
            isClosed=False,
            color=255,
            thickness=thickness,
            lineType=cv2.LINE_AA,
            shift=_SHIFT,
        )
    color = scene.hair * np.float64(scene.brightness)
    return _textured(color, scene.texture, 0.25)


def _face_mask(
    cover: NDArray[np.uint8],
    picture: Image,
    scene: OccluderScene,
    generator: np.random.Generator,
) -> Image:
    """Cloth over mouth and chin, perhaps over the nose."""
    front = scene.camera[:, 2] * scene.unit
    top = int(generator.integers(28, 34))
    rim = scene.landmarks[[*range(2, 15), top]].copy()
    rim[13] += 6 * front
    rim[3:10] += 4 * front
    hull = cv2.convexHull(_fixed(rim[:, :2]))
    cv2.fillConvexPoly(cover, hull, 255, cv2.LINE_AA, _SHIFT)
    color = generator.uniform(15, 245, 3) * (0.4 + 0.6 * scene.brightness)
    layer = _textured(color, scene.texture, 0.04)
    width = max(3, int(20 * scene.pixels_per_mm) | 1)
    shade = 0.55 + 0.45 * cv2.blur(cover, (width, width)) * np.float32(1 / 255)
    return (layer * shade[..., None]).astype(np.uint8)


def _textured(
    color: NDArray[np.float64], texture: NDArray[np.float32], strength: float
) -> Image:
    bright = 1 + np.float32(strength) * texture
    layer = bright[..., None] * np.asarray(color, np.float32)
    return np.clip(layer, 0, 255).astype(np.uint8)


def _capsule(
    picture: NDArray[np.uint8],
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    width: float,
    color: int = 255,
) -> None:
    """A line with round ends."""
    first, second = _fixed(np.stack([start, end])).tolist()
    thickness = max(1, round(width))
    cv2.line(picture, first, second, color, thickness, cv2.LINE_AA, _SHIFT)


def _fixed(points: NDArray[np.floating]) -> NDArray[np.int32]:
    """Points in OpenCV's fixed-point format."""
    return np.rint(np.asarray(points) * 2**_SHIFT).astype(np.int32)
