"""Batcher: runs requests for the same graph together."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import grpc
import numpy as np

from serving.batching_options import BatchingOptions
from serving.loaded_model import Arrays, LoadedModel
from serving.metrics import Metrics
from serving.serving_error import ServingError, invalid_argument

# The model, its signature, the outputs wanted, and each input's type and shape
# without the batch.
_Key: TypeAlias = tuple[
    int, str, tuple[str, ...], tuple[tuple[str, str, tuple[int, ...]], ...]
]


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
