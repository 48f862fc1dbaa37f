"""Batcher: runs requests for the same graph together."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import grpc
import numpy as np

from serving.loaded_model import Arrays, LoadedModel
from serving.metrics import Metrics
from serving.protos.server_config_pb2 import BatchingParameters
from serving.serving_error import ServingError, invalid_argument

_MICROSECONDS = 1e6

# The model, its signature, the outputs wanted, and each input's type and shape
# without the batch.
_Key: TypeAlias = tuple[
    int, str, tuple[str, ...], tuple[tuple[str, str, tuple[int, ...]], ...]
]


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


@dataclass(eq=False)
class _Task:
    inputs: Mapping[str, np.ndarray]
    size: int
    deadline: float
    queued: float
    ended: threading.Event = field(default_factory=threading.Event)
    found: Arrays | None = None
    error: Exception | None = None


@dataclass(eq=False)
class _Batch:
    key: _Key
    model: LoadedModel
    closes: float
    tasks: list[_Task] = field(default_factory=list)
    size: int = 0


class Batcher:
    """Runs requests for the same graph together, in threads of its own.

    A request that fails in company is run again alone, so that a bad photo
    does not fail those of others.

    Args:
        options: How.
        metrics: Notes sizes and waiting times.
    """

    def __init__(self, options: BatchingOptions, metrics: Metrics) -> None:
        self._options = options
        self._metrics = metrics
        self._changed = threading.Condition()
        self._waiting: deque[_Batch] = deque()
        self._is_closed = False
        self._threads = [
            threading.Thread(target=self._work, name="batches", daemon=True)
            for _ in range(options.num_threads)
        ]
        for thread in self._threads:
            thread.start()

    def run(
        self,
        model: LoadedModel,
        signature_name: str,
        inputs: Mapping[str, np.ndarray],
        outputs: Sequence[str],
        timeout: float | None,
    ) -> Arrays:
        """Runs a signature together with others' requests.

        Args:
            model: The model; it must stay loaded until this returns.
            signature_name: Which.
            inputs: Arrays by name, of the same number of rows.
            outputs: Names of the outputs wanted; empty for all.
            timeout: Seconds until the caller's deadline.

        Returns:
            This request's rows of the outputs.

        Raises:
            ServingError: If the inputs cannot be batched, too much waits, the
                deadline passes, or the graph fails.
        """
        size = _num_rows(inputs)
        largest = self._options.max_batch_size
        if size > largest and not self._options.splits:
            raise invalid_argument(
                f"Task size {size} is larger than maximum input batch size "
                f"{largest}"
            )
        self._metrics.observe_input_batch(size)
        now = time.monotonic()
        deadline = float("inf") if timeout is None else now + timeout
        key = _key(model, signature_name, inputs, outputs)
        tasks = [
            _Task(
                {
                    name: array[start : start + largest]
                    for name, array in inputs.items()
                },
                min(largest, size - start),
                deadline,
                now,
            )
            for start in range(0, max(size, 1), largest)
        ]
        with self._changed:
            self._check_room(key, len(tasks))
            for task in tasks:
                self._add(key, model, task)
            self._changed.notify_all()
        parts = [_result(task) for task in tasks]
        if len(parts) == 1:
            return parts[0]
        return {
            name: np.concatenate([part[name] for part in parts])
            for name in parts[0]
        }

    def close(self) -> None:
        """Ends the threads, after what waits was run."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _check_room(self, key: _Key, num_batches: int) -> None:
        waiting = sum(batch.key == key for batch in self._waiting)
        if waiting + num_batches > self._options.max_enqueued_batches:
            raise ServingError(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "The batch scheduling queue to which this task was submitted "
                f"is full: {waiting} batches wait, at most "
                f"{self._options.max_enqueued_batches} may; try again later",
            )

    def _add(self, key: _Key, model: LoadedModel, task: _Task) -> None:
        for batch in reversed(self._waiting):
            if batch.key == key:
                if batch.size + task.size <= self._options.max_batch_size:
                    batch.tasks.append(task)
                    batch.size += task.size
                    return
                break
        closes = time.monotonic() + self._options.timeout
        self._waiting.append(_Batch(key, model, closes, [task], task.size))

    def _work(self) -> None:
        while True:
            batch = self._next()
            if batch is None:
                return
            self._run(batch)

    def _next(self) -> _Batch | None:
        with self._changed:
            while True:
                now = time.monotonic()
                for batch in self._waiting:
                    is_full = batch.size >= self._options.max_batch_size
                    if is_full or batch.closes <= now or self._is_closed:
                        self._waiting.remove(batch)
                        return batch
                if self._is_closed:
                    return None
                first = min(
                    (batch.closes for batch in self._waiting), default=None
                )
                self._changed.wait(None if first is None else first - now)

    def _run(self, batch: _Batch) -> None:
        now = time.monotonic()
        tasks = []
        for task in batch.tasks:
            self._metrics.observe_queuing(now - task.queued)
            # Nobody waits for the others any more.
            if task.deadline > now:
                tasks.append(task)
        if not tasks:
            return
        _, signature_name, outputs, _ = batch.key
        try:
            self._run_together(batch.model, signature_name, outputs, tasks)
        except Exception as error:  # noqa: BLE001 - raised where it is waited for.
            if len(tasks) == 1:
                tasks[0].error = error
            else:
                self._run_apart(batch.model, signature_name, outputs, tasks)
        finally:
            for task in tasks:
                task.ended.set()

    def _run_apart(
        self,
        model: LoadedModel,
        signature_name: str,
        outputs: Sequence[str],
        tasks: Sequence[_Task],
    ) -> None:
        for task in tasks:
            try:
                self._run_together(model, signature_name, outputs, [task])
            except Exception as error:  # noqa: BLE001 - as above.
                task.error = error

    def _run_together(
        self,
        model: LoadedModel,
        signature_name: str,
        outputs: Sequence[str],
        tasks: Sequence[_Task],
    ) -> None:
        size = sum(task.size for task in tasks)
        padding = self._padding(size)
        self._metrics.observe_batch(size + padding, padding)
        inputs = {
            name: _padded(
                np.concatenate([task.inputs[name] for task in tasks]), padding
            )
            for name in tasks[0].inputs
        }
        found = model.run(signature_name, inputs, outputs)
        for name, array in found.items():
            if not array.ndim or len(array) != size + padding:
                raise invalid_argument(
                    f"Batched output tensor's 0th dimension does not equal the "
                    "sum of the 0th dimension sizes of the input tensors: "
                    f"{name} {array.shape} of {size + padding} rows"
                )
        start = 0
        for task in tasks:
            end = start + task.size
            task.found = {
                name: array[start:end] for name, array in found.items()
            }
            start = end

    def _padding(self, size: int) -> int:
        for allowed in self._options.allowed_sizes:
            if allowed >= size:
                return allowed - size if size else 0
        return 0


