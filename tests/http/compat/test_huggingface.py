"""``POST /`` for ``huggingface_hub``; the package itself is in tests/test_clients.py."""

from __future__ import annotations

import math
from typing import Any

import httpx
import pytest

from app.sentiment import Prediction
from tests.fakes import FakeClassifier, application, client_of

SCORES = [{"label": "positive", "score": 0.75}, {"label": "negative", "score": 0.25}]


async def post(inputs: Any, classifier: FakeClassifier | None = None, **parameters: Any) -> httpx.Response:
    async with client_of(application(classifier)) as client:
        return await client.post("/", json={"inputs": inputs, "parameters": parameters, "options": {}})


async def test_every_text_has_a_list() -> None:
    """Also a single one; the most probable class comes first."""
    classifier = FakeClassifier({"bad": Prediction((0.875, 0.125), 1, False)})
    assert (await post("good")).json() == [SCORES]
    bad = [{"label": "negative", "score": 0.875}, {"label": "positive", "score": 0.125}]
    assert (await post(["good", "bad"], classifier)).json() == [SCORES, bad]


async def test_a_single_text_is_judged_in_a_header() -> None:
    """The document has no place for it; of several texts nothing says it."""
    classifier = FakeClassifier({"bad": Prediction((0.875, 0.125), 1, False, judgement="unreadable")})
    assert (await post("bad", classifier)).headers["x-judgement"] == "unreadable"
    assert (await post(["good"], classifier)).headers["x-judgement"] == "ok"
    assert "x-judgement" not in (await post(["good", "bad"], classifier)).headers


async def test_parameters() -> None:
    """top_k cuts, none gives logarithms, null and what only other models know change nothing."""
    assert (await post("a", top_k=1)).json() == [SCORES[:1]]
    assert (await post("a", top_k=9)).json() == [SCORES]
    assert (await post("a", top_k=None, function_to_apply=None, truncation=True)).json() == [SCORES]
    raw = (await post("a", function_to_apply="none")).json()[0]
    assert [math.exp(item["score"]) for item in raw] == pytest.approx([0.75, 0.25])


async def test_certainty_has_a_logarithm() -> None:
    """A probability of 0 is a very small number, not one that JSON lacks."""
    certain = FakeClassifier({"a": Prediction((0.0, 1.0), 1, False)})
    raw = (await post("a", certain, function_to_apply="none")).json()[0]
    assert raw[0] == {"label": "positive", "score": 0.0}
    assert -1000 < raw[1]["score"] < -100


@pytest.mark.parametrize(
    ("parameters", "names"),
    [
        ({"top_k": 0}, "parameters.top_k"),
        ({"top_k": "1"}, "parameters.top_k"),
        ({"function_to_apply": "sigmoid"}, "parameters.function_to_apply"),
    ],
)
async def test_parameters_that_cannot_be(parameters: dict[str, Any], names: str) -> None:
    """Named, not ignored."""
    response = await post("a", **parameters)
    assert response.status_code == 422
    assert response.json()["error"].startswith(names)


async def test_the_page_keeps_its_place() -> None:
    """``GET /`` is something else."""
    async with client_of(application()) as client:
        assert (await client.get("/")).status_code in (200, 307)
