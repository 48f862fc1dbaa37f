"""MixedSource: examples of two sources, in a given ratio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.data.example_source import ExampleSource, LoadedExample


@dataclass(frozen=True)
class MixedSource:
    """Examples of two sources, an `ExampleSource`.

    Attributes:
        first: Its examples come first in the numbering.
        second: The other source.
        second_share: Share of the drawn examples that the second gives.
    """

    first: ExampleSource
    second: ExampleSource
    second_share: float

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def probabilities(self, balance: float) -> NDArray[np.float64]:
        """Computes probabilities of being drawn, see `ExampleSource`."""
        share = self.second_share
        return np.concatenate(
            [
                (1 - share) * self.first.probabilities(balance),
                share * self.second.probabilities(balance),
            ]
        )

    def load(self, index: int, seed: Sequence[int]) -> LoadedExample:
        """Loads an example, see `ExampleSource`."""
        if index < len(self.first):
            return self.first.load(index, seed)
        return self.second.load(index - len(self.first), seed)
