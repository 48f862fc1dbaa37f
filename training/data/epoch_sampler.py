"""EpochSampler: which examples each step of each epoch sees."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class EpochSampler:
    """Which examples each step of each epoch sees.

    Every example comes as often as its probability says, to one more or less:
    where an epoch has room for half of it, every other epoch on average, where
    it has room for two, twice. So every part of an epoch is a fair sample, and
    with equal probabilities none comes twice before all have come. The order
    depends on the seed and the epoch alone, so a training can go on at
    any step, and several machines agree on it without talking: each takes its
    own rows of every global batch.

    Args:
        probabilities: `(n,)` shares of the draws; their sum is 1.
        batch_size: Examples of a step, on all machines together.
        steps_per_epoch: Steps of an epoch; `None` for as many as one pass
            has, without an incomplete last batch.
        seed: Seed of everything.
        num_shards: Among how many machines a batch is divided.
        shard: Which of them this one is.

    Raises:
        ValueError: If there are fewer examples than a step needs, or the
            batch cannot be divided.
    """

    def __init__(
        self,
        probabilities: NDArray[np.float64],
        batch_size: int,
        steps_per_epoch: int | None,
        seed: int,
        num_shards: int = 1,
        shard: int = 0,
    ) -> None:
        if batch_size % num_shards:
            raise ValueError(
                f"Expected a batch that {num_shards} machines can share "
                f"alike. Received: batch_size={batch_size}"
            )
        if len(probabilities) < batch_size:
            raise ValueError(
                "Expected at least as many examples as a batch has. Received: "
                f"{len(probabilities)} examples, batch_size={batch_size}"
            )
        self.probabilities = probabilities
        self.batch_size = batch_size
        self.steps_per_epoch = (
            steps_per_epoch or len(probabilities) // batch_size
        )
        self.seed = seed
        self.num_shards = num_shards
        self.shard = shard
        self._latest: tuple[int, _Draws] | None = None

    @property
    def local_batch_size(self) -> int:
        """Examples of a step on this machine."""
        return self.batch_size // self.num_shards

    def step(
        self, number: int
    ) -> tuple[NDArray[np.integer], list[tuple[int, ...]]]:
        """Returns a step's examples and their seeds.

        Args:
            number: The step, counted from the start of the training.

        Returns:
            `(local_batch_size,)` indices, and for each example
            `(seed, epoch, how often it came before in the epoch, index)`.
        """
        epoch, step = divmod(number, self.steps_per_epoch)
        drawn = self._epoch(epoch)
        rows = slice(
            step * self.batch_size + self.shard,
            (step + 1) * self.batch_size,
            self.num_shards,
        )
        indices, turns = drawn.indices[rows], drawn.turns[rows]
        seeds: list[tuple[int, ...]] = [
            (self.seed, epoch, int(turn), int(index))
            for turn, index in zip(turns, indices, strict=True)
        ]
        return indices, seeds

    def _epoch(self, epoch: int) -> _Draws:
        latest = self._latest
        if latest is not None and latest[0] == epoch:
            return latest[1]
        generator = np.random.default_rng((self.seed, epoch))
        counts = _counts(
            self.probabilities,
            self.steps_per_epoch * self.batch_size,
            generator,
        )
        indices = np.repeat(np.arange(len(counts)), counts)
        firsts = np.repeat(np.cumsum(counts) - counts, counts)
        order = generator.permutation(len(indices))
        turns = np.arange(len(indices)) - firsts
        draws = _Draws(indices[order], turns[order])
        # One tuple, as several threads read it.
        self._latest = (epoch, draws)
        return draws


class _Draws(NamedTuple):
    """The examples of an epoch, and how often each came before in it."""

    indices: NDArray[np.int64]
    turns: NDArray[np.int64]


def _counts(
    probabilities: NDArray[np.float64],
    num_draws: int,
    generator: np.random.Generator,
) -> NDArray[np.int64]:
    """`(n,)` how often each example comes; their sum is `num_draws`."""
    shares = num_draws * probabilities
    counts = np.floor(shares).astype(np.int64)
    num_missing = num_draws - counts.sum()
    if num_missing:
        # What is left of each is less than one. Laid end to end in random
        # order, marks at a distance of one choose as many as are missing
        # (systematic sampling).
        order = generator.permutation(len(shares))
        ends = np.cumsum((shares - counts)[order])
        marks = generator.uniform() + np.arange(num_missing)
        chosen = np.searchsorted(
            ends * (num_missing / ends[-1]), marks, "right"
        )
        counts[order[chosen]] += 1
    return counts
