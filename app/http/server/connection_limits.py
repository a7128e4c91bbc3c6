"""Bounds and deadlines of a connection, and what a client is told that does not keep them."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import httptools
from starlette.types import Receive, Scope, Send

from app import metrics
from app.http.body import respond_and_discard
from app.http.middleware import RequestMiddleware, RequestRecorder
from app.http.problems import Problem, internal_error

MAX_HEAD = 65_536
"""Longest request line and headers together, in bytes."""
MAX_HEADERS = 256
"""Most headers of a request."""
MAX_PIPELINED = 64
"""Most requests that may wait on a connection while one is answered (RFC 9112, section 9.3.2)."""
LEAST_RATE = 65_536
"""Bytes per second at which a long body may take longer than the deadline."""
LINGER_SECONDS = 1.0
"""How long a refused connection is kept for its client to read why: closing it while data arrives would reset it."""

CROWDED_SECONDS = 5.0
"""How long a connection without a request is kept while more than three quarters of the places are taken."""
STALL_GRACE = 6.0
"""Seconds in which the operation itself says that a file's client stalled, before the connection ends without it."""
ALWAYS_ANSWERED = frozenset({"/health/live", "/health/ready", "/metrics"})
"""What an operator needs just when there are too many connections."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ConnectionLimits:
    """Bounds of the connections of one HTTP worker.

    Attributes:
        connections: most that are served at a time.
        head_seconds: in which a request's head must arrive.
        body_seconds: in which its body must arrive, or go on at ``LEAST_RATE``; also in which a client must take
            something of a response.
        stall_seconds: in which a client of ``POST /files`` must send or take something, in the place of that.
        keep_alive_seconds: in which the next request must begin.
    """

    connections: int = 2_000
    head_seconds: float = 10.0
    body_seconds: float = 30.0
    stall_seconds: float = 60.0
    keep_alive_seconds: float = 75.0


def why(error: Exception) -> Problem:
    """What the client is told of an error of the parser, or of what it called."""
    cause = error.__cause__ or error.__context__
    if isinstance(cause, Problem):
        return cause
    if not isinstance(cause, ValueError | httptools.HttpParserError | None):
        logger.error("a request could not be taken", exc_info=cause)
        return internal_error()
    return Problem(400, "bad_request", "this is not a valid HTTP/1.1 request")


def too_slow(part: str, seconds: float) -> Problem:
    """A part of a request did not come in time."""
    return Problem(408, "request_timeout", f"the request's {part} did not arrive within {seconds:g} s")


def head_too_large(what: str) -> Problem:
    """A head is beyond a bound."""
    return Problem(431, "header_too_large", f"request line and headers must not {what}")


async def _refuse_surplus(scope: Scope, receive: Receive, send: Send) -> None:
    metrics.REJECTED.labels("too_many_connections").inc()
    headers = {"Connection": "close", "Retry-After": "1"}
    problem = Problem(503, "too_many_connections", "the service has as many connections as it may", headers=headers)
    await respond_and_discard(problem.response(), scope, receive, send)


too_many_connections = RequestMiddleware(_refuse_surplus, RequestRecorder())
"""The application of connections beyond the limit."""
