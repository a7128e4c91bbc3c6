"""``explain`` in ``POST /classify``: what is asked for, what comes back, bounds, and explanations that fail."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from app.errors import DeadlineError, ExplainerUnavailableError, InferenceError, OverloadedError, ServiceError
from app.http.application import build_application
from app.http.schemas import BatchResponse, SingleResponse
from app.sentiment import Prediction
from app.settings import Settings
from tests.fakes import FakeClassifier, FakeExplainer, application, client_of, no_lifespan
from tests.http.shapes import assert_problem, sample


async def post(explainer: FakeExplainer, document: Any, **settings: Any) -> httpx.Response:
    async with client_of(application(FakeClassifier(), explainer, **settings)) as client:
        return await client.post("/classify", json=document)


async def test_an_explanation_comes_with_the_plain_answer() -> None:
    """The same fields as ever, and what was asked for, once each, for the class that was answered."""
    explainer = FakeExplainer()
    document = {"text": "a film", "explain": ["curve", "tokens", "curve"]}
    answer = (await post(explainer, document)).json()
    assert answer.pop("explanation") == {"curve": [], "tokens": [{"start": 0, "end": 6, "attribution": 1.5}]}
    assert answer == (await post(explainer, {"text": "a film"})).json()
    [request] = explainer.requests
    assert (request.text, request.kinds, request.target) == ("a film", ["curve", "tokens"], 1)


async def test_answers_are_as_documented() -> None:
    """One text or several, with explanation or error."""
    single = (await post(FakeExplainer(), {"text": "a", "explain": ["tokens"]})).json()
    assert SingleResponse.model_validate(single).model_dump(exclude_none=True) == single
    several = (await post(FakeExplainer(), {"texts": ["a", " ", "b"], "explain": ["sentences"]})).json()
    assert BatchResponse.model_validate(several).model_dump(exclude_none=True) == several
    assert [entry.get("explanation") for entry in several["results"]] == [{"sentences": []}, None, {"sentences": []}]
    assert several["results"][1]["error"]["code"] == "blank_text"


async def test_the_predicted_class_is_explained() -> None:
    """Whichever it is."""
    explainer = FakeExplainer()
    classifier = FakeClassifier({"bad": Prediction((0.9, 0.1), tokens=1, truncated=False)})
    async with client_of(application(classifier, explainer)) as client:
        await client.post("/classify", json={"texts": ["bad", "good"], "explain": ["tokens"]})
    assert [request.target for request in explainer.requests] == [0, 1]


@pytest.mark.parametrize("value", [[], "tokens", ["token"], [1], ["tokens"] * 5, {"tokens": True}, True, [["tokens"]]])
async def test_what_cannot_be_explained(value: Any) -> None:
    """422, naming the field."""
    problem = assert_problem(await post(FakeExplainer(), {"text": "a", "explain": value}), 422, "invalid_request")
    assert "explain" in problem["detail"]


async def test_aspects_are_looked_for() -> None:
    """Those that are named, or what the text speaks of; only where they are to be explained."""
    explainer = FakeExplainer()
    for document in ({"explain": ["aspects"], "aspects": ["battery", "screen"]}, {"explain": ["aspects"]}):
        assert (await post(explainer, {"text": "a film", **document})).json()["explanation"] == {"aspects": []}
    assert [list(request.aspects) for request in explainer.requests] == [["battery", "screen"], []]


@pytest.mark.parametrize("value", [None, [], "battery", [""], ["a" * 101], ["a"] * 51, [1], {"a": 1}])
@pytest.mark.parametrize("explain", [["aspects"], ["tokens"], None])
async def test_aspects_that_cannot_be(value: Any, explain: Any) -> None:
    """422, naming the field; also where nobody asks for them."""
    document = {"text": "a", "aspects": value} | ({"explain": explain} if explain else {})
    assert "aspects" in assert_problem(await post(FakeExplainer(), document), 422, "invalid_request")["detail"]
    unasked = {"text": "a", "aspects": ["battery"], "explain": ["tokens"]}
    assert "aspects" in assert_problem(await post(FakeExplainer(), unasked), 422, "invalid_request")["detail"]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"texts": ["a", "b", "c"]}, "texts: has 3 texts; with explain the limit is 2"),
        ({"texts": ["a" * 6, "b" * 5]}, "texts: has 11 characters; with explain the limit is 10"),
        ({"text": "a" * 11}, "text: has 11 characters; with explain the limit is 10"),
    ],
)
async def test_explanations_have_bounds_of_their_own(document: dict[str, Any], words: str) -> None:
    """422, naming field and limit, before any work; without explain the same request is answered."""
    bounds = {"explain_max_texts": 2, "explain_max_characters": 10}
    explainer = FakeExplainer()
    before = sample("sentiment_rejected_total", reason="too_much_to_explain")
    response = await post(explainer, {**document, "explain": ["tokens"]}, **bounds)
    assert assert_problem(response, 422, "too_much_to_explain")["detail"] == words
    assert sample("sentiment_rejected_total", reason="too_much_to_explain") == before + 1
    assert explainer.requests == []
    assert (await post(explainer, document, **bounds)).status_code == 200


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OverloadedError("full", retry_after=7.2), 503),
        (ExplainerUnavailableError("gone", retry_after=5.0), 503),
        (DeadlineError("late"), 504),
        (InferenceError("failed"), 500),
    ],
)
async def test_explanations_that_fail(error: ServiceError, status: int) -> None:
    """The whole request where nothing was explained; else the texts that were not, and nobody is asked again."""
    document = {"texts": ["a", "b", "c"], "explain": ["tokens"]}
    problem = assert_problem(await post(FakeExplainer(error), {"text": "a", "explain": ["tokens"]}), status, error.code)
    assert problem["detail"] == str(error)
    assert_problem(await post(FakeExplainer(error), document), status, error.code)
    explainer = FakeExplainer(error, after=1)
    results = (await post(explainer, document)).json()["results"]
    assert "explanation" in results[0]
    assert [entry["error"]["code"] for entry in results[1:]] == [error.code] * 2
    assert len(explainer.requests) == 2


async def test_explanations_are_cached() -> None:
    """Part by part; the prediction's own cache is another matter."""
    explainer = FakeExplainer()
    async with client_of(application(FakeClassifier(), explainer)) as client:
        for kinds in (["tokens"], ["tokens"], ["tokens", "curve"], ["curve", "tokens"]):
            answer = await client.post("/classify", json={"text": "again", "explain": kinds})
            assert list(answer.json()["explanation"]) == kinds
    assert [request.kinds for request in explainer.requests] == [["tokens"], ["curve"]]


async def test_the_deadline_is_handed_on() -> None:
    """That of the header, or that of the service where it is shorter; what the prediction took is not given twice."""
    explainer = FakeExplainer()
    async with client_of(application(FakeClassifier(), explainer, timeout=20)) as client:
        for header in ("5", "500"):
            document = {"text": header, "explain": ["tokens"]}
            await client.post("/classify", json=document, headers={"X-Timeout-Seconds": header})
    now = asyncio.get_running_loop().time()
    deadlines = [request.deadline - now for request in explainer.requests]
    assert deadlines == [pytest.approx(5, abs=2), pytest.approx(20, abs=2)]


async def test_before_there_is_an_explainer() -> None:
    """503, as before there is a classifier."""
    classifier = FakeClassifier()
    async with client_of(build_application(Settings(), no_lifespan, lambda: classifier)) as client:
        response = await client.post("/classify", json={"text": "a", "explain": ["tokens"]})
    assert_problem(response, 503, "explainer_unavailable")
