"""Admission: how many requests run, wait, or are refused."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import grpc

from serving.serving_error import ServingError


class Admission:
    """Lets few requests run at a time, few wait, and refuses all others.

    A queue without end makes every request late; a caller who is refused at
    once can go elsewhere.

    Args:
        max_running: Requests that run at the same time.
        max_waiting: Requests that wait for one of them to end.
    """

    def __init__(self, max_running: int, max_waiting: int) -> None:
        self.max_running = max_running
        self.max_waiting = max_waiting
        self._changed = threading.Condition()
        self._num_running = 0
        self._num_waiting = 0
        self._is_closed = False

    @contextlib.contextmanager
    def admit(self, timeout: float | None = None) -> Iterator[None]:
        """Waits for its turn, and holds it.

        Args:
            timeout: Seconds until the caller's deadline.

        Raises:
            ServingError: If too many wait already, or the deadline passes.
        """
        self._enter(timeout)
        try:
            yield
        finally:
            with self._changed:
                self._num_running -= 1
                self._changed.notify_all()

    def close(self) -> None:
        """Refuses all further requests; those that were accepted go on."""
        with self._changed:
            self._is_closed = True

    def wait_until_idle(self, timeout: float) -> bool:
        """Waits until nothing runs or waits; returns whether that is so."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._num_running and not self._num_waiting, timeout
            )

    def _enter(self, timeout: float | None) -> None:
        if timeout is not None and timeout <= 0:
            raise _too_late()
        with self._changed:
            if self._is_closed:
                raise ServingError(
                    grpc.StatusCode.UNAVAILABLE,
                    "The server is ending; ask another one",
                )
            if self._num_running < self.max_running and not self._num_waiting:
                self._num_running += 1
                return
            if self._num_waiting >= self.max_waiting:
                raise ServingError(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    f"{self._num_running} requests are running and "
                    f"{self._num_waiting} waiting, which is the limit; try "
                    "again later",
                )
            self._num_waiting += 1
            try:
                in_time = self._changed.wait_for(
                    lambda: self._num_running < self.max_running, timeout
                )
            finally:
                self._num_waiting -= 1
            if not in_time:
                self._changed.notify()
                raise _too_late()
            self._num_running += 1


def _too_late() -> ServingError:
    return ServingError(
        grpc.StatusCode.DEADLINE_EXCEEDED,
        "The deadline passed before the request could run",
    )
