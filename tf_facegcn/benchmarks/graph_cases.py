"""Which Chebyshev convolutions the graph benchmark times."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class GraphCase:
    """One convolution.

    Attributes:
        vertices: Vertices of the level.
        batch: Examples at once.
        channels: Of the input.
        filters: Of the output.
        dtype: `"float32"`, or `"bfloat16"` for mixed precision.
        training: Whether the gradients of the input and the weights are
            computed too.
    """

    vertices: int
    batch: int = 1
    channels: int = 128
    filters: int = 128
    dtype: str = "float32"
    training: bool = False

    @property
    def policy(self) -> str:
        """The dtype policy of Keras."""
        return "float32" if self.dtype == "float32" else "mixed_bfloat16"


@dataclass(frozen=True)
class BlockCase:
    """One DenseGCN block at inference, float32, batch 1.

    Attributes:
        vertices: Vertices of the level.
        channels: Of each input.
        growth: Filters of each of its four convolutions.
    """

    vertices: int
    channels: tuple[int, ...]
    growth: int


# The paper's widest convolutions, and its widest block, which reads 128 vertex
# features and the pixels of the aggregated map. The paper does not give the
# map's channels; 32 here, the preset `paper` has 8.
CASES: dict[str, GraphCase | BlockCase] = {
    "cheb_16384_128_128": GraphCase(16384),
    "cheb_53215_128_3": GraphCase(53215, filters=3),
    "dense_gcn_16384": BlockCase(16384, (128, 32), 32),
    "train_16384_128_128": GraphCase(16384, batch=8, training=True),
}


def grid_cases(
    level_counts: Iterable[int],
    batches: tuple[int, ...] = (1, 8),
    widths: tuple[int, ...] = (32, 64, 128),
) -> Iterator[GraphCase]:
    """The cases of the whole table, coarsest level first."""
    for vertices in sorted(level_counts):
        for dtype in ("float32", "bfloat16"):
            for training in (False, True):
                for batch in batches:
                    for width in widths:
                        yield GraphCase(
                            vertices, batch, width, width, dtype, training
                        )
