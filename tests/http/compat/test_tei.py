"""``POST /predict`` of text-embeddings-inference."""

from __future__ import annotations

import math
from typing import Any

import httpx
import pytest

from app.sentiment import Prediction
from tests.fakes import FakeClassifier, application, client_of

SCORES = [{"label": "positive", "score": 0.75}, {"label": "negative", "score": 0.25}]


async def post(inputs: Any, classifier: FakeClassifier | None = None, **options: Any) -> httpx.Response:
    async with client_of(application(classifier)) as client:
        return await client.post("/predict", json={"inputs": inputs, **options})


async def test_shapes() -> None:
    """A text, or a list of one, is answered flat; a batch by one list for each, also a batch of one."""
    assert (await post("a")).json() == SCORES
    assert (await post(["a"])).json() == SCORES
    assert (await post([["a"]])).json() == [SCORES]
    assert (await post([["a"], ["b"]])).json() == [SCORES, SCORES]


async def test_a_single_text_is_judged_in_a_header() -> None:
    """The document has no place for it; of several texts nothing says it."""
    classifier = FakeClassifier({"bad": Prediction((0.875, 0.125), 1, False, judgement="unsure")})
    for inputs in ("bad", ["bad"], [["bad"]]):
        assert (await post(inputs, classifier)).headers["x-judgement"] == "unsure"
    assert "x-judgement" not in (await post([["a"], ["bad"]], classifier)).headers


@pytest.mark.parametrize("inputs", [["a", "b"], [["a", "b"]], [["a"], ["b", "c"]], ["a", "b", "c"], [[]], []])
async def test_pairs_are_refused(inputs: Any) -> None:
    """This model compares no texts; the message says how a batch is written."""
    response = await post(inputs)
    assert response.status_code == 422
    assert response.json()["error_type"] == "Validation"
    assert "a batch is a list of lists of 1 text" in response.json()["error"]


async def test_raw_scores() -> None:
    """Numbers whose softmax is the probabilities."""
    raw = (await post("a", raw_scores=True)).json()
    assert [item["label"] for item in raw] == ["positive", "negative"]
    powers = [math.exp(item["score"]) for item in raw]
    assert [power / sum(powers) for power in powers] == pytest.approx([0.75, 0.25])


async def test_truncate() -> None:
    """Long texts are read in part, unless that is forbidden; then the message names text and limit."""
    classifier = FakeClassifier({"long": Prediction((0.25, 0.75), 99, truncated=True)})
    for options in ({}, {"truncate": True}, {"truncate": None}, {"truncate": True, "truncation_direction": "left"}):
        assert (await post("long", classifier, **options)).json() == SCORES
    assert (await post("short", classifier, truncate=False)).json() == SCORES
    response = await post([["short"], ["long"]], classifier, truncate=False)
    assert response.status_code == 422
    message = "inputs.1: has 99 tokens; the limit is 8 where truncate is false"
    assert response.json() == {"error": message, "error_type": "Validation"}


@pytest.mark.parametrize(
    "options", [{"truncate": 1}, {"raw_scores": "yes"}, {"truncation_direction": "up"}, {"truncation_direction": 5}]
)
async def test_options_that_cannot_be(options: dict[str, Any]) -> None:
    """Named."""
    response = await post("a", **options)
    assert response.status_code == 422
    assert response.json()["error"].startswith(next(iter(options)))
