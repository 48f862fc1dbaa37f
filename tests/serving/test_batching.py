import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from google.protobuf import text_format

from serving.batching import Batcher
from serving.batching_options import BatchingOptions
from serving.metrics import Metrics
from serving.protos.server_config_pb2 import BatchingParameters
from serving.serving_error import ServingError, invalid_argument


class FakeModel:
    """Doubles x; -1 is refused; notes the rows of each run."""

    def __init__(self):
        self.runs = []
        self.may_run = threading.Event()
        self.may_run.set()

    def run(self, signature_name, inputs, outputs=()):
        self.may_run.wait(10)
        x = inputs["x"]
        self.runs.append(x[:, 0].tolist())
        if (x == -1).any():
            raise invalid_argument("-1 is refused")
        return {"y": 2 * x, **dict.fromkeys(outputs, x)}


@pytest.fixture
def model():
    return FakeModel()


@pytest.fixture
def make():
    made = []

    def make_batcher(**options):
        made.append(Batcher(BatchingOptions(**options), Metrics()))
        return made[-1]

    yield make_batcher
    for batcher in made:
        batcher.close()


def rows(*values, width=1):
    return {"x": np.repeat(np.array(values, np.float32)[:, None], width, 1)}


def ask(batcher, model, inputs, timeout=10.0, outputs=()):
    return batcher.run(model, "serving_default", inputs, outputs, timeout)


def together(batcher, model, requests, **options):
    """Answers requests that wait for one another, in their order."""
    model.may_run.clear()
    with ThreadPoolExecutor(len(requests) + 1) as pool:
        # It keeps the batcher's one thread busy.
        first = pool.submit(ask, batcher, model, rows(0))
        while len(batcher._waiting):
            time.sleep(0.001)
        answers = []
        for number, inputs in enumerate(requests):
            answers.append(pool.submit(ask, batcher, model, inputs, **options))
            end = time.monotonic() + 5
            while time.monotonic() < end:
                waiting = sum(len(b.tasks) for b in list(batcher._waiting))
                if waiting > number or answers[-1].done():
                    break
                time.sleep(0.001)
        model.may_run.set()
        first.result()
        return answers


def test_what_waits_runs_together_and_each_gets_its_rows(make, model):
    batcher = make(num_threads=1)
    answers = together(batcher, model, [rows(1), rows(2, 3), rows(4)])
    found = [each.result()["y"][:, 0].tolist() for each in answers]
    assert found == [[2], [4, 6], [8]]
    assert model.runs == [[0], [1, 2, 3, 4]]


def test_batches_are_no_larger_than_allowed(make, model):
    batcher = make(num_threads=1, max_batch_size=3)
    answers = together(batcher, model, [rows(1, 2), rows(3, 4), rows(5)])
    assert [len(each.result()["y"]) for each in answers] == [2, 2, 1]
    assert model.runs == [[0], [1, 2], [3, 4, 5]]


def test_a_large_request_is_split_and_joined_again(make, model):
    batcher = make(num_threads=1, max_batch_size=2)
    found = ask(batcher, model, rows(1, 2, 3, 4, 5))
    np.testing.assert_array_equal(found["y"][:, 0], [2, 4, 6, 8, 10])
    assert max(map(len, model.runs)) == 2
    with pytest.raises(ServingError, match="larger than maximum"):
        ask(make(max_batch_size=2, splits=False), model, rows(1, 2, 3))


def test_pads_to_allowed_sizes(make, model):
    batcher = make(num_threads=1, max_batch_size=8, allowed_sizes=(4, 8))
    found = ask(batcher, model, rows(7, 9))
    np.testing.assert_array_equal(found["y"][:, 0], [14, 18])
    assert model.runs == [[7, 9, 7, 7]]


