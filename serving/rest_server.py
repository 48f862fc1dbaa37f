"""RestServer: answers HTTP until another thread stops it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from waitress import wasyncore
from waitress.server import BaseWSGIServer, create_server

# At the latest after these seconds the thread looks whether it is to end.
_LOOK_SECONDS = 1.0
# The same while answers are sent to the end.
_DRAIN_SECONDS = 0.05
# What the threads that answer get to end.
_THREADS_SECONDS = 1.0


class RestServer:
    """Answers HTTP in threads of its own until another thread stops it.

    A server of waitress may only be closed by the thread that waits for its
    sockets: closed by another, they are gone while `select` waits for them, or
    belong to someone else already.

    Args:
        app: WSGI application.
        host: Address to listen on.
        port: Port to listen on; 0 for one that is free.
        num_threads: Requests that are answered at once.
        max_request_bytes: Longest body of a request, bytes.
        silence_seconds: Time after which a silent connection is closed.

    Raises:
        OSError: If the port cannot be had.

    Attributes:
        port: Port it listens on.
    """

    def __init__(
        self,
        app: Callable[..., Any],
        *,
        host: str,
        port: int,
        num_threads: int,
        max_request_bytes: int,
        silence_seconds: float,
    ) -> None:
        # All sockets by their descriptor: those that listen, connections, and
        # the pipes that wake the thread up.
        self._sockets: dict[int, Any] = {}
        self._server = create_server(
            app,
            map=self._sockets,
            host=host,
            port=port,
            threads=num_threads,
            max_request_body_size=max_request_bytes,
            channel_timeout=int(silence_seconds),
            ident=None,
            clear_untrusted_proxy_headers=True,
        )
        # More than one where a name stands for several addresses.
        self._listeners = [
            each
            for each in self._sockets.values()
            if isinstance(each, BaseWSGIServer)
        ]
        self.port = int(self._listeners[0].effective_port)
        self._is_stopping = threading.Event()
        # Held to wake the thread, and to close what wakes it.
        self._closing = threading.Lock()
        self._grace = 0.0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begins to answer."""
        self._thread.start()

    def stop(self, grace: float) -> None:
        """Accepts nothing more, answers what was received, and ends.

        Args:
            grace: Seconds that answers may still take.
        """
        with self._closing:
            if not self._is_stopping.is_set():
                self._grace = grace
                self._is_stopping.set()
                self._listeners[0].pull_trigger()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._is_stopping.is_set():
                self._wait(_LOOK_SECONDS)
            end = time.monotonic() + self._grace
            for listener in self._listeners:
                # Not `listener.close`, which takes what wakes this thread.
                wasyncore.dispatcher.close(listener)
            while self._close_silent() and time.monotonic() < end:
                self._wait(_DRAIN_SECONDS)
        finally:
            self._close()

    def _wait(self, seconds: float) -> None:
        # `select` knows no descriptors beyond 1,023.
        wasyncore.loop(seconds, use_poll=True, map=self._sockets, count=1)

    def _close_silent(self) -> bool:
        """Closes connections that wait for nothing; returns if any is left."""
        for connection in self._connections():
            if not (connection.requests or connection.total_outbufs_len):
                connection.handle_close()
        return bool(self._connections())

    def _close(self) -> None:
        self._server.task_dispatcher.shutdown(timeout=_THREADS_SECONDS)
        for connection in self._connections():
            # Closes the files of long answers, too.
            connection.handle_close()
        with self._closing:
            self._is_stopping.set()
            wasyncore.close_all(self._sockets, ignore_all=True)

    def _connections(self) -> list[Any]:
        return [
            channel
            for listener in self._listeners
            for channel in listener.active_channels.values()
        ]
