"""ValidationSteps: all examples once, in order, in batches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# First of the seeds of validation examples; no training uses it, as the seeds
# of training begin with a configuration's own.
_SEED = 2**31


class ValidationSteps:
    """Which examples each batch of a validation has.

    Args:
        num_examples: How many there are; the last batch may be smaller.
        batch_size: Examples of a batch, on all devices together.
        num_replicas: Devices of all machines together. All have as many, so
            up to `num_replicas - 1` examples are left out.
        num_shards: Among how many machines each batch is divided.
        shard: Which of them this one is.
    """

    def __init__(
        self,
        num_examples: int,
        batch_size: int,
        num_replicas: int = 1,
        num_shards: int = 1,
        shard: int = 0,
    ) -> None:
        self.num_examples = num_examples - num_examples % num_replicas
        self.batch_size = batch_size
        self.num_shards = num_shards
        self.shard = shard

    def __len__(self) -> int:
        return -(-self.num_examples // self.batch_size)

    def step(
        self, number: int
    ) -> tuple[NDArray[np.integer], list[tuple[int, ...]]]:
        """Returns a batch's examples and their seeds."""
        first = number * self.batch_size
        last = min(first + self.batch_size, self.num_examples)
        indices = np.arange(first + self.shard, last, self.num_shards)
        return indices, [(_SEED, int(index)) for index in indices]
