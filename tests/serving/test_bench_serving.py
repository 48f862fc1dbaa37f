import grpc
import pytest

from serving import bench_serving
from serving.client_messages import ModelTarget, array_request
from tests.serving.saved_models import half_plus

pytest.importorskip(
    "mlperf_loadgen", reason="mlcommons-loadgen has no build for this machine"
)

import itertools

from serving.load_generator import (
    Answer,
    Caller,
    closed_loop,
    describe_answers,
    open_loop,
)

OK = grpc.StatusCode.OK
REFUSED = grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.fixture
def caller(server):
    values = half_plus([1.0], 0)
    request = array_request(
        ModelTarget("half_plus", None), "serving_default", {"x": values}
    )
    opened = Caller(f"127.0.0.1:{server.port}", request.SerializeToString())
    yield opened
    opened.close()


def test_description():
    answers = [Answer(number / 10, 0.05, OK) for number in range(11)]
    answers += [Answer(0.5, 0.001, REFUSED)]
    found = describe_answers(answers)
    assert found["offered_per_second"] == pytest.approx(12)
    assert found["answered_per_second"] == pytest.approx(11 / 1.05)
    assert found["statuses"] == {"OK": 11, "RESOURCE_EXHAUSTED": 1}
    assert found["answered_ms"]["p99"] == pytest.approx(50)
    assert found["refused_ms"]["p50"] == pytest.approx(1)
    assert describe_answers(answers[:-1])["refused_ms"] == {}


@pytest.mark.slow
def test_open_loop_sends_at_the_rate_that_is_asked_for(caller):
    caller.call()
    answers = open_loop(caller, 100, 2)
    # Poisson arrivals: 200 and some 14 more or less.
    assert 130 < len(answers) < 280
    assert {answer.code for answer in answers} == {OK}
    gaps = [b.sent - a.sent for a, b in itertools.pairwise(answers)]
    assert max(gaps) > 0.02 > 0.005 > sorted(gaps)[len(gaps) // 4]


@pytest.mark.slow
def test_closed_loop_counts_what_was_answered(caller):
    answer = caller.call()
    assert answer.code is OK
    assert 0 < answer.seconds < 1
    assert closed_loop(caller, 2, 0.5) > 10
    caller._request = b"\xff"
    assert caller.call().code is not OK
    assert closed_loop(caller, 1, 0.1) == 0


@pytest.mark.slow
def test_whole_benchmark(small_model, tmp_path, monkeypatch):
    weights = tmp_path / "small.keras"
    small_model.save(weights)
    monkeypatch.setattr(bench_serving, "_OVERHEAD_SECONDS", 0.5)
    monkeypatch.setattr(bench_serving, "_CAPACITY_SECONDS", 0.3)
    monkeypatch.setattr(bench_serving, "_STOP_AFTER", 0.2)
    lines = []
    found = bench_serving.benchmark_serving(
        0.5, num_swaps=2, num_restarts=1, weights=weights, report=lines.append
    )
    assert lines[:2] == ["overhead", "capacity"]
    assert found["overhead_ms"] == pytest.approx(
        found["served_ms"] - found["direct_ms"]
    )
    assert all(number > 0 for number in found["capacity_per_second"].values())
    assert list(found["loads"]) == ["0.1", "0.5", "0.8", "1.0", "1.5", "2.0"]
    for load in found["loads"].values():
        assert set(load["statuses"]) <= {"OK", "RESOURCE_EXHAUSTED"}
    assert found["kill_to_ready_seconds"]["median"] > 0.5
    swaps, sigterm = found["swaps"], found["sigterm"]
    assert swaps["failed"] == sigterm["failed"] == 0
    assert len(swaps["memory_mb"]) == len(swaps["worst_ms"]) == 2
    assert all(number > 100 for number in swaps["memory_mb"])
    assert sigterm["exit_status"] == 0
    assert sigterm["answered"] > 0
