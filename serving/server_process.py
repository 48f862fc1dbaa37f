"""ServerProcess: `facegcn serve` as a process of its own."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
from types import TracebackType
from typing import Any, Self

import grpc
import psutil
from grpc_health.v1 import health_pb2, health_pb2_grpc

_START_SECONDS = 120.0
_STOP_SECONDS = 60.0
_POLL_SECONDS = 0.05


class ServerProcess:
    """Runs `facegcn serve` on a free port; its block begins when it answers.

    Args:
        arguments: Of the command, without `--port`.

    Attributes:
        arguments: Of the command, with `--port`.
        address: `host:port` of gRPC.

    Example:
        .. code-block:: python

            with ServerProcess("--model-base-path", "models/face") as server:
                FaceGCNClient(server.address, model="default")
    """

    def __init__(self, *arguments: str) -> None:
        port = free_port()
        self.address = f"localhost:{port}"
        self.arguments = ("--port", str(port), *arguments)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it; it does not answer yet."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tf_facegcn", "serve", *self.arguments]
        )

    def wait_until_serving(self) -> None:
        """Waits until it answers; errors as the function of that name."""
        wait_until_serving(self.address, self._running)

    def resident_memory(self) -> int:
        """Returns the bytes of memory that it has now."""
        return int(psutil.Process(self._running.pid).memory_info().rss)

    def terminate(self) -> None:
        """Asks it to end in order; returns at once."""
        self._running.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it as if the machine had failed."""
        self._running.kill()
        self._running.wait()

    def wait(self, timeout: float = _STOP_SECONDS) -> int:
        """Waits until it ended; returns its status.

        Raises:
            subprocess.TimeoutExpired: If it does not in time.
        """
        return self._running.wait(timeout)

    def __enter__(self) -> Self:
        self.start()
        try:
            self.wait_until_serving()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._running.poll() is None:
            self.terminate()
        try:
            self.wait()
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ValueError("The server was not started")
        return self._process


# A channel waits ever longer between attempts to connect; the time until a
# server answers would be measured too long.
_EAGER = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 50),
)


def wait_until_serving(
    address: str,
    process: subprocess.Popen[Any],
    timeout: float = _START_SECONDS,
) -> None:
    """Waits until the health service of a server says that it serves.

    Args:
        address: `host:port`, or `unix:path`.
        process: The server.
        timeout: Seconds.

    Raises:
        TimeoutError: If it does not in time.
        ChildProcessError: If it ended; it has said why.
    """
    end = time.monotonic() + timeout
    with grpc.insecure_channel(address, _EAGER) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        while time.monotonic() < end:
            if process.poll() is not None:
                raise ChildProcessError(
                    f"The server on {address} ended with status "
                    f"{process.returncode}"
                )
            with contextlib.suppress(grpc.RpcError):
                request = health_pb2.HealthCheckRequest()
                answer = health.Check(request, timeout=5)
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return
            time.sleep(_POLL_SECONDS)
    raise TimeoutError(f"The server on {address} did not become ready")


def free_port() -> int:
    """Returns the number of a port of this machine that nobody listens on."""
    with socket.socket() as opened:
        opened.bind(("localhost", 0))
        return int(opened.getsockname()[1])
