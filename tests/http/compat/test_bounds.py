"""What all protocols have in common: bounds, deadline, errors in a shape of their own, metrics, no text in the logs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, NamedTuple, get_args

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Message

from app.errors import (
    DeadlineError,
    EngineUnavailableError,
    InferenceError,
    OverloadedError,
    ServiceError,
)
from app.http.compat.tei import ErrorType
from tests.fakes import FakeClassifier, application, client_of, plain_application
from tests.http.shapes import SCOPE, sample


class Protocol(NamedTuple):
    """One protocol.

    Attributes:
        path: of the operation.
        route: its template.
        body: the request for some texts.
        field: what errors call the texts.
        fields: members of an error.
        statuses: statuses that differ from those of ``POST /classify``, by code.
    """

    path: str
    route: str
    body: Callable[[list[str]], dict[str, Any]]
    field: str
    fields: set[str]
    statuses: dict[str, int]


def _tensor(texts: list[str]) -> dict[str, Any]:
    return {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [len(texts)], "data": texts}]}


PROTOCOLS = {
    "hugging face": Protocol("/", "/", lambda texts: {"inputs": texts}, "inputs", {"error"}, {}),
    "text-embeddings-inference": Protocol(
        "/predict",
        "/predict",
        lambda texts: {"inputs": [[text] for text in texts]},
        "inputs",
        {"error", "error_type"},
        {"overloaded": 429, "blank_text": 400, "inference_failed": 424},
    ),
    "open inference": Protocol(
        "/v2/models/tiny/infer",
        "/v2/models/{name}/infer",
        _tensor,
        "inputs.0",
        {"error"},
        dict.fromkeys(
            ("invalid_json", "invalid_request", "invalid_header", "too_many_texts", "blank_text", "no_words"), 400
        ),
    ),
}
pytestmark = pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS.keys())


async def post(
    protocol: Protocol, body: Any, classifier: Any = None, limits: dict[str, Any] | None = None, **headers: str
) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    app = application(classifier) if classifier else plain_application(**(limits or {}))
    async with client_of(app) as client:
        return await client.post(
            protocol.path, content=content, headers={"content-type": "application/json", **headers}
        )


def assert_error(response: httpx.Response, protocol: Protocol, status: int, code: str) -> str:
    """The response is an error in the protocol's shape; gives its message."""
    assert response.status_code == protocol.statuses.get(code, status), response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    document = response.json()
    assert document.keys() == protocol.fields
    if "error_type" in document:
        assert document["error_type"] in get_args(ErrorType)
    if response.status_code in (429, 503):
        assert int(response.headers["retry-after"]) >= 1
    return str(document["error"])