def test_waits_for_company_until_its_time_is_over(make, model):
    batcher = make(num_threads=2, timeout=0.2)
    started = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask, batcher, model, rows(1))
        time.sleep(0.05)
        second = pool.submit(ask, batcher, model, rows(2))
        first.result()
        second.result()
    assert 0.19 < time.monotonic() - started < 5
    assert model.runs == [[1, 2]]


def test_a_full_batch_does_not_wait(make, model):
    batcher = make(max_batch_size=2, timeout=60.0)
    assert ask(batcher, model, rows(1, 2))["y"].tolist() == [[2], [4]]


def test_other_shapes_and_outputs_are_batched_apart(make, model):
    batcher = make(num_threads=1)
    answers = together(batcher, model, [rows(1), rows(2, width=3), rows(3)])
    assert answers[1].result()["y"].shape == (1, 3)
    assert sorted(model.runs) == [[0], [1], [2], [3]] or sorted(model.runs) == [
        [0],
        [1, 3],
        [2],
    ]


def test_a_bad_request_fails_alone(make, model):
    batcher = make(num_threads=1)
    answers = together(batcher, model, [rows(1), rows(-1), rows(3)])
    assert answers[0].result()["y"].tolist() == [[2]]
    assert answers[2].result()["y"].tolist() == [[6]]
    with pytest.raises(ServingError, match="-1 is refused"):
        answers[1].result()


def test_what_is_too_late_does_not_run(make, model):
    batcher = make(num_threads=1)
    model.may_run.clear()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask, batcher, model, rows(0))
        while len(batcher._waiting):
            time.sleep(0.001)
        late = pool.submit(ask, batcher, model, rows(1), timeout=0.05)
        with pytest.raises(ServingError) as caught:
            late.result()
        assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
        model.may_run.set()
        first.result()
    ask(batcher, model, rows(2))
    assert model.runs == [[0], [2]]


def test_refuses_when_too_many_batches_wait(make, model):
    batcher = make(num_threads=1, max_batch_size=1, max_enqueued_batches=2)
    answers = together(batcher, model, [rows(1), rows(2), rows(3)])
    assert answers[1].result()["y"].tolist() == [[4]]
    with pytest.raises(ServingError, match="submitted is full") as caught:
        answers[2].result()
    assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"x": np.float32(1)}, "must have at least one dimension"),
        (
            {"x": np.ones((2, 1)), "z": np.ones((3, 1))},
            "must have equal 0th-dimension size",
        ),
    ],
)
def test_refuses_what_has_no_rows(make, model, inputs, message):
    with pytest.raises(ServingError, match=message):
        ask(make(), model, inputs)


def test_reads_parameters():
    parameters = text_format.Parse(
        "max_batch_size { value: 32 } batch_timeout_micros { value: 2000 } "
        "max_enqueued_batches { value: 5 } num_batch_threads { value: 4 } "
        "allowed_batch_sizes: 8 allowed_batch_sizes: 32",
        BatchingParameters(),
    )
    found = BatchingOptions.of_parameters(parameters)
    assert found == BatchingOptions(32, 0.002, 5, 4, (8, 32))
    defaults = BatchingOptions.of_parameters(BatchingParameters())
    assert defaults == BatchingOptions()
    parameters.max_execution_batch_size.value = 8
    parameters.allowed_batch_sizes[:] = [8]
    assert BatchingOptions.of_parameters(parameters).max_batch_size == 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_batch_size { value: 0 }", "max_batch_size must be 1"),
        ("batch_timeout_micros { value: -1 }", "must not be negative"),
        ("allowed_batch_sizes: 8", "end with max_batch_size, 1000"),
        (
            "max_batch_size { value: 8 } allowed_batch_sizes: [8, 8]",
            "must ascend",
        ),
        ("pad_variable_length_inputs: true", "not supported"),
    ],
)
def test_refuses_wrong_parameters(text, message):
    parameters = text_format.Parse(text, BatchingParameters())
    with pytest.raises(ValueError, match=message):
        BatchingOptions.of_parameters(parameters)
