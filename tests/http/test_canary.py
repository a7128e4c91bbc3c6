"""A canary answers its share, and nobody notices when it fails."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest

from app.errors import (
    DeadlineError,
    EngineUnavailableError,
    ExplainerUnavailableError,
    InferenceError,
    NoWordsError,
    OverloadedError,
)
from app.http.handler import ClassifyHandler
from app.http.http_exchange import Head
from app.http.middleware import RequestRecorder
from app.sentiment import Outcome, Prediction
from app.serving.cache import MemoryCache
from app.serving.classifier import Classifier, ClassifierLimits
from app.serving.versions import Canary, FurtherVersions
from app.settings import Settings
from app.store import ModelStore, StoredModel
from app.text.tokenizer import load_tokenizer
from tests.checkpoints import add_checkpoint
from tests.fakes import MODEL, FakeClassifier, FakeExplainer, HandEngine, application, client_of, versions_of
from tests.http.shapes import assert_problem, sample
from tests.http.test_named_models import Recording
from tests.waiting import until

CANDIDATE = replace(MODEL, version=2)


def versions(candidate: Classifier, percent: float = 100) -> FurtherVersions:
    further = versions_of(candidate)
    [version] = further.loaded.values()
    further.canary = Canary(version, percent)
    return further


async def ask(
    candidate: FakeClassifier, document: Any = None, explainer: FakeExplainer | None = None, **headers: str
) -> httpx.Response:
    further = versions(candidate)
    async with client_of(application(FakeClassifier(), explainer, further)) as client:
        answer = await client.post("/classify", json=document or {"text": "a film"}, headers=headers)
    assert all(version.idle for version in further.loaded.values())
    return answer


@pytest.mark.parametrize("document", [{"text": "a"}, {"texts": ["a", "b"]}, {"text": "a", "explain": ["tokens"]}])
async def test_the_canary_answers(document: dict[str, Any]) -> None:
    """And says so; what names a model is not its."""
    before = sample("sentiment_canary_requests_total", outcome="answered")
    assert (await ask(FakeClassifier(model=CANDIDATE), document)).json()["version"] == 2
    assert sample("sentiment_canary_requests_total", outcome="answered") == before + 1
    assert (await ask(FakeClassifier(model=CANDIDATE), {**document, "model": "tiny"})).json()["version"] == 1


@pytest.mark.parametrize(
    "error",
    [OverloadedError("full"), EngineUnavailableError("away"), InferenceError("no"), ZeroDivisionError()],
)
@pytest.mark.parametrize("document", [{"text": "a"}, {"texts": ["a", "b"]}, {"text": "a", "explain": ["tokens"]}])
async def test_what_the_canary_refuses_is_answered_by_what_is_served(error: Exception, document: Any) -> None:
    before = sample("sentiment_canary_requests_total", outcome="fallback")
    answer = await ask(FakeClassifier(model=CANDIDATE, error=error), document)
    assert (answer.status_code, answer.json()["version"]) == (200, 1)
    assert sample("sentiment_canary_requests_total", outcome="fallback") == before + 1


@pytest.mark.parametrize(
    "outcome", [InferenceError("not finite"), DeadlineError("late"), EngineUnavailableError("gone")]
)
@pytest.mark.parametrize("document", [{"text": "bad"}, {"texts": ["a", "bad"]}])
async def test_what_the_canary_cannot_compute_is_answered_by_what_is_served(outcome: Outcome, document: Any) -> None:
    """All texts of the request: an answer is of one version."""
    answer = await ask(FakeClassifier({"bad": outcome}, model=CANDIDATE), document)
    assert (answer.status_code, answer.json()["version"]) == (200, 1)
    assert "error" not in answer.text


async def test_what_is_wrong_with_a_text_is_said_by_the_canary() -> None:
    """It would be wrong for the other too."""
    before = sample("sentiment_canary_requests_total", outcome="fallback")
    answer = await ask(FakeClassifier({"bad": NoWordsError()}, model=CANDIDATE), {"text": "bad"})
    assert_problem(answer, 422, "no_words")
    mixed = (await ask(FakeClassifier({"bad": NoWordsError()}, model=CANDIDATE), {"texts": ["bad", "a"]})).json()
    assert (mixed["version"], mixed["results"][0]["error"]["code"]) == (2, "no_words")
    assert sample("sentiment_canary_requests_total", outcome="fallback") == before


@pytest.mark.parametrize("texts", [{"text": "a"}, {"texts": ["a", "b"]}, {"texts": ["bad", "a"]}])
async def test_a_canary_without_explanations_is_made_good(texts: dict[str, Any]) -> None:
    """As one without answers, also where some texts of a list need none."""
    failing = FakeExplainer(ExplainerUnavailableError("away"))
    further = versions(FakeClassifier({"bad": NoWordsError()}, model=CANDIDATE))
    further.loaded["tiny/2"].explanations._explainer = failing
    async with client_of(application(FakeClassifier(), FakeExplainer(), further)) as client:
        answer = await client.post("/classify", json={**texts, "explain": ["tokens"]})
    assert (answer.status_code, answer.json()["version"]) == (200, 1)
    assert failing.requests


class SlowClassifier(FakeClassifier):
    """Takes all the time that it is given."""

    async def classify(self, texts: Any, *, timeout: float | None = None, early: Any = None) -> list[Outcome]:
        self.timeouts.append(timeout)
        await asyncio.sleep(timeout or 0)
        return [DeadlineError("late") for _ in texts]


async def test_a_slow_canary_leaves_half_of_the_time() -> None:
    slow = SlowClassifier(model=CANDIDATE)
    answer = await ask(slow, None, None, **{"X-Timeout-Seconds": "0.2"})
    assert slow.timeouts == [0.1]
    assert (answer.status_code, answer.json()["version"]) == (200, 1)


@pytest.mark.parametrize("document", [{"text": "a"}, {"texts": ["a", "b"]}, {"text": "a", "explain": ["tokens"]}])
async def test_a_canary_whose_engine_goes_away_is_not_waited_for(document: dict[str, Any]) -> None:
    """Texts under way would else wait until it is started again: that takes ten seconds on a busy machine."""
    waiting = FakeClassifier(model=CANDIDATE, gate=asyncio.Event())
    further = versions(waiting)
    [version] = further.loaded.values()
    async with client_of(application(FakeClassifier(), FakeExplainer(), further)) as client:
        asked = asyncio.create_task(client.post("/classify", json=document))
        await waiting.started.wait()
        version.engine_left()
        answer = await asked
    assert (answer.status_code, answer.json()["version"]) == (200, 1)
    assert (waiting.cancelled, version.idle) == (1, True)


async def test_a_canary_whose_engine_is_away_is_not_asked() -> None:
    """What is served answers its share, which the guard hears of."""
    before = sample("sentiment_canary_requests_total", outcome="away")
    away = FakeClassifier(model=CANDIDATE, is_ready=False)
    assert (await ask(away)).json()["version"] == 1
    assert away.timeouts == []
    assert sample("sentiment_canary_requests_total", outcome="away") >= before + 1


async def test_other_ways_of_asking_are_not_divided() -> None:
    """Their answers do not say which version judged."""
    candidate = FakeClassifier(model=CANDIDATE)
    async with client_of(application(FakeClassifier(), further=versions(candidate))) as client:
        await client.post("/predict", json={"inputs": "a"})
        await client.post("/", json={"inputs": "a"})
        await client.post("/files", content=b"review\na\n", headers={"content-type": "text/csv"})
        inputs = [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a"]}]
        assert (await client.post("/v2/models/tiny/infer", json={"inputs": inputs})).json()["model_version"] == "1"
    assert candidate.timeouts == []


async def test_every_text_is_answered_by_the_one_whose_share_it_is(tiny_model: StoredModel) -> None:
    """By what is served at once; by the canary in a task, as what is served may have to make it good."""
    engines = HandEngine(), HandEngine()
    for engine in engines:
        engine.automatic = True
    limits = ClassifierLimits(max_characters=1000, max_texts_in_flight=1000, timeout=5.0)
    served, second = (
        Classifier(replace(tiny_model, version=version), load_tokenizer(tiny_model), engine, limits)
        for version, engine in enumerate(engines, start=1)
    )
    further = versions(second, percent=50)
    handler = ClassifyHandler(lambda: served, RequestRecorder(), Settings(), further=further)
    texts = [f"a good film {number}" for number in range(200)]
    for text in texts:
        connection = Recording()
        exchange = handler.open(connection, Head([], 5.0))
        handler.handle(exchange, b'{"text": "%b"}' % text.encode())
        canary = further.divided([], text) is not None
        assert exchange.response_complete == (not canary)
        await until(lambda exchange=exchange: exchange.response_complete)  # type: ignore[misc]
        assert b'"version":%d}' % (1 + canary) in connection.body
    assert all(30 < len(engine.texts) < 170 for engine in engines)


async def test_versions_never_answer_out_of_each_others_cache(tmp_path: Any) -> None:
    """Not even where they have one in common."""
    for seed in (0, 1):
        add_checkpoint(tmp_path, seed=seed)
    memory, store = MemoryCache(100), ModelStore(tmp_path)
    engines = HandEngine(), HandEngine()
    limits = ClassifierLimits(max_characters=1000, max_texts_in_flight=1000, timeout=5.0)
    found = []
    for engine, version in zip(engines, (1, 2), strict=True):
        engine.automatic = True
        model = store.open(f"tiny/{version}")
        classifier = Classifier(model, load_tokenizer(model), engine, limits, memory)
        for _ in range(2):
            found += await classifier.classify(["a good film"])
    assert [one.cached for one in found if isinstance(one, Prediction)] == [False, True, False, True]
    assert [len(engine.texts) for engine in engines] == [1, 1]