BAD: dict[str, tuple[bytes, int, str, str, dict[str, str]]] = {
    "empty": (b"", 422, "invalid_json", "body", {}),
    "not json": (b"inputs=a", 422, "invalid_json", "body", {}),
    "deep nesting": (b'{"inputs": ' + b"[" * 100_000, 422, "invalid_json", "body", {}),
    "lone surrogate": (rb'{"inputs": "a \ud800 b"}', 422, "invalid_json", "body", {}),
    "null": (b"null", 422, "invalid_request", "body", {}),
    "no inputs": (b"{}", 422, "invalid_request", "inputs: Field required", {}),
    "number": (b'{"inputs": 5}', 422, "invalid_request", "inputs: ", {}),
    "item of numbers": (b'{"inputs": [5]}', 422, "invalid_request", "inputs.", {}),
    "no items": (b'{"inputs": []}', 422, "invalid_request", "inputs", {}),
    "too large": (b" " * 5000, 413, "body_too_large", "4096 bytes", {}),
    "form": (b"a=b", 415, "unsupported_media_type", "content-type", {"content-type": "multipart/form-data"}),
    "gzip": (b"\x1f\x8b", 415, "unsupported_encoding", "compressed", {"content-encoding": "gzip"}),
    "timeout": (b"{}", 422, "invalid_header", "X-Timeout-Seconds", {"x-timeout-seconds": "soon"}),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
async def test_bad_requests_are_explained_and_counted(
    protocol: Protocol, bad: tuple[bytes, int, str, str, dict[str, str]]
) -> None:
    """Status and message, in the protocol's shape; counted as rejected and under the route's template."""
    body, status, code, names, headers = bad
    limits = {"max_body": 4096 if status == 413 else 200_000}
    rejected = sample("sentiment_rejected_total", reason=code)
    labels = {"route": protocol.route, "method": "POST", "status": str(protocol.statuses.get(code, status))}
    requests = sample("sentiment_requests_total", **labels)
    assert names in assert_error(await post(protocol, body, limits=limits, **headers), protocol, status, code)
    assert sample("sentiment_rejected_total", reason=code) == rejected + 1
    assert sample("sentiment_requests_total", **labels) == requests + 1


async def test_a_field_given_twice_is_refused(protocol: Protocol) -> None:
    """Which of the two is meant nobody knows; not even of a field that is passed over."""
    body = json.dumps(protocol.body(["a film"])).encode().removesuffix(b"}") + rb', "id": "a", "\u0069d": "b"}'
    response = await post(protocol, body)
    assert assert_error(response, protocol, 422, "invalid_request") == "id: must not be given twice"


async def test_too_many_texts(protocol: Protocol) -> None:
    """The limit is that of ``POST /classify``."""
    response = await post(protocol, protocol.body(["a"] * 11), limits={"max_texts": 10})
    message = assert_error(response, protocol, 422, "too_many_texts")
    assert message == f"{protocol.field}: has 11 texts; the limit is 10"
    assert (await post(protocol, protocol.body(["a"] * 10), limits={"max_texts": 10})).status_code == 200


@pytest.mark.parametrize(("text", "code"), [("", "blank_text"), ("...", "no_words")])
async def test_one_bad_text_fails_the_request(protocol: Protocol, text: str, code: str) -> None:
    """The message says which; alone, it needs no number."""
    several = assert_error(await post(protocol, protocol.body(["good", text])), protocol, 422, code)
    assert several.startswith(f"{protocol.field}.1: text must contain at least 1 ")
    alone = assert_error(await post(protocol, protocol.body([text])), protocol, 422, code)
    assert alone.startswith(f"{protocol.field}: text must")


SERVICE_ERRORS = [
    (OverloadedError("full", retry_after=2.2), 503, "overloaded"),
    (EngineUnavailableError("restarting"), 503, "engine_unavailable"),
    (DeadlineError("too late"), 504, "deadline_exceeded"),
    (InferenceError("failed"), 500, "inference_failed"),
]


@pytest.mark.parametrize(("error", "status", "code"), SERVICE_ERRORS)
async def test_service_errors(protocol: Protocol, error: ServiceError, status: int, code: str) -> None:
    """Raised for the request or given by one text: status, message, and when to come back."""
    refused = await post(protocol, protocol.body(["a"]), FakeClassifier(error=error))
    partly = await post(protocol, protocol.body(["a", "b"]), FakeClassifier({"b": error}))
    assert assert_error(refused, protocol, status, code) == str(error)
    assert assert_error(partly, protocol, status, code) == f"{protocol.field}.1: {error}"


async def test_before_the_model_is_loaded(protocol: Protocol) -> None:
    """503, not a failure."""
    response = await post(protocol, protocol.body(["a"]), lambda: None)
    assert_error(response, protocol, 503, "engine_unavailable")


async def test_a_defect_says_nothing_about_itself(protocol: Protocol, caplog: pytest.LogCaptureFixture) -> None:
    """500 in the protocol's shape; the traceback is logged once, without the text."""
    response = await post(protocol, protocol.body(["private"]), FakeClassifier(error=ZeroDivisionError("secret")))
    assert "secret" not in assert_error(response, protocol, 500, "internal_error")
    [record] = [record for record in caplog.records if record.exc_info]
    assert "private" not in record.getMessage()


async def test_texts_are_not_logged(protocol: Protocol, caplog: pytest.LogCaptureFixture) -> None:
    """Neither of answers nor of refusals, on any level."""
    caplog.set_level("DEBUG")
    for texts in (["private words"], ["private words", ""]):
        await post(protocol, protocol.body(texts))
    assert caplog.records
    assert "private" not in caplog.text


async def test_the_deadline_reaches_the_classifier(protocol: Protocol) -> None:
    """``X-Timeout-Seconds`` is passed on; without it the service's own limit holds."""
    classifier = FakeClassifier()
    await post(protocol, protocol.body(["a"]), classifier, None, **{"x-timeout-seconds": "0.25"})
    await post(protocol, protocol.body(["a"]), classifier)
    assert classifier.timeouts == [0.25, None]


async def test_a_client_that_leaves_cancels_its_work(protocol: Protocol) -> None:
    """The classification is cancelled, the request counts as 499, and no task stays behind."""
    classifier = FakeClassifier(gate=asyncio.Event())
    body = json.dumps(protocol.body(["a"])).encode()
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
    labels = {"route": protocol.route, "method": "POST", "status": "499"}
    before = sample("sentiment_requests_total", **labels)

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await classifier.started.wait()
        return {"type": "http.disconnect"}

    async def send(_: Message) -> None:
        return

    scope = {**SCOPE, "path": protocol.path, "raw_path": protocol.path.encode()}
    await asyncio.wait_for(application(classifier)(scope, receive, send), 60)
    assert classifier.cancelled == 1
    assert sample("sentiment_requests_total", **labels) == before + 1
    assert asyncio.all_tasks() == {asyncio.current_task()}


names = st.sampled_from(
    ["inputs", "parameters", "outputs", "name", "datatype", "shape", "data", "top_k", "truncate", "binary_data_size"]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(value=json_values | st.fixed_dictionaries({"inputs": json_values, "parameters": json_values}))
def test_any_json_is_answered_or_refused(protocol: Protocol, value: Any) -> None:
    """Whatever JSON arrives: 200 or a client's error of the protocol's shape, never a 500."""
    response = asyncio.run(post(protocol, value))
    if response.status_code != 200:
        assert response.status_code in (400, 422), response.text
        assert response.json().keys() == protocol.fields
