"""Metrics: what a server counts, under TensorFlow Serving's names."""

from __future__ import annotations

import grpc
import prometheus_client

# Milliseconds at the low end, to tens of seconds: latencies in microseconds,
# growing by 1.8, as TensorFlow Serving's.
_BUCKETS = tuple(10 * 1.8**power for power in range(33))
_PREFIX = ":tensorflow:serving:"
# prometheus_client adds this to the names of counters; TensorFlow Serving's
# have no such ending.
_COUNTER_ENDING = "request_count_total"


class Metrics:
    """Counts requests and their latencies."""

    def __init__(self) -> None:
        self._registry = prometheus_client.CollectorRegistry()
        self._requests = prometheus_client.Counter(
            f"{_PREFIX}request_count",
            "The total number of requests.",
            ("model_name", "status"),
            registry=self._registry,
        )
        self._latencies = prometheus_client.Histogram(
            f"{_PREFIX}request_latency",
            "Distribution of wall time, microseconds.",
            ("model_name", "API", "entrypoint"),
            buckets=_BUCKETS,
            registry=self._registry,
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
            1e6 * seconds
        )

    def text(self) -> bytes:
        """Writes all in Prometheus' text format."""
        written = prometheus_client.generate_latest(self._registry)
        return written.replace(_COUNTER_ENDING.encode(), b"request_count")
