"""Which pages of other origins may call, and read what (CORS): the library's middleware, and its headers for answers
that are given without an ASGI call."""

from __future__ import annotations

from collections.abc import Coroutine
from functools import lru_cache
from typing import Any, TypeVar

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Message, Receive, Scope, Send

T = TypeVar("T")

TAKEN_HEADERS = (
    "Authorization",
    "Content-Encoding",
    "Content-Type",
    "Inference-Header-Content-Length",
    "X-API-Key",
    "X-Request-ID",
    "X-Timeout-Seconds",
    "traceparent",
    "tracestate",
)
"""What a page of another origin may send: all that is looked at, beside what every page may, and the header that the
operator has chosen for canaries."""
EXPOSED_HEADERS = (
    "Accept-Encoding",
    "Allow",
    "Inference-Header-Content-Length",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "WWW-Authenticate",
    "X-Judgement",
    "X-Model",
    "X-Request-ID",
    "X-Result-Columns",
    "X-Rows",
    "X-Bad-Rows",
    "X-Text-Column",
    "X-Layout",
)
"""What a page of another origin may read of a response, beside what every page may (Fetch, section 2.2.2): all that
says something to a program that calls."""

_REMEMBERED = 64


def cors_options(origins: str, canary_header: str) -> dict[str, Any]:
    """Arguments of the middleware where these origins may call; see ``Settings`` for both."""
    return {
        "allow_origins": [origin.strip() for origin in origins.split(",")],
        "allow_methods": ["GET", "HEAD", "POST"],
        "allow_headers": (*TAKEN_HEADERS, canary_header),
        "expose_headers": EXPOSED_HEADERS,
    }


class OriginHeaders:
    """The lines that the middleware would add to a response's head.

    Args:
        options: of the middleware.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self._middleware = CORSMiddleware(_nothing, **options)
        self.lines = lru_cache(_REMEMBERED)(self._lines)

    def _lines(self, origin: bytes | None) -> bytes:
        """For a request with this ``Origin``, or without one."""
        asked = Headers(raw=[] if origin is None else [(b"origin", origin)])
        start: Message = {"type": "http.response.start", "headers": []}

        async def sent(_: Message) -> None:
            pass

        at_once(self._middleware.send(start, sent, asked))
        return b"".join(b"%b: %b\r\n" % header for header in start["headers"])


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    raise NotImplementedError


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that only looks like waiting, without a task for it.

    Raises:
        RuntimeError: it does wait.
    """
    try:
        work.send(None)
    except StopIteration as end:
        found: T = end.value
        return found
    work.close()
    raise RuntimeError("this cannot be done without waiting")
