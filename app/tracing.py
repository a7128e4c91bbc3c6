"""OpenTelemetry traces, where the standard ``OTEL_*`` variables ask for them and the packages are installed.

A request's span continues the caller's (W3C Trace Context) and has children for what it went through: ``cache``,
``tokenize``, ``queue`` and ``forward``. The last two happen in the engine, which says when; clocks are the machine's
monotonic one. A request with several texts has one span of each kind, from its first text to its last. Texts are never
recorded. Off, all of this costs a look at one variable.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from app.errors import SettingsError
from app.logs import trace_id

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

logger = logging.getLogger(__name__)

_ASKED_BY = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_TRACES_EXPORTER")
_OFF = "none"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_HEADERS = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")
_HEADER = re.compile(r"[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t]*=[!#-+\--:<-\[\]-~ \t]*")
"""One of those that commas divide, as the exporter takes it."""

_provider: TracerProvider | None = None
_tracer: Tracer | None = None


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
    global _provider, _tracer  # noqa: PLW0603 - as OpenTelemetry's own, one per process
    if not asked_for() or _tracer is not None:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        logger.error(
            "OTEL_* asks for traces, but OpenTelemetry is not installed: pip install 'sentiment-service[traces]'"
        )
        return
    service = os.environ.get("OTEL_SERVICE_NAME", "sentiment-service")
    _provider = TracerProvider(resource=Resource.create({"service.name": service}))
    _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _tracer = _provider.get_tracer("sentiment-service")


def shut_down() -> None:
    """Export what is left, within the exporter's own timeout. Blocking."""
    if _provider is not None:
        _provider.shutdown()


def enabled() -> bool:
    """Whether spans are recorded."""
    return _tracer is not None


@contextmanager
def request_span(method: str, headers: Iterable[tuple[bytes, bytes]]) -> Iterator[Span | None]:
    """A server span for one HTTP request, below the caller's where ``traceparent`` names one; None when off."""
    if _tracer is None:
        yield None
        return
    from opentelemetry.trace import SpanKind, format_trace_id
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier = {str(name, "latin-1"): str(value, "latin-1") for name, value in headers if name.startswith(b"trace")}
    parent = TraceContextTextMapPropagator().extract(carrier)
    with _tracer.start_as_current_span(method, parent, SpanKind.SERVER) as current:
        token = trace_id.set(format_trace_id(current.get_span_context().trace_id))
        try:
            yield current
        finally:
            trace_id.reset(token)


def describe(span: Span, route: str, method: str, status: int) -> None:
    """Say what a request was and became, in OpenTelemetry's HTTP conventions."""
    span.update_name(f"{method} {route}")
    span.set_attributes({"http.request.method": method, "http.route": route, "http.response.status_code": status})


@contextmanager
def span(name: str, texts: int) -> Iterator[None]:
    """A span around what is done now for so many texts of the current request."""
    if _tracer is None:
        yield
        return
    with _tracer.start_as_current_span(name, attributes={"sentiment.texts": texts}):
        yield


def past_span(name: str, started: float, ended: float, texts: int) -> None:
    """A span of the current request for what happened elsewhere.

    Args:
        name: its name.
        started: ``time.monotonic()`` when it began.
        ended: likewise.
        texts: how many texts it was about.
    """
    if _tracer is None:
        return
    offset = time.time_ns() - time.monotonic_ns()
    began, finished = (int(moment * 1e9) + offset for moment in (started, ended))
    _tracer.start_span(name, start_time=began, attributes={"sentiment.texts": texts}).end(finished)
