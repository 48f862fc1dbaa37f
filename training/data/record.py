"""TrainingExample: one photo and what its mesh is computed from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class TrainingExample(NamedTuple):
    """One training example.

    A stored mesh of 53,215 vertices is 640 kB, its parameters are below 1 kB,
    so vertices are computed inside the input pipeline.

    Attributes:
        name: The photo's file name, for messages.
        image: Encoded square crop (JPEG or PNG).
        parameters: `(P,)` float32 of the `VertexModel`.
        camera: `(3, 4)` float64 from model space to units of this crop.
        landmarks: `(68, 3)` float64 in units of this crop; they define the
            box that the network's crop is cut around.
    """

    name: str
    image: bytes
    parameters: NDArray[np.float32]
    camera: NDArray[np.float64]
    landmarks: NDArray[np.float64]
