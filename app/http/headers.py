"""Headers that several operations read or write: the deadline, the security headers."""

from __future__ import annotations

import re
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.problems import Problem, invalid

MOST_TIMEOUT = 1_000_000_000
"""Largest deadline a request may name, in seconds; what it gets is capped by the service anyway."""

_TIMEOUT = b"x-timeout-seconds"
# A JSON number: Python's own idea of a number has underscores, names, and digits of every script.
_NUMBER = re.compile(rb"(0|[1-9][0-9]{0,30})(\.[0-9]{1,400})?([eE][+-]?[0-9]{1,4})?")

_BROWSER = {
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cache-control": b"no-store",
}


def timeout_of(headers: Iterable[tuple[bytes, bytes]]) -> float | None:
    """Seconds after which the caller has no use for an answer, from ``X-Timeout-Seconds``; None where it is not given.

    Raises:
        Problem: 422; given twice, or no positive number.
    """
    seconds = None
    for name, value in headers:
        if name == _TIMEOUT:
            given = value.strip(b" \t")
            if seconds is not None:
                raise _invalid("must not be given twice")
            seconds = float(given) if _NUMBER.fullmatch(given) else 0.0
            if not 0 < seconds <= MOST_TIMEOUT:
                raise _invalid(f"must be a positive number of seconds, at most {MOST_TIMEOUT}")
    return seconds


def _invalid(message: str) -> Problem:
    return invalid("invalid_header", "X-Timeout-Seconds", message)


class BrowserHeaders:
    """Adds the headers that make browsers careful, where a response does not set them itself. An ASGI layer for what
    a browser can show; ``POST /classify``, which it cannot, does not pass it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message.get("headers", ())
                present = {name.lower() for name, _ in headers}
                missing = ((name, value) for name, value in _BROWSER.items() if name not in present)
                message["headers"] = [*headers, *missing]
            await send(message)

        await self._app(scope, receive, send_with_headers)
