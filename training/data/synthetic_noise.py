"""NoiseBank: tiles of noise that are drawn once and cut up often."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_SEED = 20
_TILE = 256
# Exponents of the amplitude over frequency: white, fine, cloudy, billowing.
_EXPONENTS = (0.0, 0.6, 1.1, 1.7)
# Values beyond this many standard deviations are cut off.
_LARGEST = 3.0


class NoiseBank:
    """Periodic tiles of noise; drawing them anew would take far longer.

    Attributes:
        tiles: `(4, 256, 256)` float32 of standard deviation 1: white, fine,
            cloudy, billowing.
        skin: `(256, 256, 4)` float32: cloudy, fine, billowing and white.
        sensor: `(512, 512, 3)` float32, independent in each pixel and nearly
            so in each colour.
    """

    def __init__(self) -> None:
        generator = np.random.default_rng(_SEED)
        frequency = np.fft.fftfreq(_TILE)
        distance = np.hypot(frequency[:, None], frequency[None])
        distance[0, 0] = np.inf
        tiles = []
        for exponent in _EXPONENTS:
            white = np.fft.fft2(generator.standard_normal((_TILE, _TILE)))
            tile = np.fft.ifft2(white * distance**-exponent).real
            tile /= tile.std()
            tiles.append(np.clip(tile, -_LARGEST, _LARGEST))
        self.tiles: Floats = np.stack(tiles).astype(np.float32)
        self._repeated = np.tile(self.tiles, (1, 2, 2))
        order = (2, 1, 3, 0)
        self.skin: Floats = np.ascontiguousarray(
            self.tiles[list(order)].transpose(1, 2, 0)
        )
        sensor = generator.standard_normal((2 * _TILE, 2 * _TILE, 4))
        # A little of the noise is common to the colours.
        mixed = sensor[..., :3] + 0.6 * sensor[..., 3:]
        self.sensor: Floats = np.clip(mixed, -_LARGEST, _LARGEST).astype(
            np.float32
        )

    def cut(
        self, kind: int, size: int, generator: np.random.Generator
    ) -> Floats:
        """Cuts a random `(size, size)` part of a tile, flipped at random."""
        top, left = generator.integers(0, _TILE, 2)
        part = self._repeated[kind]
        if size > _TILE:
            part = np.tile(part, (-(-size // _TILE),) * 2)
        part = part[top : top + size, left : left + size]
        return part[:, ::-1] if generator.random() < 0.5 else part

    def cut_sensor(self, size: int, generator: np.random.Generator) -> Floats:
        """Cuts a random `(size, size, 3)` part of the sensor's noise."""
        if size > len(self.sensor):
            rows = np.arange(size) % len(self.sensor)
            return self.sensor[np.ix_(rows, rows)]
        top, left = generator.integers(0, len(self.sensor) - size + 1, 2)
        part = self.sensor[top : top + size, left : left + size]
        return part[:, ::-1] if generator.random() < 0.5 else part
