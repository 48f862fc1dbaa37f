"""Metrics: what a server counts, under TensorFlow Serving's names."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import prometheus_client

# Ten microseconds to half an hour, growing by 1.8, as TensorFlow Serving's.
_LATENCIES = tuple(10 * 1.8**power for power in range(33))
_SIZES = tuple(float(2**power) for power in range(13))
_SERVING = ":tensorflow:serving:"
_BATCHING = f"{_SERVING}batching_session:"
_SAVED_MODEL = ":tensorflow:cc:saved_model:"
# prometheus_client adds this to the names of counters, TensorFlow Serving
# does not.
_COUNTER_ENDING = b"_count_total"
_MICROSECONDS = 1e6


class Metrics:
    """Counts requests, batches and loads, and how long they take."""

    def __init__(self) -> None:
        # Series of when others were created, which nobody else has.
        prometheus_client.disable_created_metrics()
        self._registry = prometheus_client.CollectorRegistry()
        self._requests = self._counter(
            f"{_SERVING}request_count",
            "The total number of requests.",
            ("model_name", "status"),
        )
        self._latencies = self._histogram(
            f"{_SERVING}request_latency",
            "Distribution of wall time, microseconds.",
            ("model_name", "API", "entrypoint"),
        )
        self._runs = self._histogram(
            f"{_SERVING}runtime_latency",
            "Distribution of the time of the graph alone, microseconds.",
            ("model_name", "API", "runtime"),
        )
        self._queuing = self._histogram(
            f"{_BATCHING}queuing_latency",
            "Distribution of the time before a batch ran, microseconds.",
        )
        self._input_sizes = self._histogram(
            f"{_BATCHING}input_batch_size",
            "Rows of a request.",
            buckets=_SIZES,
        )
        self._batch_sizes = self._histogram(
            f"{_BATCHING}processed_batch_size",
            "Rows of a batch, padding included.",
            buckets=_SIZES,
        )
        self._paddings = self._histogram(
            f"{_BATCHING}padding_size",
            "Rows of padding.",
            ("execution_batch_size",),
            buckets=_SIZES,
        )
        self._loads = self._counter(
            f"{_SAVED_MODEL}load_attempt_count",
            "The number of times a SavedModel was attempted to load.",
            ("model_path", "status"),
        )
        self._load_times = self._counter(
            f"{_SAVED_MODEL}load_latency",
            "Time to load a SavedModel, microseconds.",
            ("model_path",),
        )
        self._warm_ups = self._histogram(
            f"{_SERVING}model_warmup_latency",
            "Distribution of the time of warm-up requests, microseconds.",
            ("model_path", "status"),
        )
        prometheus_client.ProcessCollector(registry=self._registry)

    def count(
        self,
        method: str,
        entry_point: str,
        model_name: str,
        code: grpc.StatusCode,
        seconds: float,
    ) -> None:
        """Counts a request.

        Args:
            method: `Predict`, `Classify`, ...
            entry_point: `GRPC` or `REST`.
            model_name: Its model; empty if there is none of that name.
            code: How it ended.
            seconds: How long it took.
        """
        self._requests.labels(model_name, code.name).inc()
        self._latencies.labels(model_name, method, entry_point).observe(
            _MICROSECONDS * seconds
        )

    @contextlib.contextmanager
    def time_run(self, method: str, model_name: str) -> Iterator[None]:
        """Notes how long a graph, with its waiting for a batch, takes."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._runs.labels(model_name, method, "TF1").observe(
                _MICROSECONDS * (time.perf_counter() - started)
            )

    def observe_queuing(self, seconds: float) -> None:
        """Notes how long a request waited for its batch."""
        self._queuing.observe(_MICROSECONDS * seconds)

    def observe_input_batch(self, num_rows: int) -> None:
        """Notes the rows of a request that is batched."""
        self._input_sizes.observe(num_rows)

    def observe_batch(self, num_rows: int, padding: int) -> None:
        """Notes the rows of a batch, and how many of them are padding."""
        self._batch_sizes.observe(num_rows)
        self._paddings.labels(str(num_rows)).observe(padding)

    def observe_load(self, path: Path, seconds: float, *, is_ok: bool) -> None:
        """Notes an attempt to load a version."""
        status = "success" if is_ok else "fail"
        self._loads.labels(str(path), status).inc()
        if is_ok:
            self._load_times.labels(str(path)).inc(_MICROSECONDS * seconds)

    def observe_warm_up(
        self, path: Path, seconds: float, *, is_ok: bool
    ) -> None:
        """Notes how long a version's warm-up requests took."""
        status = "success" if is_ok else "fail"
        self._warm_ups.labels(str(path), status).observe(
            _MICROSECONDS * seconds
        )

    def text(self) -> bytes:
        """Writes all in Prometheus' text format."""
        written = prometheus_client.generate_latest(self._registry)
        return written.replace(_COUNTER_ENDING, b"_count").replace(
            b"load_latency_total", b"load_latency"
        )

    def _counter(
        self, name: str, documentation: str, labels: tuple[str, ...]
    ) -> prometheus_client.Counter:
        return prometheus_client.Counter(
            name, documentation, labels, registry=self._registry
        )

    def _histogram(
        self,
        name: str,
        documentation: str,
        labels: tuple[str, ...] = (),
        buckets: tuple[float, ...] = _LATENCIES,
    ) -> prometheus_client.Histogram:
        return prometheus_client.Histogram(
            name,
            documentation,
            labels,
            buckets=buckets,
            registry=self._registry,
        )
