"""What happens to every request: an id, metrics, a log line, security headers, and no exception that escapes."""

from __future__ import annotations

import functools
import itertools
import logging
import re
import secrets
import time
from collections.abc import Iterable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import metrics, tracing
from app.http.problems import Problem, internal_error
from app.http.routing import route_of
from app.logs import request_id

logger = logging.getLogger("app.access")

SECURITY_HEADERS = ((b"x-content-type-options", b"nosniff"),)
"""On every response."""

_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_DOCUMENTATION = frozenset({"/docs", "/docs/oauth2-redirect", "/openapi.json"})
"""The framework's own routes, which do not leave themselves in the scope."""
_PROBES = frozenset(
    {"/health/ready", "/v2/health/ready", "/v2/models/{name}/ready", "/v2/models/{name}/versions/{version}/ready"}
)
"""Asked again and again; their 503 is an answer, not an error."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


_REFUSALS = frozenset({503, 504})
"""Statuses that come by the thousand when they come."""
_FULL = 507
"""Said once by what is full, not again for every request."""


@functools.lru_cache(maxsize=512)
def _seconds(route: str, kind: str, status: int, names: tuple[str, str] | None) -> metrics.BatchHistogram:
    """Times of requests of one kind and class of status; the sets of routes and kinds are fixed."""
    found: metrics.BatchHistogram = metrics.labelled(metrics.REQUEST_SECONDS, names)(route, kind, f"{status // 100}xx")
    return found


class RequestRecorder:
    """Numbers requests, and counts and logs how they ended."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(6)
        self._numbers = itertools.count(1)
        self._counters: dict[tuple[str, str, int, tuple[str, str] | None], Any] = {}
        self._next_refusal_line = 0.0

    def request_id(self, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """The client's ``X-Request-Id`` where it is a sane one, else a new id."""
        for name, value in headers:
            if name == b"x-request-id" and _SANE_ID.fullmatch(value):
                return str(value, "ascii")
        return f"{self._prefix}-{next(self._numbers):x}"

    def record(
        self,
        template: str,
        method: str,
        status: int,
        seconds: float,
        number: str,
        *,
        kind: str = "other",
        together: bool = False,
        names: tuple[str, str] | None = None,
    ) -> None:
        """Count a request that was answered, or whose client left (499).

        Args:
            template: its route.
            method: its HTTP method; unknown ones are counted together.
            status: HTTP status.
            seconds: from its head to the end of its response.
            number: its id.
            kind: what was asked for: ``text``, ``texts``, ``explanation``; these take times of their own.
            together: whether to count it with all others of this turn of the event loop.
            names: model and version that answered; None: what is served.
        """
        method = method if method in _METHODS else "other"
        key = (template, method, status, names)
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = metrics.labelled(metrics.REQUESTS, names)(template, method, str(status))
        if together:
            metrics.buffered.count(counter)
            metrics.buffered.observe(_seconds(template, kind, status, names), seconds)
        else:
            counter.inc()
            _seconds(template, kind, status, names).observe(seconds)
        # Successes are counted, not logged: at thousands of requests a second their lines would cost more than answers.
        warned = status >= 500 and status != _FULL and template not in _PROBES
        level = logging.WARNING if warned else logging.DEBUG
        if status in _REFUSALS and level == logging.WARNING:
            # Overload is when a service must not spend its time on log lines: one a second says so.
            now = time.monotonic()
            if now < self._next_refusal_line:
                return
            self._next_refusal_line = now + 1.0
        if logger.isEnabledFor(level):
            extras = {"duration_ms": round(seconds * 1000, 3), "request_id": number}
            logger.log(level, "%s %s %d", method, template, status, extra=extras)


class RequestMiddleware:
    """The outermost layer. Plain ASGI, and frugal: it is paid for by every request."""

    def __init__(self, app: ASGIApp, recorder: RequestRecorder) -> None:
        self._app = app
        self._recorder = recorder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        scope["path"] = route_of(scope["path"])
        current = self._recorder.request_id(scope["headers"])
        token = request_id.set(current)
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", current.encode()),
                    *SECURITY_HEADERS,
                ]
            await send(message)

        metrics.REQUESTS_IN_FLIGHT.inc()
        span = tracing.start(scope["method"], scope["headers"])
        with tracing.within(span):
            try:
                # No path has line ends and the like: to a router's pattern they can be the end of another path.
                app = self._app if scope["path"].isprintable() else _unprintable
                await app(scope, receive, send_with_headers)
            except Exception:
                logger.exception("unhandled error", extra={"method": scope["method"], "path": scope["path"][:200]})
                if not status:
                    await internal_error().response()(scope, receive, send_with_headers)
            finally:
                metrics.REQUESTS_IN_FLIGHT.dec()
                template = _template(scope)
                seconds = time.perf_counter() - started
                kind, names = scope.get("kind", "other"), scope.get("answered_by")
                method = scope["method"]
                self._recorder.record(template, method, status or 499, seconds, current, kind=kind, names=names)
                if span is not None:
                    tracing.end(span, template, scope["method"], status or 499)
                request_id.reset(token)


async def _unprintable(scope: Scope, receive: Receive, send: Send) -> None:
    metrics.REJECTED.labels("bad_request").inc()
    problem = Problem(400, "bad_request", "the path has control characters")
    await problem.response()(scope, receive, send)


def _template(scope: Scope) -> str:
    template: str | None = getattr(scope.get("route"), "path", None) or scope.get("template")
    if template is None:
        template = scope["path"] if scope["path"] in _DOCUMENTATION else "unmatched"
    return template
