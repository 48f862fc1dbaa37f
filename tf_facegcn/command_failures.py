"""Failures of commands: one line on standard error and exit code 1."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Annotated

import typer

from tf_facegcn.native_messages import native_messages_hidden

EXIT_CODE = 1

# Bad input, files and folders that fail, training that diverges.
EXPECTED_ERRORS = (ValueError, OSError, FloatingPointError)


# The option that every command has.
Debug = Annotated[
    bool,
    typer.Option("--debug", help="Show tracebacks and all log messages."),
]


@contextlib.contextmanager
def failures_on_one_line(*, debug: bool) -> Iterator[None]:
    """Ends the process with code 1 and one line if what is inside fails.

    Log messages of compiled libraries are hidden meanwhile.

    Args:
        debug: Change nothing: tracebacks and log messages appear.
    """
    if debug:
        sys.excepthook = sys.__excepthook__
        yield
        return
    with native_messages_hidden():
        try:
            yield
        except EXPECTED_ERRORS as error:
            complain(error)
            raise typer.Exit(EXIT_CODE) from error


def complain(problem: Exception | str) -> None:
    """Prints a problem as one line on standard error."""
    if isinstance(problem, OSError) and problem.strerror:
        place = f"{problem.filename}: " if problem.filename else ""
        problem = f"{place}{problem.strerror}"
    typer.echo(f"facegcn: {' '.join(str(problem).split())}", err=True)


def report_unexpected(
    kind: type[BaseException],
    error: BaseException,
    traceback: TracebackType | None,
) -> None:
    """Reports what nobody expected, in place of Python's `sys.excepthook`."""
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
        return
    complain(
        f"unexpected {kind.__name__}: {error}. This is a defect: run again "
        "with --debug for the traceback"
    )


def check_folder(folder: Path, option: str) -> None:
    """Fails at once if a folder for results can be neither used nor made.

    Args:
        folder: The folder, which need not exist.
        option: The option that named it.

    Raises:
        ValueError: If the folder, or the nearest folder above that exists, is
            none or is not writable.
    """
    existing = folder.absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise ValueError(
            f"{option} {folder}: expected a folder, but {existing} is a file. "
            "Name another one"
        )
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ValueError(
            f"{option} {folder}: {existing} is not writable. Name another one"
        )
