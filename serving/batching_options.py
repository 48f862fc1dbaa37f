"""BatchingOptions: how requests are batched."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from serving.protos.server_config_pb2 import BatchingParameters

_MICROSECONDS = 1e6


@dataclass(frozen=True)
class BatchingOptions:
    """How requests are batched; the defaults are TensorFlow Serving's.

    Attributes:
        max_batch_size: Rows of a batch.
        timeout: Seconds that a batch waits for more rows, while a thread is
            free.
        max_enqueued_batches: Batches that wait, of one signature.
        num_threads: Batches that run at the same time.
        allowed_sizes: Sizes to which batches are padded, ascending; the last
            one is `max_batch_size`. Empty for any.
        splits: Whether a request of more rows is split; else it is refused.

    Raises:
        ValueError: If a number is out of its range.
    """

    max_batch_size: int = 1000
    timeout: float = 0.0
    max_enqueued_batches: int = 100
    num_threads: int = field(default_factory=lambda: os.cpu_count() or 1)
    allowed_sizes: tuple[int, ...] = ()
    splits: bool = True

    def __post_init__(self) -> None:
        for name in ("max_batch_size", "max_enqueued_batches", "num_threads"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be 1 or more. Received: {getattr(self, name)}"
                )
        if self.timeout < 0:
            raise ValueError(
                f"batch_timeout_micros must not be negative: {self.timeout}"
            )
        sizes = self.allowed_sizes
        if sizes and (
            sizes[0] < 1
            or sorted(set(sizes)) != list(sizes)
            or sizes[-1] != self.max_batch_size
        ):
            raise ValueError(
                "allowed_batch_sizes must ascend and end with max_batch_size, "
                f"{self.max_batch_size}. Received: {list(sizes)}"
            )

    @classmethod
    def of_parameters(cls, parameters: BatchingParameters) -> BatchingOptions:
        """Takes what a `BatchingParameters` sets, and defaults for the rest.

        Raises:
            ValueError: If a number is out of its range, or something is asked
                for that this server cannot do.
        """
        if parameters.pad_variable_length_inputs:
            raise ValueError(
                "pad_variable_length_inputs is not supported: requests of "
                "different shapes are batched apart"
            )
        defaults = cls()

        def value(name: str, default: int) -> int:
            has_it = parameters.HasField(name)
            return int(getattr(parameters, name).value) if has_it else default

        splits = defaults.splits
        if parameters.HasField("enable_large_batch_splitting"):
            splits = parameters.enable_large_batch_splitting.value
        largest = value("max_batch_size", defaults.max_batch_size)
        return cls(
            # Requests may be split into smaller executions.
            value("max_execution_batch_size", largest) if splits else largest,
            value("batch_timeout_micros", 0) / _MICROSECONDS,
            value("max_enqueued_batches", defaults.max_enqueued_batches),
            value("num_batch_threads", defaults.num_threads),
            tuple(parameters.allowed_batch_sizes),
            splits,
        )