def _num_rows(inputs: Mapping[str, np.ndarray]) -> int:
    if not inputs or not all(array.ndim for array in inputs.values()):
        raise invalid_argument(
            "Batching Run() input tensors must have at least one dimension"
        )
    sizes = {len(array) for array in inputs.values()}
    if len(sizes) > 1:
        raise invalid_argument(
            "Batching Run() input tensors must have equal 0th-dimension size. "
            f"Received: {sorted(sizes)}"
        )
    return sizes.pop()


def _key(
    model: LoadedModel,
    signature_name: str,
    inputs: Mapping[str, np.ndarray],
    outputs: Sequence[str],
) -> _Key:
    shapes = tuple(
        (name, array.dtype.str, array.shape[1:])
        for name, array in sorted(inputs.items())
    )
    return id(model), signature_name, tuple(outputs), shapes


def _padded(array: np.ndarray, padding: int) -> np.ndarray:
    if not padding:
        return array
    # A valid row, as a graph might refuse zeros.
    return np.concatenate([array, np.repeat(array[:1], padding, axis=0)])


def _result(task: _Task) -> Arrays:
    remaining = task.deadline - time.monotonic()
    in_time = task.ended.wait(
        None if remaining == float("inf") else max(0.0, remaining)
    )
    if not in_time:
        raise ServingError(
            grpc.StatusCode.DEADLINE_EXCEEDED,
            "The deadline passed before the batch had run",
        )
    if task.error is not None:
        raise task.error
    if task.found is None:
        raise ServingError(
            grpc.StatusCode.DEADLINE_EXCEEDED,
            "The deadline passed before the request could run",
        )
    return task.found
