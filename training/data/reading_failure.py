"""What remains of an error of a loader that TensorFlow passed on."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

# As `tf.numpy_function` words an exception of the function that it calls.
_PATTERN = re.compile(
    r"(ValueError|OSError|FileNotFoundError|ChildProcessError): (.+)"
)


@contextlib.contextmanager
def reading_failures() -> Iterator[None]:
    """Turns TensorFlow's error about a loader back into the loader's own.

    Raises:
        ValueError: With the loader's message, if that is what failed.
        ChildProcessError: Likewise, if a process of the loader ended.
    """
    try:
        yield
    except Exception as error:
        # TensorFlow's errors cannot be named here: JAX runs without it.
        if not type(error).__module__.startswith("tensorflow."):
            raise
        found = _PATTERN.search(str(error))
        if found is None:
            raise
        kind: type[Exception] = ValueError
        if found.group(1) == ChildProcessError.__name__:
            kind = ChildProcessError
        raise kind(found.group(2)) from error
