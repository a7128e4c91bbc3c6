"""OpenTelemetry traces, where the standard ``OTEL_*`` variables ask for them and the packages are installed.

A request's span continues the caller's (W3C Trace Context) and has children for what it went through: ``cache``,
``tokenize``, ``queue`` and ``forward``. The last two happen in the engine, which says when; clocks are the machine's
monotonic one. A request with several texts has one span of each kind, from its first text to its last. Texts are never
recorded. Off, all of this costs a look at one variable; little more for a request that the sampler does not want.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from app.errors import SettingsError
from app.logs import trace_id

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

logger = logging.getLogger(__name__)

_ASKED_BY = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_TRACES_EXPORTER")
_OFF = "none"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_HEADERS = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")
_HEADER = re.compile(r"[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t]*=[!#-+\--:<-\[\]-~ \t]*")
"""One of those that commas divide, as the exporter takes it."""

_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]([0-9a-f])")


class _Ids:
    """Draws a trace's id before there is a span, since samplers decide by it. See OpenTelemetry's ``IdGenerator``."""

    def __init__(self) -> None:
        self._trace = 0

    def draw(self) -> int:
        """The id of the next trace that begins here."""
        self._trace = secrets.randbits(128) or 1
        return self._trace

    def generate_trace_id(self) -> int:
        return self._trace

    def generate_span_id(self) -> int:
        return secrets.randbits(64) or 1

    def is_trace_id_random(self) -> bool:
        return True


class RequestTracer:
    """Spans of requests, for those that the sampler wants: it is asked first, as a span costs five times as much.

    Args:
        service: what all spans say of where they come from.

    Attributes:
        provider: OpenTelemetry's, with the sampler that the environment names.
        tracer: likewise.
    """

    def __init__(self, service: str) -> None:
        from opentelemetry.context import Context
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.sampling import Decision
        from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._ids = _Ids()
        resource = Resource.create({"service.name": service})
        self.provider = TracerProvider(resource=resource, id_generator=self._ids)  # type: ignore[arg-type]
        self.tracer: Tracer = self.provider.get_tracer("sentiment-service")
        self._kind, self._extract, self._root = SpanKind.SERVER, TraceContextTextMapPropagator().extract, Context()
        self._drop = Decision.DROP
        # Below a caller who does not record its trace, and below one who does.
        self._parents = [
            set_span_in_context(
                NonRecordingSpan(SpanContext(1, 1, is_remote=True, trace_flags=TraceFlags(it))), Context()
            )
            for it in (TraceFlags.DEFAULT, TraceFlags.SAMPLED)
        ]

    def start(self, method: str, headers: Iterable[tuple[bytes, bytes]]) -> Span | None:
        """See the function of this name."""
        carrier = {str(name, "latin-1"): str(value, "latin-1") for name, value in headers if name.startswith(b"trace")}
        told = _TRACEPARENT.fullmatch(carrier.get("traceparent", "")) if carrier else None
        if told is None:
            trace, parent = self._ids.draw(), self._root
        else:
            trace, parent = int(told[1], 16), self._parents[int(told[2], 16) & 1]
        if self.provider.sampler.should_sample(parent, trace, method, self._kind).decision is self._drop:
            return None
        return self.tracer.start_span(method, self._extract(carrier, self._root), self._kind)


_requests: RequestTracer | None = None


def asked_for() -> bool:
    """Whether the environment asks for traces."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or os.environ.get("OTEL_TRACES_EXPORTER") == _OFF:
        return False
    return any(os.environ.get(name) for name in _ASKED_BY)


def check() -> None:
    """Look at the variables that may hold a password. The exporter logs the value of one that it does not understand.

    Raises:
        SettingsError: one is malformed; nothing of its value is in the message.
    """
    if not asked_for():
        return
    for name in _ENDPOINTS:
        if value := os.environ.get(name):
            try:
                parts = urlsplit(value)
                usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
            except ValueError:
                usable = False
            if not usable:
                raise SettingsError(f"{name}: must be like http://HOST:4318")
    for name in _HEADERS:
        headers = [header for header in os.environ.get(name, "").split(",") if header.strip()]
        if not all(_HEADER.fullmatch(header) for header in headers):
            raise SettingsError(f"{name}: must be like NAME=VALUE,NAME=VALUE, with % escapes in values")


def configure() -> None:
    """Start exporting where the environment asks for it. Once per process, before the first request."""
    global _requests  # noqa: PLW0603 - as OpenTelemetry's own, one per process
    if not asked_for() or _requests is not None:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        logger.error(
            "OTEL_* asks for traces, but OpenTelemetry is not installed: pip install 'sentiment-service[traces]'"
        )
        return
    _requests = RequestTracer(os.environ.get("OTEL_SERVICE_NAME", "sentiment-service"))
    _requests.provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))


def shut_down() -> None:
    """Export what is left, within the exporter's own timeout. Blocking."""
    if _requests is not None:
        _requests.provider.shutdown()


def start(method: str, headers: Iterable[tuple[bytes, bytes]]) -> Span | None:
    """A server span for one HTTP request, below the caller's where ``traceparent`` names one; None when off, and where
    the sampler wants none. To be handed to ``within`` and ``end``."""
    return None if _requests is None else _requests.start(method, headers)


@contextmanager
def within(span: Span | None) -> Iterator[None]:
    """What is done now is part of a request with this span, and so are its log lines; None: of one without."""
    if span is None:
        yield
        return
    from opentelemetry.trace import format_trace_id, use_span

    with use_span(span):
        token = trace_id.set(format_trace_id(span.get_span_context().trace_id))
        try:
            yield
        finally:
            trace_id.reset(token)


def recorded() -> bool:
    """Whether the current request has a span."""
    return _requests is not None and trace_id.get() is not None


def end(span: Span, route: str, method: str, status: int) -> None:
    """End a request's span; say what it was and became, in OpenTelemetry's HTTP conventions."""
    span.update_name(f"{method} {route}")
    span.set_attributes({"http.request.method": method, "http.route": route, "http.response.status_code": status})
    span.end()


@contextmanager
def span(name: str, texts: int) -> Iterator[None]:
    """A span around what is done now for so many texts of the current request."""
    if _requests is None or trace_id.get() is None:
        yield
        return
    with _requests.tracer.start_as_current_span(name, attributes={"sentiment.texts": texts}):
        yield


def past_span(name: str, started: float, ended: float, texts: int) -> None:
    """A span of the current request for what happened elsewhere.

    Args:
        name: its name.
        started: ``time.monotonic()`` when it began.
        ended: likewise.
        texts: how many texts it was about.
    """
    if _requests is None or trace_id.get() is None:
        return
    offset = time.time_ns() - time.monotonic_ns()
    began, finished = (int(moment * 1e9) + offset for moment in (started, ended))
    _requests.tracer.start_span(name, start_time=began, attributes={"sentiment.texts": texts}).end(finished)
