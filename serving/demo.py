"""The demonstration, `make demo`: export, serve, ask over gRPC, stop.

Usage: python -m serving.demo PHOTO OUTPUT
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from serving.server_process import ServerProcess

_COMMAND = (sys.executable, "-m", "tf_facegcn")
_MODEL = "facegcn"


def main(photo: Path, output: Path) -> None:
    """Writes the meshes of a photo's faces, by way of a server.

    Args:
        photo: The photo.
        output: Folder of the results, and of the exported model.

    Raises:
        subprocess.CalledProcessError: If a command fails; it has said why.
        ChildProcessError: If the server does not come up.
        TimeoutError: Likewise.
    """
    models = output / "saved_models"
    # The folder of an earlier demonstration.
    shutil.rmtree(models, ignore_errors=True)
    _run("export", "--weights", "lite", "--output", models / _MODEL)
    server = ServerProcess(
        *("--model-name", _MODEL, "--model-base-path", str(models / _MODEL))
    )
    _show("serve", *server.arguments)
    with server:
        _run(
            *("predict", photo, "--output", output, "--verbose"),
            *("--server", server.address),
        )


def _run(*arguments: str | Path) -> None:
    words = [str(argument) for argument in arguments]
    _show(*words)
    subprocess.run([*_COMMAND, *words], check=True)


def _show(*words: str) -> None:
    sys.stdout.write(f"$ facegcn {' '.join(words)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
