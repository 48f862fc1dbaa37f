"""Rendered faces as examples: endless, or a number of them kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.aflw_crops import decode
from training.data.example_source import LoadedExample
from training.data.record import TrainingExample
from training.data.synthetic import SyntheticFaces

# Keeps the random numbers of a face apart from those of its augmentation,
# which begin with the same seed.
_STREAM = 1

# Of kept faces: a few kB each, and artefacts that are hardly visible.
_JPEG_QUALITY = 95


@dataclass(frozen=True)
class SyntheticSource:
    """Rendered faces, an `ExampleSource`.

    A face depends on the seed it is loaded with, so each epoch brings new
    ones; the number of faces says only how long a pass is.

    Attributes:
        faces: Renders them.
        num_faces: How many one pass has.
    """

    faces: SyntheticFaces
    num_faces: int

    def __len__(self) -> int:
        return self.num_faces

    def probabilities(self, balance: float) -> NDArray[np.float64]:
        """Returns equal probabilities: yaws are drawn evenly anyway."""
        del balance
        return np.full(self.num_faces, 1 / self.num_faces)

    def load(self, index: int, seed: Sequence[int]) -> LoadedExample:
        """Renders a face, see `ExampleSource`."""
        face = self.faces.face((_STREAM, *seed, index))
        return LoadedExample(
            face.image, face.parameters, face.camera, face.landmarks
        )


@dataclass(frozen=True)
class KeptFaces:
    """Rendered faces that stay the same, an `ExampleSource`.

    Each is rendered when it is first drawn and kept in memory as a JPEG file:
    a small network trains faster than new faces can be rendered. Which face an
    index has does not depend on the epoch, so a training that was interrupted
    renders the same again.

    Attributes:
        source: Renders them.
    """

    source: SyntheticSource
    _kept: dict[int, TrainingExample] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.source)

    def probabilities(self, balance: float) -> NDArray[np.float64]:
        """Computes probabilities of being drawn, see `ExampleSource`."""
        return self.source.probabilities(balance)

    def load(self, index: int, seed: Sequence[int]) -> LoadedExample:
        """Renders a face or takes the kept one, see `ExampleSource`."""
        del seed
        if index not in self._kept:
            face = self.source.load(index, ())
            _, jpeg = cv2.imencode(
                ".jpg",
                face.image[..., ::-1],
                (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY),
            )
            self._kept[index] = TrainingExample(
                str(index),
                jpeg.tobytes(),
                face.parameters,
                face.camera,
                face.landmarks,
            )
        kept = self._kept[index]
        return LoadedExample(
            decode(kept.image), kept.parameters, kept.camera, kept.landmarks
        )
