"""FaceLook: random colours of skin, lips, brows, eyes and hair."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.synthetic_chart import CHART_SIZE, FaceChart
from training.data.synthetic_noise import NoiseBank
from training.data.synthetic_surface import sample_chart

Floats = NDArray[np.float32]

# sRGB tones to draw between.
_SKIN = np.array(
    [
        (0.95, 0.80, 0.72),
        (0.91, 0.72, 0.60),
        (0.85, 0.64, 0.50),
        (0.76, 0.55, 0.42),
        (0.63, 0.43, 0.32),
        (0.49, 0.33, 0.24),
        (0.36, 0.24, 0.19),
    ]
)
_HAIR = np.array(
    [
        (0.07, 0.06, 0.06),
        (0.11, 0.08, 0.06),
        (0.19, 0.13, 0.09),
        (0.33, 0.22, 0.14),
        (0.42, 0.22, 0.12),
        (0.62, 0.48, 0.30),
        (0.80, 0.68, 0.48),
        (0.56, 0.55, 0.54),
        (0.84, 0.83, 0.81),
    ]
)
_IRIS = np.array(
    [
        (0.13, 0.08, 0.05),
        (0.26, 0.15, 0.08),
        (0.38, 0.26, 0.14),
        (0.38, 0.42, 0.26),
        (0.30, 0.45, 0.60),
        (0.45, 0.52, 0.56),
    ]
)
_LIPSTICK = np.array(
    [(0.75, 0.12, 0.18), (0.80, 0.40, 0.42), (0.45, 0.10, 0.20)]
)
_MOUTH = np.array([0.22, 0.07, 0.07])
_TEETH = np.array([0.88, 0.84, 0.76])
_SCLERA = np.array([0.90, 0.87, 0.85])

# Probabilities: no hair at all, visible beard, lipstick, make-up of the eyes,
# shown teeth, strongly dyed hair.
_BALD = 0.12
_BEARDED = 0.35
_LIPSTICKED = 0.25
_MADE_UP = 0.2
_TEETH_SHOWN = 0.6
_DYED = 0.06

# Radius of an iris, mm.
_IRIS_RADIUS = 5.9


@dataclass(frozen=True)
class FaceLook:
    """What a face is painted with; lengths in mm, colours sRGB from 0 to 1.

    Attributes:
        skin: `(3,)` colour.
        hair: `(3,)` colour of scalp and brow hair.
        iris: `(3,)` colour.
        lips: `(3,)` colour.
        hair_line: How far the hair reaches beyond the scalp; -100 for none.
        hair_volume: Thickness of the hair.
        raggedness: How irregular the hair line is.
        style: Index of the strands' pattern.
        strand_contrast: Strength of the strands.
        beard: Opacity of the beard, 0 to 1.
        brow: Opacity of the brows, 0 to 1.
        brow_growth: Added to the brows' half thickness.
        eye_shadow: Opacity of dark make-up around the eyes.
        gaze: `(2,)` right and up of straight ahead.
        pupil: Radius of the pupil over the iris's.
        teeth: Whether an open mouth shows teeth.
        mottling: `(3,)` strengths of the skin's clouds, grain and redness.
        noise_shift: `(2,)` where the noise is taken from.
    """

    skin: NDArray[np.float64]
    hair: NDArray[np.float64]
    iris: NDArray[np.float64]
    lips: NDArray[np.float64]
    hair_line: float
    hair_volume: float
    raggedness: float
    style: int
    strand_contrast: float
    beard: float
    brow: float
    brow_growth: float
    eye_shadow: float
    gaze: NDArray[np.float64]
    pupil: float
    teeth: bool
    mottling: NDArray[np.float64]
    noise_shift: NDArray[np.float64]

    @classmethod
    def draw(cls, generator: np.random.Generator, num_styles: int) -> FaceLook:
        """Draws a look; `num_styles` patterns of strands are known."""

        def happens(probability: float) -> bool:
            return bool(generator.random() < probability)

        skin = _between(_SKIN, generator) * generator.uniform(0.95, 1.05, 3)
        hair = _between(_HAIR, generator)
        if happens(_DYED):
            hair = generator.uniform(0.05, 0.9, 3)
        lips = skin * [0.88, 0.62, 0.62] + [0.05, 0.0, 0.02]
        lips = lips * generator.uniform(0.9, 1.1)
        if happens(_LIPSTICKED):
            stick = _between(_LIPSTICK, generator)
            lips = lips + (stick - lips) * generator.uniform(0.4, 0.95)
        bald = happens(_BALD)
        return cls(
            skin=np.clip(skin, 0, 1),
            hair=hair,
            iris=_between(_IRIS, generator) * generator.uniform(0.8, 1.2),
            lips=np.clip(lips, 0, 1),
            hair_line=-100.0 if bald else float(generator.normal(3, 9)),
            hair_volume=0.0 if bald else float(generator.gamma(2.0, 5.0)),
            raggedness=float(generator.uniform(1, 7)),
            style=int(generator.integers(num_styles)),
            strand_contrast=float(generator.uniform(0.15, 0.5)),
            beard=float(generator.uniform(0.15, 1))
            if happens(_BEARDED)
            else 0.0,
            brow=float(generator.uniform(0.35, 0.95)),
            brow_growth=float(generator.normal(0, 0.8)),
            eye_shadow=float(generator.uniform(0.2, 0.7))
            if happens(_MADE_UP)
            else 0.0,
            gaze=generator.normal(0, [1.8, 0.5]),
            pupil=float(generator.uniform(0.3, 0.55)),
            teeth=happens(_TEETH_SHOWN),
            mottling=generator.uniform([0.0, 0.0, 0.02], [0.04, 0.04, 0.12]),
            noise_shift=generator.uniform(0, CHART_SIZE, 2),
        )

    def paint(
        self, chart: FaceChart, noise: NoiseBank, places: Floats
    ) -> Floats:
        """Computes the colour of points of the surface.

        Args:
            chart: The map of the head.
            noise: Noise of skin and hair lines.
            places: `(n, 2)` points of the chart, pixels.

        Returns:
            `(3, n)` float32, sRGB from 0 to 1, before any light.
        """
        hair, beard, redness, lips = sample_chart(chart.fields[0], places).T
        mouth, brows, eyes, _ = sample_chart(chart.fields[1], places).T
        strands = sample_chart(chart.strands[self.style], places)[:, 0]
        scaled = places * np.float32(0.9) + self.noise_shift.astype(np.float32)
        clouds, grain, waves, white = sample_chart(
            noise.skin, scaled, cv2.BORDER_WRAP
        ).T
        colors = self._skin(redness, clouds, grain, waves)
        _blend(colors, self.lips, _step(lips + 0.3, 1.2))
        dark = self.skin * [0.55, 0.45, 0.42]
        _blend(colors, dark, 0.5 * _step(-np.abs(mouth) + 0.8, 1.0))
        self._blend_beard(colors, beard, grain + white, lips)
        grown = _step(brows + self.brow_growth + 0.7 * grain, 2.4)
        _blend(colors, self.hair * 0.9, self.brow * grown)
        self._blend_mouth(colors, mouth, places)
        self._blend_eyes(colors, eyes, places, chart)
        edge = hair + self.hair_line + self.raggedness * (waves + 0.4 * strands)
        covered = _step(edge, 5.0)
        tinted = 1 + np.float32(self.strand_contrast) * strands
        _blend(colors, self.hair[:, None] * tinted, covered)
        return np.clip(colors, 0, 1)

    def thickness(
        self, hair: Floats, noise: NoiseBank, places: Floats
    ) -> Floats:
        """Computes how far hair stands off the surface.

        Args:
            hair: `(n,)` how far points lie inside the scalp, mm.
            noise: Noise of the hair's waves.
            places: `(n, 2)` the points in the chart, pixels.

        Returns:
            `(n,)` in mm, 0 beside the scalp.
        """
        if not self.hair_volume:
            return np.zeros(len(places), np.float32)
        moved = places * np.float32(0.5)
        moved += self.noise_shift.astype(np.float32)
        waves = sample_chart(noise.tiles[3], moved, cv2.BORDER_WRAP)[:, 0]
        grown = _step(hair - 12 + min(self.hair_line, 0.0), 22.0)
        return np.float32(self.hair_volume) * grown * (1 + 0.25 * waves)

    def _skin(
        self, redness: Floats, clouds: Floats, grain: Floats, waves: Floats
    ) -> Floats:
        cloudy, grainy, red = self.mottling.astype(np.float32)
        bright = 1 + cloudy * clouds + grainy * grain
        flushed = red * (redness + 0.3 * waves)
        skin = self.skin.astype(np.float32)
        return np.stack(
            [
                skin[0] * bright * (1 + 0.15 * flushed),
                skin[1] * bright * (1 - flushed),
                skin[2] * bright * (1 - flushed),
            ]
        )

    def _blend_beard(
        self, colors: Floats, beard: Floats, grain: Floats, lips: Floats
    ) -> None:
        if not self.beard:
            return
        covered = _step(beard - 2 + 2 * grain, 9.0) * _step(-lips - 1, 2.0)
        spotted = np.clip(0.7 + 0.3 * grain, 0, 1)
        _blend(colors, self.hair * 0.9, self.beard * covered * spotted)

    def _blend_mouth(
        self, colors: Floats, mouth: Floats, places: Floats
    ) -> None:
        inside = np.flatnonzero(mouth > -1)
        if not len(inside):
            return
        depth, part = mouth[inside], colors[:, inside]
        _blend(part, _MOUTH, _step(depth - 0.3, 1.0))
        if self.teeth:
            rows = places[inside, 1]
            upper = rows < np.median(rows) - 1.0
            _blend(part, _TEETH, 0.9 * upper * _step(depth - 0.8, 1.0))
        colors[:, inside] = part

    def _blend_eyes(
        self,
        colors: Floats,
        eyes: Floats,
        places: Floats,
        chart: FaceChart,
    ) -> None:
        near = np.flatnonzero(eyes > -9)
        if not len(near):
            return
        depth, part = eyes[near], colors[:, near]
        x, y = sample_chart(chart.eye_plane, places[near]).T
        if self.eye_shadow:
            fading = _step(depth + 4, 9.0) * (0.5 + 0.5 * (y > 0))
            _blend(part, part * 0.4, self.eye_shadow * fading)
        # The crease of the upper lid.
        crease = _step(1.2 - np.abs(depth + 4.5), 1.5) * (y > 0)
        _blend(part, part * 0.7, 0.5 * crease)
        # The lids' shadow lies on the ball's rim.
        rim = (0.72 + 0.28 * _step(depth - 1.6, 2.5))[None]
        ball = np.broadcast_to(_SCLERA[:, None], part.shape) * rim
        gaze_x, gaze_y = self.gaze
        radius = np.hypot(x - gaze_x, y - gaze_y).astype(np.float32)
        radius /= np.float32(_IRIS_RADIUS)
        # A dark limbus, brighter towards the pupil.
        ring = np.clip(1.25 - 0.7 * radius**3, 0.3, 1.25)
        _blend(ball, self.iris[:, None] * ring * rim, _step(1 - radius, 0.16))
        _blend(ball, np.full(3, 0.03), _step(self.pupil - radius, 0.12))
        glint = np.hypot(x - gaze_x + 2.0, y - gaze_y - 2.0)
        _blend(
            ball,
            np.full(3, 0.97),
            0.9 * _step((1.0 - glint).astype(np.float32), 0.8),
        )
        _blend(part, ball, _step(depth, 0.8))
        lashes = np.where(y > 0, 0.9, 0.35) * _step(
            (1.1 - np.abs(depth)).astype(np.float32), 1.2
        )
        _blend(part, self.hair * 0.3, lashes.astype(np.float32))
        colors[:, near] = part


def _between(
    palette: NDArray[np.float64], generator: np.random.Generator
) -> NDArray[np.float64]:
    """A colour between two neighbours of a palette."""
    place = generator.uniform(0, len(palette) - 1)
    first = int(place)
    share = place - first
    return palette[first] * (1 - share) + palette[first + 1] * share


def _step(distance: Floats, width: float) -> Floats:
    """0 below -width / 2, 1 above width / 2."""
    return np.clip(distance * np.float32(1 / width) + np.float32(0.5), 0, 1)


def _blend(
    colors: Floats, color: NDArray[np.floating], opacity: Floats
) -> None:
    """Lays a colour over `(3, n)` colours, in place."""
    layer = np.asarray(color, np.float32)
    if layer.ndim == 1:
        layer = layer[:, None]
    colors += (layer - colors) * opacity.astype(np.float32)
