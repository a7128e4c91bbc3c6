"""Requests that name a model: which version answers, on every way there is to ask."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
import pytest

from app.http.handler import ClassifyHandler
from app.http.http_exchange import Exchange, Head
from app.http.middleware import RequestRecorder
from app.sentiment import Prediction
from app.serving.classifier import Classifier, ClassifierLimits
from app.settings import Settings
from app.store import StoredModel
from app.text.tokenizer import load_tokenizer
from tests.fakes import MODEL, FakeClassifier, FakeExplainer, HandEngine, application, client_of, versions_of
from tests.http.shapes import assert_problem

OTHER = replace(MODEL, name="other", version=4, config=MODEL.config.model_copy(update={"labels": ("bad", "good")}))
CANDIDATE = replace(MODEL, version=2)
SAYS = Prediction((0.9, 0.1), tokens=3, truncated=False)


def other() -> FakeClassifier:
    return FakeClassifier({"a film": SAYS}, model=OTHER)


async def ask(method: str, path: str, further: FakeClassifier | None = None, **what: Any) -> httpx.Response:
    versions = versions_of(further or other(), FakeClassifier(model=CANDIDATE))
    async with client_of(application(FakeClassifier(), FakeExplainer(), versions)) as client:
        response = await client.request(method, path, **what)
    assert all(version.idle for version in versions.loaded.values())
    return response


@pytest.mark.parametrize(
    ("named", "answers"),
    [
        ({}, ("tiny", 1, "positive")),
        ({"model": "tiny"}, ("tiny", 1, "positive")),
        ({"model": "tiny/1"}, ("tiny", 1, "positive")),
        ({"model": "tiny@candidate"}, ("tiny", 2, "positive")),
        ({"model": "other"}, ("other", 4, "bad")),
        ({"model": "other/4"}, ("other", 4, "bad")),
    ],
)
@pytest.mark.parametrize("form", [{"text": "a film"}, {"texts": ["a film"]}, {"text": "a film", "explain": ["tokens"]}])
async def test_the_version_that_is_named_answers(
    named: dict[str, str], answers: tuple[str, int, str], form: dict[str, Any]
) -> None:
    """With its own labels."""
    document = (await ask("POST", "/classify", json={**form, **named})).json()
    entry = document["results"][0] if "results" in document else document
    assert (document["model"], document["version"], entry["label"]) == answers
    assert ("explanation" in entry) == ("explain" in form)


async def test_what_is_not_loaded_is_not_found() -> None:
    response = await ask("POST", "/classify", json={"text": "a", "model": "other/5"})
    document = assert_problem(response, 404, "unknown_model")
    assert document["detail"] == "other/5 is not loaded; loaded are: tiny/1, other/4, tiny/2"


@pytest.mark.parametrize(
    "body",
    [
        '{"text": "a", "model": null}',
        '{"text": "a", "model": ""}',
        '{"text": "a", "model": 4}',
        '{"text": "a", "model": "other", "model": "tiny"}',
        '{"text": "a", "model": "x", "\\u006dodel": "y"}',
    ],
)
async def test_a_malformed_name_is_refused(body: str) -> None:
    """Also one that is given twice, whichever of them a parser would take."""
    response = await ask("POST", "/classify", content=body, headers={"content-type": "application/json"})
    assert "model" in assert_problem(response, 422, "invalid_request")["detail"]


async def test_errors_are_those_of_the_version_that_is_named() -> None:
    """What the other engine lacks the one that serves does not, and the other way round."""
    failing = FakeClassifier(model=OTHER, error=ZeroDivisionError())
    assert (await ask("POST", "/classify", failing, json={"text": "a", "model": "other"})).status_code == 500
    assert (await ask("POST", "/classify", failing, json={"text": "a"})).status_code == 200


async def test_files_are_scored_by_the_version_that_is_named() -> None:
    content, headers = b"review\na film\n", {"content-type": "text/csv"}
    for query, model, label in (("", "tiny/1", "positive"), ("?model=other", "other/4", "bad")):
        answer = await ask("POST", f"/files{query}", content=content, headers=headers)
        assert (answer.headers["x-model"], answer.json()["label"]) == (model, label)
    refused = await ask("POST", "/files?model=none", content=content, headers=headers)
    assert_problem(refused, 404, "unknown_model")


async def test_the_open_inference_protocol_has_all_models() -> None:
    """By name, and by name and version."""
    body = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a film"]}]}
    for path, model in (
        ("other", ("other", "4")),
        ("other/versions/4", ("other", "4")),
        ("tiny", ("tiny", "1")),
        ("tiny/versions/2", ("tiny", "2")),
    ):
        found = (await ask("POST", f"/v2/models/{path}/infer", json=body)).json()
        assert (found["model_name"], found["model_version"]) == model
        assert (await ask("GET", f"/v2/models/{path}/ready")).json() == {"name": model[0], "ready": True}
    assert found["outputs"][0]["data"] == ["positive"]
    assert (await ask("GET", "/v2/models/tiny")).json()["versions"] == ["1", "2"]
    assert (await ask("GET", "/v2/models/other")).json()["versions"] == ["4"]


@pytest.mark.parametrize(
    ("path", "answers"),
    [
        ("tiny", "positive"),
        ("tiny/1", "positive"),
        ("tiny/2", "positive"),
        ("tiny@candidate", "positive"),
        ("other", "bad"),
        ("other/4", "bad"),
    ],
)
async def test_other_protocols_name_a_model_by_the_path(path: str, answers: str) -> None:
    """Hugging Face's and text-embeddings-inference's, each as if it were a server for that model alone."""
    found = await ask("POST", f"/models/{path}", json={"inputs": ["a film"], "parameters": {"top_k": 1}})
    assert [[one["label"] for one in text] for text in found.json()] == [[answers]]
    first, *_ = (await ask("POST", f"/models/{path}/predict", json={"inputs": "a film"})).json()
    assert first["label"] == answers


@pytest.mark.parametrize("path", ["nothing", "tiny/9", "tiny/candidate", "tiny@champion"])
async def test_other_protocols_say_what_is_loaded(path: str) -> None:
    """In the form of their errors."""
    detail = f"{path} is not loaded; loaded are: tiny/1, other/4, tiny/2"
    found = await ask("POST", f"/models/{path}", json={"inputs": "a"})
    assert (found.status_code, found.json()) == (404, {"error": detail})
    found = await ask("POST", f"/models/{path}/predict", json={"inputs": "a"})
    assert (found.status_code, found.json()) == (404, {"error": detail, "error_type": "Validation"})


async def test_a_version_whose_engine_is_away_is_not_ready() -> None:
    """The server is all the same."""
    away = FakeClassifier(model=OTHER, is_ready=False)
    assert (await ask("GET", "/v2/models/other/ready", away)).status_code == 503
    assert (await ask("GET", "/v2/health/ready", away)).status_code == 200
    assert (await ask("GET", "/health/ready", away)).status_code == 200


async def test_readiness_waits_for_what_is_to_be_loaded() -> None:
    versions = versions_of()
    versions.settled = False
    async with client_of(application(FakeClassifier(), further=versions)) as client:
        for path in ("/health/ready", "/v2/health/ready"):
            assert (await client.get(path)).status_code == 503
        versions.settled = True
        for path in ("/health/ready", "/v2/health/ready"):
            assert (await client.get(path)).status_code == 200


class Recording:
    """A connection that keeps what is written to it."""

    def __init__(self) -> None:
        self.body = b""

    def respond(self, head: bytes, body: bytes) -> None:
        self.body = body


async def test_one_text_is_for_any_version(tiny_model: StoredModel) -> None:
    """Without a task; and that one is not loaded is said at once."""
    engines = [HandEngine(), HandEngine()]
    limits = ClassifierLimits(max_characters=1000, max_texts_in_flight=10, timeout=5.0)
    served, second = (
        Classifier(replace(tiny_model, version=version), load_tokenizer(tiny_model), engine, limits)
        for version, engine in enumerate(engines, start=1)
    )
    handler = ClassifyHandler(lambda: served, RequestRecorder(), Settings(), further=versions_of(second))

    def ask(named: bytes) -> tuple[Exchange, Recording]:
        connection = Recording()
        exchange = handler.open(connection, Head([], 5.0))
        handler.handle(exchange, b'{"text": "a good film"%b}' % named)
        return exchange, connection

    for named, answers in ((b"", 1), (b', "model": "tiny"', 1), (b', "model": "tiny/2"', 2)):
        exchange, connection = ask(named)
        assert not exchange.response_complete
        assert [len(engine.waiting) for engine in engines] == [answers == 1, answers == 2]
        engines[answers - 1].compute()
        assert b'"version":%d}' % answers in connection.body
    for named, code in ((b', "model": "tiny/3"', b"unknown_model"), (b', "model": null', b"invalid_request")):
        exchange, connection = ask(named)
        assert exchange.response_complete
        assert code in connection.body
