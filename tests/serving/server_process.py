"""The command `facegcn serve` as a process of its own."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

STARTED = 90.0


def free_port():
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return opened.getsockname()[1]


@contextlib.contextmanager
def serving(*arguments):
    """Runs the command; ends it with SIGTERM."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tf_facegcn", "serve", *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def wait_until_serving(channel, process):
    stub = health_pb2_grpc.HealthStub(channel)
    end = time.monotonic() + STARTED
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(grpc.RpcError):
            status = stub.Check(health_pb2.HealthCheckRequest(), timeout=5)
            if status.status == health_pb2.HealthCheckResponse.SERVING:
                return
        time.sleep(0.1)
    raise AssertionError("It does not serve")
