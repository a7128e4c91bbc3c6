"""Traces: a real service exports to a collector what a request went through."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace.sampling import Decision

from app import tracing
from tests.service import Service, serving
from tests.waiting import LIMIT

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector(ThreadingHTTPServer):
    """Keeps the spans it is sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: list[Span] = []

    def of_trace(self, trace: str, count: int) -> dict[str, Span]:
        """The spans of a trace by name, when there are so many; a collector that gets fewer fails."""
        deadline = time.monotonic() + LIMIT
        found: list[Span] = []
        while len(found) < count and time.monotonic() < deadline:
            time.sleep(0.05)
            found = [span for span in self.spans if span.trace_id.hex() == trace]
        assert len(found) == count
        return {span.name: span for span in found}


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        request = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.server.spans += scope.spans
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def service(tiny_store: Path, collector: Collector) -> Iterator[Service]:
    """One worker and an engine that export to the collector what callers record."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        patch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
        patch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
        with serving(tiny_store, workers="1", log_level="debug", log_format="json") as running:
            yield running


def classify(service: Service, trace: str, *texts: str) -> None:
    headers = {"traceparent": f"00-{trace}-{PARENT}-01", "X-Request-Id": f"of-{trace}"}
    body = {"texts": list(texts)} if len(texts) > 1 else {"text": texts[0]}
    httpx.post(f"{service.url}/classify", json=body, headers=headers).raise_for_status()


def test_a_request_leaves_its_way_in_a_trace(service: Service, collector: Collector) -> None:
    """Below the caller's span one for the request, and below that cache, tokenize, queue and forward, in order."""
    classify(service, TRACE, "a good film")
    spans = collector.of_trace(TRACE, 5)
    assert set(spans) == {"POST /classify", "cache", "tokenize", "queue", "forward"}
    request = spans.pop("POST /classify")
    assert request.parent_span_id.hex() == PARENT
    assert request.kind == Span.SPAN_KIND_SERVER
    attributes = {item.key: item.value for item in request.attributes}
    assert attributes["http.response.status_code"].int_value == 200
    for span in spans.values():
        assert span.parent_span_id == request.span_id
        assert request.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.end_time_unix_nano <= request.end_time_unix_nano
    assert spans["queue"].end_time_unix_nano == pytest.approx(spans["forward"].start_time_unix_nano, abs=1e6)


@pytest.mark.parametrize("number", [3, 20, 200])
def test_several_texts_share_their_spans(service: Service, collector: Collector, number: int) -> None:
    """One span of each kind however many texts, and however they travel; it says how many, and never which."""
    trace = f"{number:032}"
    texts = [f"quite a secret film {word} {number}" for word in range(number)]
    classify(service, trace, *texts)
    spans = collector.of_trace(trace, 5)
    for name in ("tokenize", "queue", "forward"):
        assert {item.key: item.value.int_value for item in spans[name].attributes} == {"sentiment.texts": number}
    assert not any("secret" in str(span) for span in collector.spans)


def test_a_refusal_is_traced_too(service: Service, collector: Collector) -> None:
    """With its status."""
    trace = "3" * 32
    headers = {"traceparent": f"00-{trace}-{PARENT}-01"}
    assert httpx.post(f"{service.url}/classify", content=b"{", headers=headers).status_code == 422
    span = collector.of_trace(trace, 1)["POST /classify"]
    assert {item.key: item.value.int_value for item in span.attributes}["http.response.status_code"] == 422


@pytest.mark.parametrize("number", [1, 20])
def test_what_is_not_sampled_leaves_nothing(service: Service, collector: Collector, number: int) -> None:
    """Not a span of its own for the cache or the forward pass either, whether the caller or the sampler decides."""
    texts = [f"an unseen film {number} {word}" for word in range(number)]
    body = {"texts": texts} if number > 1 else {"text": texts[0]}
    for headers in ({}, {"traceparent": f"00-{'4' * 32}-{PARENT}-00"}):
        httpx.post(f"{service.url}/classify", json=body, headers=headers).raise_for_status()
    last = f"{number + 5_000:032}"
    classify(service, last, f"a film that is seen {number}")
    collector.of_trace(last, 5)  # what came before it would be here too
    begun = [span for span in collector.spans if not span.parent_span_id]
    assert not begun
    assert not any(span.trace_id.hex() == "4" * 32 for span in collector.spans)


def test_log_lines_name_the_trace(service: Service) -> None:
    """A request's log line carries its own id, that of its trace, and the model's version."""
    trace = "2" * 32
    classify(service, trace, "a bad film")
    deadline = time.monotonic() + LIMIT
    found: list[str] = []
    while not found and time.monotonic() < deadline:  # it is written after the answer
        found = [line for line in service.output.read_text().splitlines() if f"of-{trace}" in line]
    [line] = [json.loads(line) for line in found]
    assert (line["trace_id"], line["model"]) == (trace, "tiny/1")
    assert line["duration_ms"] > 0


@pytest.mark.parametrize(
    ("environment", "asked"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "mine"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://a"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://a"}, False),
        ({"OTEL_SDK_DISABLED": "TRUE", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://a"}, False),
    ],
)
def test_the_standard_variables_decide(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], asked: bool
) -> None:
    """Traces are asked for by an exporter or where to send them to, and can be refused."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert tracing.asked_for() == asked


@pytest.mark.parametrize(
    ("sampler", "ratio", "flags", "recorded"),
    [
        ("parentbased_traceidratio", "0", None, False),
        ("parentbased_traceidratio", "0", "00", False),
        ("parentbased_traceidratio", "0", "01", True),
        ("parentbased_traceidratio", "1", None, True),
        ("parentbased_traceidratio", "1", "00", False),
        ("traceidratio", "0", "01", False),
        ("always_on", "", "00", True),
        ("always_off", "", "01", False),
    ],
)
def test_the_sampler_decides(
    monkeypatch: pytest.MonkeyPatch, sampler: str, ratio: str, flags: str | None, recorded: bool
) -> None:
    """The one that the standard variables name, with the caller's decision before it."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", ratio)
    headers = [] if flags is None else [(b"traceparent", f"00-{TRACE}-{PARENT}-{flags}".encode())]
    span = tracing.RequestTracer("test").start("POST", headers)
    assert (span is not None) == recorded
    if span is not None and flags is not None:
        assert f"{span.get_span_context().trace_id:032x}" == TRACE


def test_a_share_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the traces that begin here, by their ids, so that every service would choose the same ones."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.25")
    tracer = tracing.RequestTracer("test")
    spans = [span for _ in range(400) if (span := tracer.start("POST", [(b"traceparent", b"odd")])) is not None]
    assert 40 < len(spans) < 160
    traces = [span.get_span_context().trace_id for span in spans]
    assert len(set(traces)) == len(traces)
    asked = tracer.provider.sampler.should_sample
    assert {asked(None, trace, "").decision for trace in traces} == {Decision.RECORD_AND_SAMPLE}


def test_off_nothing_is_recorded() -> None:
    """Without configuration every call is a no-op."""
    assert tracing.start("GET", []) is None
    with tracing.within(None), tracing.span("cache", 1):
        assert not tracing.recorded()
    tracing.past_span("queue", 0, 1, 1)
    tracing.shut_down()
