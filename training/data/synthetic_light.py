"""FaceLight: a random light, and what it makes of normals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

# Share of each order of spherical harmonics that arrives on a diffuse surface
# (Ramamoorthi and Hanrahan, SIGGRAPH 2001), over that of order 0.
_COSINE_LOBE = np.repeat([1.0, 2 / 3, 1 / 4], [1, 3, 5])
# Standard deviations of the environments' coefficients, by order.
_SPREAD = np.repeat([0.0, 0.45, 0.25], [1, 3, 5])

# How often the directional light is missing.
_DIFFUSE_ONLY = 0.2
# Colours of the two environments and the directional light stray from white
# by these shares.
_TINTS = (0.12, 0.25, 0.15)
# Least irradiance, as a share of the mean: no surface is pitch-dark.
_LEAST = 0.12


@dataclass(frozen=True)
class FaceLight:
    """Two spherical-harmonic environments and one directional light.

    Axes are the picture's: x right, y down, z towards the viewer.

    Attributes:
        environments: `(2, 9)` coefficients, see `spherical_harmonics`.
        environment_colors: `(2, 3)` linear RGB.
        direction: `(3,)` unit vector to the directional light.
        color: `(3,)` linear RGB of the directional light, 0 for none.
        gloss: Strength of its reflection on skin.
        softness: How soft its shadow's edge is, 0 to 1.
    """

    environments: Floats
    environment_colors: Floats
    direction: Floats
    color: Floats
    gloss: float
    softness: float

    @classmethod
    def draw(cls, generator: np.random.Generator) -> FaceLight:
        """Draws a light that comes from the front more than from behind."""
        harmonics = np.zeros((2, 9))
        harmonics[:, 0] = 1 / _constant()
        harmonics += (
            generator.standard_normal((2, 9)) * _SPREAD / _constant() * 0.7
        )
        first, second, directional = (
            1 + tint * generator.uniform(-1, 1, 3) for tint in _TINTS
        )
        share = generator.uniform(0.15, 0.85)
        azimuth = math.radians(generator.normal(0, 50))
        elevation = math.radians(generator.normal(25, 22))
        direction = np.array(
            [
                math.sin(azimuth) * math.cos(elevation),
                -math.sin(elevation),
                math.cos(azimuth) * math.cos(elevation),
            ]
        )
        strength = generator.uniform(0.3, 2.2)
        if generator.random() < _DIFFUSE_ONLY:
            strength = 0.0
        return cls(
            harmonics,
            np.stack([share * first, (1 - share) * second]),
            direction,
            strength * directional,
            float(generator.uniform(0, 0.35)),
            float(generator.random()),
        )

    def irradiance(self, normals: ArrayLike) -> Floats:
        """Computes what arrives from the environments.

        Args:
            normals: `(n, 3)` unit vectors.

        Returns:
            `(n, 2)`, about 1 in the mean, never negative.
        """
        weights = (self.environments * _COSINE_LOBE).T
        return np.maximum(spherical_harmonics(normals) @ weights, _LEAST)


def spherical_harmonics(directions: ArrayLike) -> Floats:
    """Computes the nine real spherical harmonics of order 0 to 2.

    Args:
        directions: `(..., 3)` unit vectors.

    Returns:
        `(..., 9)`: degree by degree, from order -l to l, orthonormal on the
        sphere.
    """
    x, y, z = np.moveaxis(np.asarray(directions, np.float64), -1, 0)
    first = math.sqrt(3 / (4 * math.pi))
    second = math.sqrt(15 / (4 * math.pi))
    third = math.sqrt(5 / (16 * math.pi))
    return np.stack(
        [
            np.full_like(x, _constant()),
            first * y,
            first * z,
            first * x,
            second * x * y,
            second * y * z,
            third * (3 * z * z - 1),
            second * x * z,
            second / 2 * (x * x - y * y),
        ],
        axis=-1,
    )


def _constant() -> float:
    return 1 / math.sqrt(4 * math.pi)
