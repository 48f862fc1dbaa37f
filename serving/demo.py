"""The demonstration, `make demo`: export, serve, ask over gRPC, stop.

Usage: python -m serving.demo PHOTO OUTPUT
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_COMMAND = (sys.executable, "-m", "tf_facegcn")
_MODEL = "facegcn"
_START_SECONDS = 120.0


def main(photo: Path, output: Path) -> None:
    """Writes the meshes of a photo's faces, by way of a server.

    Args:
        photo: The photo.
        output: Folder of the results, and of the exported model.

    Raises:
        subprocess.CalledProcessError: If a command fails; it has said why.
        TimeoutError: If the server does not come up.
    """
    models = output / "saved_models"
    # The folder of an earlier demonstration.
    shutil.rmtree(models, ignore_errors=True)
    _run("export", "--weights", "lite", "--output", models / _MODEL)
    with _server(models / _MODEL) as address:
        _run(
            *("predict", photo, "--output", output, "--verbose"),
            *("--server", address),
        )


@contextlib.contextmanager
def _server(base_path: Path) -> Iterator[str]:
    """Runs a server on a free port, and stops it."""
    address = f"localhost:{_free_port()}"
    arguments = [
        *("--model-name", _MODEL, "--model-base-path", str(base_path)),
        *("--port", address.rpartition(":")[2]),
    ]
    _show("serve", *arguments)
    process = subprocess.Popen([*_COMMAND, "serve", *arguments])
    try:
        _wait_until_serving(address, process)
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _wait_until_serving(address: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _START_SECONDS
    with grpc.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        while time.monotonic() < end and process.poll() is None:
            with contextlib.suppress(grpc.RpcError):
                answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=5)
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return
            time.sleep(0.1)
    raise TimeoutError(f"The server on {address} did not become ready")


def _free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("localhost", 0))
        return int(opened.getsockname()[1])


def _run(*arguments: str | Path) -> None:
    words = [str(argument) for argument in arguments]
    _show(*words)
    subprocess.run([*_COMMAND, *words], check=True)


def _show(*words: str) -> None:
    sys.stdout.write(f"$ facegcn {' '.join(words)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
