"""ExampleSource: where training examples come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

# Width of the yaw bins that are balanced against each other, degrees.
_YAW_BIN = 10.0


class LoadedExample(NamedTuple):
    """One example, before its augmentation.

    Attributes:
        image: `(n, n, 3)` uint8 RGB, a square crop.
        parameters: `(P,)` float32 of the `VertexModel`.
        camera: `(3, 4)` float64 from model space to units of this crop.
        landmarks: `(68, 3)` float64 in units of this crop; they define the
            box that the network's crop is cut around.
    """

    image: np.ndarray
    parameters: NDArray[np.float32]
    camera: NDArray[np.float64]
    landmarks: NDArray[np.float64]


class ExampleSource(Protocol):
    """Examples that can be loaded in any order."""

    def __len__(self) -> int:
        """Returns how many examples there are."""

    def probabilities(self, balance: float) -> NDArray[np.float64]:
        """Computes `(n,)` probabilities of being drawn.

        Args:
            balance: 0 draws every example alike, 1 every range of 10 degrees
                of absolute yaw alike.
        """

    def load(self, index: int, seed: Sequence[int]) -> LoadedExample:
        """Loads an example.

        Args:
            index: Which.
            seed: Integers that determine whatever is random about it, as
                `np.random.default_rng` takes.
        """


def balanced_probabilities(
    yaw: NDArray[np.floating], balance: float
) -> NDArray[np.float64]:
    """Computes probabilities that favour rare yaws.

    Args:
        yaw: `(n,)` absolute yaw in degrees.
        balance: 0 draws every example alike, 1 every range of 10 degrees
            alike.

    Returns:
        `(n,)` probabilities.
    """
    bins = (yaw // _YAW_BIN).astype(int)
    counts = np.bincount(bins)[bins]
    weights = counts.astype(np.float64) ** -balance
    return np.asarray(weights / weights.sum(), np.float64)
