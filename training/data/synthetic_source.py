"""SyntheticSource: endless rendered faces as examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.data.example_source import LoadedExample
from training.data.synthetic import SyntheticFaces

# Keeps the random numbers of a face apart from those of its augmentation,
# which begin with the same seed.
_STREAM = 1


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
