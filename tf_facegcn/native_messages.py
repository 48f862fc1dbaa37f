"""Native messages: what compiled libraries print past Python, hidden."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator

_STANDARD_ERROR = 2


@contextlib.contextmanager
def native_messages_hidden() -> Iterator[None]:
    """Hides what compiled libraries print on standard error.

    TensorFlow logs a dozen lines while it is imported whatever its log level
    is, and image decoders print warnings. What Python itself prints on
    `sys.stderr` still appears. Meant for the command line, which is alone in
    its process: the file descriptor is changed for all threads.
    """
    python_stream = sys.stderr
    try:
        visible = os.dup(_STANDARD_ERROR)
    except OSError:  # Standard error is closed, nothing to hide.
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with contextlib.ExitStack() as undo:
        undo.callback(os.close, visible)
        undo.callback(os.close, nowhere)
        if _writes_to_descriptor(python_stream):
            python_stream.flush()
            stream = undo.enter_context(
                open(
                    visible,
                    "w",
                    buffering=1,
                    encoding=python_stream.encoding,
                    errors="backslashreplace",
                    closefd=False,
                )
            )
            sys.stderr = stream
            undo.callback(setattr, sys, "stderr", python_stream)
        os.dup2(nowhere, _STANDARD_ERROR)
        undo.callback(os.dup2, visible, _STANDARD_ERROR)
        yield


def _writes_to_descriptor(stream: object) -> bool:
    """Tells a plain `sys.stderr` from one that a test has replaced."""
    try:
        return isinstance(stream, io.TextIOWrapper) and (
            stream.fileno() == _STANDARD_ERROR
        )
    except (OSError, ValueError):
        return False
