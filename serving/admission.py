"""Admission: how many requests run, wait, or are refused."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterator

import grpc

from serving.serving_error import ServingError


class Admission:
    """Lets few requests run at a time, few wait in line, refuses all others.

    A queue without end makes every request late; a caller who is refused at
    once can go elsewhere.

    Args:
        max_running: Requests that run at the same time.
        max_waiting: Requests that wait for one of them to end.
    """

    def __init__(self, max_running: int, max_waiting: int) -> None:
        self.max_running = max_running
        self.max_waiting = max_waiting
        self._lock = threading.Lock()
        self._became_idle = threading.Condition(self._lock)
        self._num_running = 0
        # In the order of their coming; there are none while a place is free.
        self._waiting: deque[threading.Event] = deque()
        self._is_closed = False

    @contextlib.contextmanager
    def admit(self, timeout: float | None = None) -> Iterator[float | None]:
        """Waits for its turn, and holds it.

        Args:
            timeout: Seconds until the caller's deadline.

        Yields:
            The seconds that are left.

        Raises:
            ServingError: If too many wait already, or the deadline passes.
        """
        started = time.monotonic()
        self._enter(timeout)
        try:
            waited = time.monotonic() - started
            yield None if timeout is None else timeout - waited
        finally:
            self._leave()

    def close(self) -> None:
        """Refuses all further requests; those that were accepted go on."""
        with self._lock:
            self._is_closed = True

    def wait_until_idle(self, timeout: float) -> bool:
        """Waits until nothing runs or waits; returns whether that is so."""
        with self._lock:
            return self._became_idle.wait_for(
                lambda: self._num_running == 0, timeout
            )

    def _enter(self, timeout: float | None) -> None:
        if timeout is not None and timeout <= 0:
            raise _too_late()
        with self._lock:
            if self._is_closed:
                raise ServingError(
                    grpc.StatusCode.UNAVAILABLE,
                    "The server is ending; ask another one",
                )
            if self._num_running < self.max_running:
                self._num_running += 1
                return
            if len(self._waiting) >= self.max_waiting:
                raise ServingError(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    f"{self._num_running} requests are running and "
                    f"{len(self._waiting)} waiting, which is the limit; try "
                    "again later",
                )
            turn = threading.Event()
            self._waiting.append(turn)
        if turn.wait(timeout):
            return
        with self._lock:
            came_after_all = turn.is_set()
            if not came_after_all:
                self._waiting.remove(turn)
        if came_after_all:
            self._leave()
        raise _too_late()

    def _leave(self) -> None:
        with self._lock:
            if self._waiting:
                # The place goes to who waited longest.
                self._waiting.popleft().set()
                return
            self._num_running -= 1
            if self._num_running == 0:
                self._became_idle.notify_all()


def _too_late() -> ServingError:
    return ServingError(
        grpc.StatusCode.DEADLINE_EXCEEDED,
        "The deadline passed before the request could run",
    )
