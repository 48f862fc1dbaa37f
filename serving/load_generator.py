"""Open-loop load, as MLPerf LoadGen schedules it."""

from __future__ import annotations

import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
import mlperf_loadgen
import numpy as np

from serving.client_messages import PREDICT

_PERCENTILES = (50, 95, 99)
_NANOSECONDS = 1e9
_NO_ANSWER_SECONDS = 60.0
# Requests that are refused must not be repeated, as our client would.
_CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_retries", 0),
)


@dataclass(frozen=True)
class Answer:
    """What became of a request.

    Attributes:
        sent: When it was sent, in seconds of `time.perf_counter`.
        seconds: Until its answer came.
        code: Its status.
    """

    sent: float
    seconds: float
    code: grpc.StatusCode


class Caller:
    """Sends one serialized request again and again.

    What is measured is the server: the response is received whole, but it is
    not decoded.

    Args:
        address: `host:port`.
        request: A serialized `PredictRequest`.
    """

    def __init__(self, address: str, request: bytes) -> None:
        self._channel = grpc.insecure_channel(address, _CHANNEL_OPTIONS)
        self._call = self._channel.unary_unary(PREDICT)
        self._request = request

    def call(self) -> Answer:
        """Sends a request and waits for its answer."""
        return self._finished(time.perf_counter(), self.send())

    def send(self) -> grpc.Future:
        """Sends a request; the answer comes to the future."""
        return self._call.future(
            self._request, timeout=_NO_ANSWER_SECONDS, wait_for_ready=False
        )

    def send_and_tell(self, tell: Callable[[Answer], None]) -> None:
        """Sends a request; `tell` gets the answer, in another thread."""
        sent = time.perf_counter()
        self.send().add_done_callback(
            lambda future: tell(self._finished(sent, future))
        )

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def _finished(self, sent: float, future: grpc.Future) -> Answer:
        error = future.exception()
        code = grpc.StatusCode.OK if error is None else error.code()
        return Answer(sent, time.perf_counter() - sent, code)


def closed_loop(caller: Caller, concurrency: int, seconds: float) -> float:
    """Lets each of some callers wait for its answer before it asks again.

    Args:
        caller: Sends the requests.
        concurrency: How many callers there are.
        seconds: How long.

    Returns:
        Requests answered a second.
    """
    end = time.perf_counter() + seconds

    def ask() -> int:
        count = 0
        while time.perf_counter() < end:
            count += caller.call().code is grpc.StatusCode.OK
        return count

    started = time.perf_counter()
    with ThreadPoolExecutor(concurrency) as pool:
        counts = [pool.submit(ask) for _ in range(concurrency)]
        total = sum(count.result() for count in counts)
    return total / (time.perf_counter() - started)


def open_loop(caller: Caller, rate: float, seconds: float) -> list[Answer]:
    """Sends requests whether or not earlier ones were answered.

    Arrivals are a Poisson process: the Server scenario of MLPerf LoadGen,
    which schedules them and waits for the last answer.

    Args:
        caller: Sends the requests.
        rate: Requests a second, on average.
        seconds: How long.

    Returns:
        The answers, refusals among them, in the order of their coming.
    """
    answers: list[Answer] = []
    lock = threading.Lock()

    def issue(samples: Sequence[mlperf_loadgen.QuerySample]) -> None:
        for sample in samples:
            identity = sample.id

            def tell(answer: Answer, identity: int = identity) -> None:
                with lock:
                    answers.append(answer)
                mlperf_loadgen.QuerySamplesComplete(
                    [mlperf_loadgen.QuerySampleResponse(identity, 0, 0)]
                )

            caller.send_and_tell(tell)

    settings = mlperf_loadgen.TestSettings()
    settings.scenario = mlperf_loadgen.TestScenario.Server
    settings.mode = mlperf_loadgen.TestMode.PerformanceOnly
    settings.server_target_qps = rate
    settings.server_target_latency_ns = int(_NANOSECONDS)
    settings.min_duration_ms = int(1000 * seconds)
    settings.min_query_count = 1
    with tempfile.TemporaryDirectory() as folder:
        log = mlperf_loadgen.LogSettings()
        log.log_output.outdir = folder
        log.enable_trace = False
        system = mlperf_loadgen.ConstructSUT(issue, _nothing)
        samples = mlperf_loadgen.ConstructQSL(1, 1, _nothing, _nothing)
        try:
            mlperf_loadgen.StartTestWithLogSettings(
                system, samples, settings, log
            )
        finally:
            mlperf_loadgen.DestroyQSL(samples)
            mlperf_loadgen.DestroySUT(system)
    return answers


def describe_answers(answers: Sequence[Answer]) -> dict[str, Any]:
    """Describes answers.

    Returns:
        A dictionary that JSON can hold: `offered_per_second` (sent),
        `answered_per_second`, `statuses` (counts), `answered_ms` and
        `refused_ms` with percentiles of the time to an answer.
    """
    sent = [answer.sent for answer in answers]
    ends = [answer.sent + answer.seconds for answer in answers]
    answered = [each for each in answers if each.code is grpc.StatusCode.OK]
    refused = [each for each in answers if each.code is not grpc.StatusCode.OK]
    return {
        "offered_per_second": len(answers) / (max(sent) - min(sent)),
        "answered_per_second": len(answered) / (max(ends) - min(sent)),
        "statuses": dict(Counter(answer.code.name for answer in answers)),
        "answered_ms": _percentiles(answered),
        "refused_ms": _percentiles(refused),
    }


def _percentiles(answers: Sequence[Answer]) -> dict[str, float]:
    if not answers:
        return {}
    times = [1e3 * answer.seconds for answer in answers]
    return {
        f"p{number}": float(np.percentile(times, number))
        for number in _PERCENTILES
    }


def _nothing(*_: object) -> None:
    """What LoadGen calls when nothing is to be loaded or flushed."""
