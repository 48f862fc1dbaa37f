"""Log lines of the server, as text or as JSON."""

from __future__ import annotations

import json
import logging
import time

import grpc

_LOGGER = logging.getLogger("serving.requests")
_TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s"
# What a request's line has beside the message.
_FIELDS = ("request_id", "model", "code", "milliseconds")


class JsonFormatter(logging.Formatter):
    """Writes a line of the log as a JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Writes a line; called by `logging`."""
        line = {
            "time": time.strftime(
                "%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)
            )
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in _FIELDS:
            if hasattr(record, name):
                line[name] = getattr(record, name)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def start_logging(level: int, *, as_json: bool) -> None:
    """Logs to standard error.

    Args:
        level: Of the server's own messages; others' are shown if they warn.
        as_json: Whether lines are JSON objects.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(
        JsonFormatter() if as_json else logging.Formatter(_TEXT)
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("serving").setLevel(level)
    # It warns of its own deprecated names, and has a handler of its own.
    tensorflow = logging.getLogger("tensorflow")
    tensorflow.setLevel(logging.ERROR)
    tensorflow.propagate = False


def log_request(
    interface: str,
    method: str,
    model: str,
    code: grpc.StatusCode,
    seconds: float,
    request_id: str,
) -> None:
    """Logs a request, at the level DEBUG.

    Args:
        interface: `gRPC` or `REST`.
        method: `Predict`, `Classify`, ...
        model: Its model.
        code: How it ended.
        seconds: How long it took.
        request_id: The caller's id of it, or the one it was given.
    """
    milliseconds = round(1000 * seconds, 3)
    _LOGGER.debug(
        "%s %s of %s: %s, %s ms, %s",
        interface,
        method,
        model or "no model",
        code.name,
        milliseconds,
        request_id,
        extra={
            "request_id": request_id,
            "model": model,
            "code": code.name,
            "milliseconds": milliseconds,
        },
    )
