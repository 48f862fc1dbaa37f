import queue
import threading
import time

import grpc
import pytest

from serving.admission import Admission
from serving.serving_error import ServingError


class Request(threading.Thread):
    """A request in a thread of its own, which runs until it is told to end."""

    def __init__(self, admission, started, timeout=None):
        super().__init__(daemon=True)
        self.admission, self.started, self.timeout = admission, started, timeout
        self.code = self.left = None
        self.may_end = threading.Event()

    def run(self):
        try:
            with self.admission.admit(self.timeout) as self.left:
                self.started.put(self)
                self.may_end.wait(10)
        except ServingError as error:
            self.code = error.code


def start(admission, started, number):
    """Requests that come one after the other."""
    requests = []
    for _ in range(number):
        request = Request(admission, started)
        waiting = len(admission._waiting) + admission._num_running
        request.start()
        requests.append(request)
        wait_until(
            lambda: (
                len(admission._waiting) + admission._num_running > waiting  # noqa: B023
            )
        )
    return requests


def wait_until(is_so):
    end = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_takes_turns_in_the_order_of_coming():
    admission, started = Admission(1, 10), queue.Queue()
    requests = start(admission, started, 7)
    for request in requests:
        assert started.get(timeout=10) is request
        request.may_end.set()
    assert admission.wait_until_idle(10)


def test_runs_as_many_as_it_may():
    admission, started = Admission(2, 10), queue.Queue()
    requests = start(admission, started, 4)
    assert {started.get(timeout=10), started.get(timeout=10)} == {*requests[:2]}
    with pytest.raises(queue.Empty):
        started.get(timeout=0.1)
    for request in requests:
        request.may_end.set()
    assert admission.wait_until_idle(10)


def test_refuses_at_once_what_would_wait_in_a_full_line():
    admission, started = Admission(1, 1), queue.Queue()
    requests = start(admission, started, 2)
    before = time.monotonic()
    with pytest.raises(ServingError, match="1 requests are running") as failure:
        admission.admit().__enter__()
    assert failure.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert time.monotonic() - before < 1
    for request in requests:
        request.may_end.set()
    assert admission.wait_until_idle(10)


def test_a_request_whose_deadline_passes_leaves_the_line():
    admission, started = Admission(1, 5), queue.Queue()
    (first,) = start(admission, started, 1)
    late = Request(admission, started, timeout=0.05)
    late.start()
    late.join(10)
    assert late.code is grpc.StatusCode.DEADLINE_EXCEEDED
    patient = Request(admission, started, timeout=10)
    patient.start()
    wait_until(lambda: admission._waiting)
    time.sleep(0.05)
    first.may_end.set()
    assert started.get(timeout=10) is first
    assert started.get(timeout=10) is patient
    assert 5 < patient.left < 9.96
    patient.may_end.set()
    assert admission.wait_until_idle(10)
    with pytest.raises(ServingError) as failure:
        admission.admit(0).__enter__()
    assert failure.value.code is grpc.StatusCode.DEADLINE_EXCEEDED


def test_closed_it_lets_end_what_it_accepted():
    admission, started = Admission(1, 5), queue.Queue()
    requests = start(admission, started, 2)
    admission.close()
    with pytest.raises(ServingError) as failure:
        admission.admit().__enter__()
    assert failure.value.code is grpc.StatusCode.UNAVAILABLE
    assert not admission.wait_until_idle(0.05)
    for request in requests:
        assert started.get(timeout=10) is request
        request.may_end.set()
    assert admission.wait_until_idle(10)
