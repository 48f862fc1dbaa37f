"""EpochSampler: which examples each step of each epoch sees."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


class EpochSampler:
    """Which examples each step of each epoch sees.

    Examples are drawn without replacement: no example comes twice in an epoch
    unless an epoch is longer than a pass over all; then each pass has all. The
    order depends on the seed and the epoch alone, so a training can go on at
    any step, and several machines agree on it without talking: each takes its
    own rows of every global batch.

    Args:
        probabilities: `(n,)` probabilities of being drawn; what is likelier
            comes earlier.
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
        self._latest: tuple[int, NDArray[np.int64]] | None = None

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
            `(seed, epoch, pass in the epoch, index)`.
        """
        epoch, step = divmod(number, self.steps_per_epoch)
        drawn = self._epoch(epoch)
        positions = np.arange(
            step * self.batch_size + self.shard,
            (step + 1) * self.batch_size,
            self.num_shards,
        )
        indices = drawn[positions]
        passes = positions // len(self.probabilities)
        seeds: list[tuple[int, ...]] = [
            (self.seed, epoch, int(turn), int(index))
            for turn, index in zip(passes, indices, strict=True)
        ]
        return indices, seeds

    def _epoch(self, epoch: int) -> NDArray[np.int64]:
        latest = self._latest
        if latest is not None and latest[0] == epoch:
            return latest[1]
        generator = np.random.default_rng((self.seed, epoch))
        count = len(self.probabilities)
        num_passes = math.ceil(self.steps_per_epoch * self.batch_size / count)
        # Exponential variables over their probabilities, in ascending order:
        # weighted sampling without replacement (Efraimidis and Spirakis).
        keys = generator.exponential(size=(num_passes, count))
        order = np.argsort(keys / self.probabilities, axis=1).ravel()
        # One tuple, as several threads read it.
        self._latest = (epoch, order)
        return order
