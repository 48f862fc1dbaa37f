"""The command `facegcn serve`, with what it writes to standard error."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile


@contextlib.contextmanager
def serving(*arguments):
    """Runs the command; ends it with SIGTERM.

    Yields:
        The process, and a function that gives its log up to now.
    """
    # No pipe, which would fill up and stop a server that logs much.
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tf_facegcn", "serve", *map(str, arguments)],
            stderr=log,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )

        def read_log():
            log.seek(0)
            return log.read()

        try:
            yield process, read_log
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
