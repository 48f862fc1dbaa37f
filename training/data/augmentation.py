"""Augmentation: random changes of a photo, with its camera moving along.

The geometric changes are one affine map from units of the stored crop to units
of the network's crop. It is applied to the image (one `warpAffine` straight to
the network's input size) and to the camera, so image and vertices cannot drift
apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tf_facegcn.imaging.bounding_box import BoundingBox
from tf_facegcn.imaging.face_crop import CROP_UNITS
from training.data.photometric import (
    LUMA,
    Image,
    blurred,
    color_table,
    compressed,
    occluded,
)

Floats = NDArray[np.float64]

# Coordinate of the crop's centre, in crop units.
_CENTER = CROP_UNITS / 2 - 0.5

# Changes that happen with a probability, in the order of a camera's faults.
_CHANCES = ("occluder", "greyscale", "blur", "noise", "jpeg")

# Standard deviations of a crop around landmarks that were just predicted, from
# the one around the true ones: of its position along each axis, as a share of
# its side, and of its size. A `lite` trained without such crops, on held-out
# photos: 0.006 and 0.013 from their labels, 0.010 and 0.027 from the teacher's
# landmarks.
_SECOND_PASS_SHIFT = 0.01
_SECOND_PASS_SCALE = 0.02

# Largest roll of the photos that are turned far, degrees: heads that lie, and
# photos whose camera did. The detector finds no faces much beyond.
_LARGE_ROTATION = 120.0


@dataclass(frozen=True)
class Augmentation:
    """How much a training photo is changed; all off by default.

    Attributes:
        rotation: Largest roll to either side, degrees (paper: 45).
        large_rotation: Probability that the largest roll is 120 degrees
            instead.
        translation: Largest shift of the crop, as a share of its side (paper:
            0.1).
        scale_min: Smallest magnification (paper: 0.9).
        scale_max: Largest magnification (paper: 1.2).
        second_pass: Probability that shift and magnification are instead as
            small as the errors of a crop around landmarks just predicted.
        mirror: Probability of the left-right mirror.
        color: Strength of random brightness, contrast, colour cast and gamma,
            0 to 1.
        greyscale: Probability of a greyscale photo.
        blur: Probability of a blurred or coarsely sampled photo.
        noise: Probability of sensor noise.
        jpeg: Probability of visible JPEG compression.
        occluder: Probability of a shape that hides a part.
        smeared_border: Probability that what the stored crop does not show is
            its edge, smeared outwards, instead of its reflection.
        black_border: Probability that it is black, as beyond a photo's end.
    """

    rotation: float = 0.0
    large_rotation: float = 0.0
    translation: float = 0.0
    scale_min: float = 1.0
    scale_max: float = 1.0
    second_pass: float = 0.0
    mirror: float = 0.0
    color: float = 0.0
    greyscale: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    jpeg: float = 0.0
    occluder: float = 0.0
    smeared_border: float = 0.0
    black_border: float = 0.0

    def __post_init__(self) -> None:
        for name in ("mirror", "large_rotation", "second_pass", *_CHANCES):
            _check_range(name, getattr(self, name), 1.0)
        _check_range("smeared_border", self.smeared_border, 1.0)
        _check_range("black_border", self.black_border, 1.0)
        _check_range(
            "smeared_border + black_border",
            self.smeared_border + self.black_border,
            1.0,
        )
        _check_range("color", self.color, 1.0)
        _check_range("rotation", self.rotation, 180.0)
        _check_range("translation", self.translation, 0.5)
        if not 0 < self.scale_min <= self.scale_max:
            raise ValueError(
                "Expected 0 < scale_min <= scale_max. Received: scale_min="
                f"{self.scale_min}, scale_max={self.scale_max}"
            )


class AugmentedCrop(NamedTuple):
    """The network's input and the map that leads to it.

    Attributes:
        image: `(size, size, 3)` uint8 RGB.
        affine: `(3, 4)` from units of the stored crop to units of this crop;
            z is scaled with the rest.
        mirrored: Whether the affine map mirrors; then the vertices have to be
            permuted as well.
    """

    image: Image
    affine: Floats
    mirrored: bool


def augment(
    image: Image,
    landmarks: Floats,
    augmentation: Augmentation,
    size: int,
    generator: np.random.Generator,
    roll: float = 0.0,
) -> AugmentedCrop:
    """Cuts the network's crop out of a stored crop, randomly changed.

    Without any change this is the crop around the landmarks' box that
    evaluation uses, apart from what the stored crop does not show; with
    rotation, around the box of the rotated landmarks.

    Args:
        image: `(n, n, 3)` uint8, the stored crop.
        landmarks: `(68, 2)` or `(68, 3)` in units of the stored crop.
        augmentation: How much to change.
        size: Side of the network's input in pixels.
        generator: Source of all randomness.
        roll: Degrees by which the crop is turned besides, as in `FaceCrop`.
    """
    affine, mirrored = draw_affine(landmarks, augmentation, generator, roll)
    pixels = _in_pixels(affine, image.shape[0], size)
    changed = cv2.warpAffine(
        image,
        pixels,
        (size, size),
        flags=cv2.INTER_LINEAR,
        borderMode=_draw_border(augmentation, generator),
    )
    changed = _photometric(changed, augmentation, generator)
    return AugmentedCrop(changed, affine, mirrored)


def draw_affine(
    landmarks: Floats,
    augmentation: Augmentation,
    generator: np.random.Generator,
    roll: float = 0.0,
) -> tuple[Floats, bool]:
    """Draws the geometric change.

    Args:
        landmarks: `(68, 2)` or `(68, 3)` in units of the stored crop.
        augmentation: How much to change.
        generator: Source of all randomness.
        roll: Degrees by which the crop is turned besides, as in `FaceCrop`.

    Returns:
        The `(3, 4)` map to units of the network's crop and whether it mirrors.
    """
    rotation = augmentation.rotation
    # Drawn only where it matters, so that other runs repeat themselves.
    if augmentation.large_rotation and (
        generator.random() < augmentation.large_rotation
    ):
        rotation = _LARGE_ROTATION
    angle = math.radians(roll + generator.uniform(-rotation, rotation))
    magnification, shift = _draw_frame(augmentation, generator)
    mirrored = bool(generator.random() < augmentation.mirror)
    cosine, sine = math.cos(angle), math.sin(angle)
    linear = np.array([[cosine, -sine], [sine, cosine]])
    if mirrored:
        linear[0] *= -1
    box = BoundingBox.from_points(landmarks[:, :2] @ linear.T).landmarks_crop()
    # Box edges lie half a unit beside the coordinates of points.
    center = np.array(box.center) - 0.5
    scale = magnification * CROP_UNITS / box.width
    affine = np.zeros((3, 4))
    affine[:2, :2] = scale * linear
    affine[2, 2] = scale
    affine[:2, 3] = _CENTER + shift * CROP_UNITS - scale * center
    return affine, mirrored


def _draw_frame(
    augmentation: Augmentation, generator: np.random.Generator
) -> tuple[float, Floats]:
    """Draws a magnification and a `(2,)` shift, as a share of the side.

    A network that has seen only crops that are far off does not believe where
    it is shown a face; one that has seen only exact ones repeats it.
    """
    # Drawn only where it matters, so that other runs repeat themselves.
    if augmentation.second_pass and (
        generator.random() < augmentation.second_pass
    ):
        size = math.exp(generator.normal(0, _SECOND_PASS_SCALE))
        return size, generator.normal(0, _SECOND_PASS_SHIFT, 2)
    magnification = generator.uniform(
        augmentation.scale_min, augmentation.scale_max
    )
    shift = generator.uniform(-1, 1, 2) * augmentation.translation
    return magnification, shift


def _draw_border(
    augmentation: Augmentation, generator: np.random.Generator
) -> int:
    """Draws OpenCV's mode for what the stored crop does not show.

    Stored crops end close to the face, where the photo went on. Were the rest
    always black, its outline would give away where the face is and how far it
    was turned, which no user's photo does.
    """
    black, smeared = augmentation.black_border, augmentation.smeared_border
    if black or smeared:
        chance = generator.random()
        if chance < black:
            return cv2.BORDER_CONSTANT
        if chance < black + smeared:
            return cv2.BORDER_REPLICATE
    return cv2.BORDER_REFLECT_101


def move_camera(affine: Floats, camera: Floats) -> Floats:
    """Applies a `(3, 4)` affine map after a `(3, 4)` camera."""
    moved = affine[:, :3] @ camera
    moved[:, 3] += affine[:, 3]
    return moved


def _in_pixels(affine: Floats, source_size: int, target_size: int) -> Floats:
    """The `(2, 3)` map between pixels of the two images."""
    source = CROP_UNITS / source_size
    target = CROP_UNITS / target_size
    linear = affine[:2, :2] * (source / target)
    origin = np.full(2, 0.5 * source - 0.5)  # The first source pixel, in units.
    moved = affine[:2, :2] @ origin + affine[:2, 3]
    offset = (moved + 0.5) / target - 0.5
    return np.concatenate([linear, offset[:, None]], axis=1)


def _photometric(
    image: Image, augmentation: Augmentation, generator: np.random.Generator
) -> Image:
    """Changes of colour and quality, in the order of a real camera's faults."""
    happens = {
        name: generator.random() < getattr(augmentation, name)
        for name in _CHANCES
    }
    strengths = generator.random(4)
    if happens["occluder"]:
        image = occluded(image, generator)
    if happens["greyscale"]:
        grey = (image @ LUMA).astype(np.uint8)
        image = np.repeat(grey[..., None], 3, axis=-1)
    if augmentation.color:
        image = cv2.LUT(image, color_table(augmentation.color, generator))
    if happens["blur"]:
        image = blurred(image, strengths[0], coarse=strengths[1] < 0.5)
    if happens["noise"]:
        deviation = np.float32(2 + 10 * strengths[2])
        noise = generator.standard_normal(image.shape, np.float32)
        image = np.clip(image + deviation * noise, 0, 255).astype(np.uint8)
    if happens["jpeg"]:
        image = compressed(image, strengths[3])
    return image


def _check_range(name: str, value: float, largest: float) -> None:
    if not 0 <= value <= largest:
        raise ValueError(
            f"{name} must be from 0 to {largest:g}. Received: {name}={value}"
        )
