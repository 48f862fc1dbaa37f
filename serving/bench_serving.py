"""Benchmark of the server: overhead, load, restarts, swaps of versions."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
)

from serving.client import FaceGCNClient
from serving.client_messages import ModelTarget, array_request
from serving.export_job import export_weights
from serving.load_generator import (
    Answer,
    Caller,
    closed_loop,
    describe_answers,
    open_loop,
)
from serving.loaded_model import LoadedModel
from serving.server_options import ServerOptions, one_model
from serving.server_process import ServerProcess
from tf_facegcn.benchmarks.environment import describe_environment
from tf_facegcn.benchmarks.timing import interleaved_medians

_MODEL = "facegcn"
_SIGNATURE = "serving_default"
_OUTPUTS = ("landmarks", "vertices")
_WARM_UPS = 20
_OVERHEAD_SECONDS = 20.0
_TURN_SECONDS = 0.3
_CAPACITY_SECONDS = 5.0
_CONCURRENCIES = (1, 2, 4, 8)
# Of the capacity: hardly any load, those of the table, and twice too much.
_LOADS = (0.1, 0.5, 0.8, 1.0, 1.5, 2.0)
_NUM_RESTARTS = 3
_NUM_SWAPS = 20
_NUM_CALLERS = 2
_SWAP_TIMEOUT = 120.0
_STOP_AFTER = 1.0

State = get_model_status_pb2.ModelVersionStatus.State


def benchmark_serving(
    load_seconds: float = 20.0,
    num_swaps: int = _NUM_SWAPS,
    num_restarts: int = _NUM_RESTARTS,
    weights: str = "lite",
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, object]:
    """Measures `facegcn serve` in a process of its own, on this machine.

    The callers run on the same cores as the server, which therefore answers
    fewer requests than it could.

    Args:
        load_seconds: How long each load lasts.
        num_swaps: How often a version is replaced under load.
        num_restarts: How often the server is killed and started again.
        weights: Released weights, or a `.keras` file.
        report: Called with a line of progress.

    Returns:
        A dictionary that JSON can hold: `environment`; `overhead_ms` (a photo
        in, the mesh out, minus the same graph called directly in this
        process), with both times; `capacity_per_second` by the number of
        callers; `loads`, what `describe_answers` says of each part of the
        capacity; `ratios`; `kill_to_ready_seconds`; `swaps`; `sigterm`.
    """
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / _MODEL
        first, _ = export_weights(weights, base)
        photo = _photo(first)
        report("overhead")
        with _serving(base) as server:
            overhead = _overhead(first, server.address, photo)
            report("capacity")
            caller = Caller(server.address, _request(photo))
            for _ in range(_WARM_UPS):
                caller.call()
            capacities = {
                str(number): closed_loop(caller, number, _CAPACITY_SECONDS)
                for number in _CONCURRENCIES
            }
            capacity = max(capacities.values())
            loads: dict[str, dict[str, Any]] = {}
            for part in _LOADS:
                report(f"load {part:.0%} of {capacity:.0f} a second")
                answers = open_loop(caller, part * capacity, load_seconds)
                loads[f"{part:.1f}"] = describe_answers(answers)
            caller.close()
        report(f"{num_restarts} restarts")
        restarts = [_kill_to_ready(base) for _ in range(num_restarts)]
        report(f"{num_swaps} swaps")
        swaps, sigterm = _swaps_and_sigterm(first, base, photo, num_swaps)
    return {
        "environment": describe_environment(),
        **overhead,
        "capacity_per_second": capacities,
        "loads": loads,
        "ratios": {
            "p99_at_twice_the_capacity_over_unloaded": (
                loads["2.0"]["answered_ms"]["p99"]
                / loads["0.1"]["answered_ms"]["p99"]
            ),
            "memory_after_all_swaps_over_first": (
                swaps["memory_mb"][-1] / swaps["memory_mb"][0]
            ),
        },
        "kill_to_ready_seconds": {
            "median": statistics.median(restarts),
            "all": restarts,
        },
        "swaps": swaps,
        "sigterm": sigterm,
    }


def _serving(base: Path) -> ServerProcess:
    return ServerProcess(
        *("--model-name", _MODEL, "--model-base-path", str(base)),
        *("--file-system-poll-wait-seconds", "0.2"),
        *("--host", "127.0.0.1"),
    )


def _photo(version: Path) -> np.ndarray:
    model = LoadedModel(version)
    info = model.signatures[_SIGNATURE].inputs["photos"]
    size = info.tensor_shape.dim[1].size
    model.close()
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (1, size, size, 3), np.uint8)


def _request(photo: np.ndarray) -> bytes:
    message = array_request(
        ModelTarget(_MODEL, None), _SIGNATURE, {"photos": photo}
    )
    message.output_filter.extend(_OUTPUTS)
    return message.SerializeToString()


def _overhead(
    version: Path, address: str, photo: np.ndarray
) -> dict[str, float]:
    # The session is as the server's own.
    options = ServerOptions(one_model(_MODEL, str(version.parent)))
    model = LoadedModel(version, options.session_config())
    with FaceGCNClient(address, _MODEL) as client:
        served, _ = client.predict_crops(photo)
        direct = model.run(_SIGNATURE, {"photos": photo}, _OUTPUTS)
        np.testing.assert_allclose(served, direct["vertices"], atol=1e-3)
        times = interleaved_medians(
            {
                "direct": lambda: model.run(
                    _SIGNATURE, {"photos": photo}, _OUTPUTS
                ),
                "served": lambda: client.predict_crops(photo),
            },
            _OVERHEAD_SECONDS,
            _TURN_SECONDS,
        )
    model.close()
    return {
        "overhead_ms": times["served"] - times["direct"],
        "served_ms": times["served"],
        "direct_ms": times["direct"],
    }


def _kill_to_ready(base: Path) -> float:
    """Kills a server, starts it again on its port, waits until it answers."""
    with _serving(base) as server:
        server.kill()
        started = time.perf_counter()
        server.start()
        server.wait_until_serving()
        return time.perf_counter() - started


def _swaps_and_sigterm(
    first: Path, base: Path, photo: np.ndarray, num_swaps: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Replaces versions, then ends the server, while callers go on asking."""
    memory, worst = [], []
    with _serving(base) as server, ThreadPoolExecutor(_NUM_CALLERS) as pool:
        caller = Caller(server.address, _request(photo))
        is_ending, stop = threading.Event(), threading.Event()
        answers: list[Answer] = []

        def ask() -> None:
            while not stop.is_set():
                answer = caller.call()
                answers.append(answer)
                refused = answer.code is grpc.StatusCode.UNAVAILABLE
                if is_ending.is_set() and refused:
                    return

        callers = [pool.submit(ask) for _ in range(_NUM_CALLERS)]
        try:
            for number in range(num_swaps):
                num_before = len(answers)
                _swap(first, base, number + 2, server.address)
                memory.append(server.resident_memory() / 1e6)
                since = answers[num_before:]
                worst.append(1e3 * max(answer.seconds for answer in since))
            swapped = list(answers)
            time.sleep(_STOP_AFTER)
            num_before = len(answers)
            is_ending.set()
            server.terminate()
            for future in callers:
                future.result(_SWAP_TIMEOUT)
        finally:
            stop.set()
        status = server.wait()
        caller.close()
    ended = answers[num_before:]
    return (
        {
            "num_callers": _NUM_CALLERS,
            "answered": describe_answers(swapped),
            "failed": sum(a.code is not grpc.StatusCode.OK for a in swapped),
            "worst_ms": worst,
            "memory_mb": memory,
        },
        {
            "answered": sum(a.code is grpc.StatusCode.OK for a in ended),
            "refused": sum(
                a.code is grpc.StatusCode.UNAVAILABLE for a in ended
            ),
            "failed": sum(
                a.code not in (grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE)
                for a in ended
            ),
            "exit_status": status,
        },
    )


def _swap(first: Path, base: Path, version: int, address: str) -> None:
    """Puts a copy beside the other versions; waits until it alone is served."""
    copy = base.parent / f"copy_{version}"
    shutil.copytree(first, copy)
    copy.rename(base / str(version))
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = _MODEL
    end = time.monotonic() + _SWAP_TIMEOUT
    with grpc.insecure_channel(address) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        while time.monotonic() < end:
            response = stub.GetModelStatus(request, timeout=_SWAP_TIMEOUT)
            states = {
                each.version: each.state
                for each in response.model_version_status
            }
            others = set(states) - {version}
            if states.get(version) == State.AVAILABLE and all(
                states[other] == State.END for other in others
            ):
                return
            time.sleep(0.1)
    raise TimeoutError(f"Version {version} was not served in time: {states}")
