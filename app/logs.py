"""Structured logs: readable text on a terminal, one JSON object a line elsewhere. Never holds review texts."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from contextvars import ContextVar
from typing import Any

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Id of the request being answered, for every record that is logged meanwhile."""

trace_id: ContextVar[str | None] = ContextVar("trace_id", default=None)
"""Id of the trace the request belongs to, likewise."""

context: dict[str, str] = {}
"""What every JSON line of this process says too: the model it serves, once known."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def open_standard_streams() -> None:
    """Give what was started with a standard stream closed a null one, so that no other file takes its number."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def configure(level: str, style: str) -> None:
    """Set up the root logger, replacing what was there.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
        style: ``text``, ``json``, or ``auto`` for text on a terminal.
    """
    handler = logging.StreamHandler(sys.stderr)
    as_text = style == "text" or (style == "auto" and sys.stderr.isatty())
    handler.setFormatter(TextFormatter() if as_text else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Its own access lines would say what ours say.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    # Names of libraries that add something to every record begin with an underscore.
    extras = {name: value for name, value in vars(record).items() if name not in _STANDARD and name[0] != "_"}
    for variable in (request_id, trace_id):
        if variable.name not in extras and (current := variable.get()) is not None:
            extras[variable.name] = current
    return extras


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, logger, message, extras, exception."""

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        document = {
            "time": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **context,
            **_extras(record),
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document, default=str)


class TextFormatter(logging.Formatter):
    """``time level message key=value ...``."""

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%H:%M:%S", time.localtime(record.created))
        extras = "".join(f" {name}={_on_one_line(value)}" for name, value in _extras(record).items())
        line = f"{stamp} {record.levelname.lower():<8}{record.getMessage()}{extras}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _on_one_line(value: Any) -> str:
    # A path with a line break in it must not be able to forge a line.
    text = str(value)
    return text if text.isprintable() else repr(text)
