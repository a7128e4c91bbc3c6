"""``POST /classify``: answers, errors of texts and of the service, deadlines, clients that leave."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import httpx
import pytest
from starlette.types import Message

from app.errors import (
    DeadlineError,
    EngineUnavailableError,
    InferenceError,
    OverloadedError,
    ServiceError,
)
from app.http.handler import plain_length
from app.sentiment import Prediction
from app.settings import Settings
from tests.fakes import FakeClassifier, application, client_of
from tests.http.shapes import SCOPE, assert_problem, sample

ANSWER = {
    "label": "positive",
    "score": 0.75,
    "scores": {"negative": 0.25, "positive": 0.75},
    "tokens": 3,
    "truncated": False,
    "cached": False,
    "unknown": 0.0,
    "judgement": "ok",
}
IDENTITY = {"model": "tiny", "version": 1}


async def post(classifier: FakeClassifier | None, document: Any, **headers: str) -> httpx.Response:
    async with client_of(application(classifier)) as client:
        return await client.post("/classify", json=document, headers=headers)


JSON, LENGTH = (b"content-type", b"application/json"), (b"content-length", b"10")


@pytest.mark.parametrize(
    ("method", "url", "headers", "length"),
    [
        (b"POST", b"/classify", [JSON, LENGTH], 10),
        (b"POST", b"/classify", [LENGTH, (b"content-type", b"text/plain"), (b"x-timeout-seconds", b"soon")], 10),
        (b"POST", b"/classify", [JSON], 0),
        (b"POST", b"/classify", [JSON, (b"content-length", b"9" * 30)], sys.maxsize),
        (b"POST", b"/classify", [JSON, (b"transfer-encoding", b"chunked")], None),
        (b"POST", b"/classify", [JSON, LENGTH, (b"content-encoding", b"gzip")], None),
        (b"POST", b"/classify", [JSON, (b"content-encoding", b"gzip"), LENGTH], None),
        (b"POST", b"/classify", [JSON, LENGTH, (b"expect", b"100-continue")], None),
        (b"POST", b"/classify?a=b", [JSON, LENGTH], None),
        (b"GET", b"/classify", [JSON, LENGTH], None),
        (b"POST", b"/models", [JSON, LENGTH], None),
    ],
)
def test_which_requests_need_no_asgi(
    method: bytes, url: bytes, headers: list[tuple[bytes, bytes]], length: int | None
) -> None:
    """Those for POST /classify whose body comes as long as it says, whatever else their head says."""
    assert plain_length(method, url, headers) == length


async def test_one_text_gets_one_object() -> None:
    """The prediction and what made it, nothing else; no rating where the model has none."""
    response = await post(FakeClassifier(), {"text": "a good film"})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {**ANSWER, **IDENTITY}


async def test_rating_is_there_where_the_model_has_one() -> None:
    """A model with the second output answers with the expected stars."""
    rated = Prediction((0.9, 0.1), tokens=2, truncated=True, cached=True, rating=2.5)
    document = (await post(FakeClassifier({"bad film": rated}), {"text": "bad film"})).json()
    assert (document["label"], document["rating"], document["cached"], document["truncated"]) == (
        "negative",
        2.5,
        True,
        True,
    )


async def test_several_texts_get_one_entry_each_in_order() -> None:
    """A text that fails, whatever the reason, has its error in its place and does not touch its neighbours."""
    classifier = FakeClassifier(
        {"broken": InferenceError("the forward pass failed"), "bad": Prediction((0.75, 0.25), 1, False)}
    )
    response = await post(classifier, {"texts": ["good", "", "bad", "!!!", "x" * 101, "broken"]})
    assert response.status_code == 200
    document = response.json()
    results = document.pop("results")
    assert document == IDENTITY
    assert [entry.get("label") or entry["error"]["code"] for entry in results] == [
        "positive", "blank_text", "negative", "no_words", "text_too_long", "inference_failed"
    ]  # fmt: skip
    assert results[0] == ANSWER
    assert [entry["error"]["status"] for entry in results if "error" in entry] == [422, 422, 422, 500]
    assert "limit is 100" in results[4]["error"]["detail"]


@pytest.mark.parametrize(
    ("language", "judgement"), [("en", "ok"), ("EN-gb", "ok"), ("de", "unreadable"), ("zh-Hant", "unreadable")]
)
async def test_texts_of_another_language_are_unreadable(language: str, judgement: str) -> None:
    """Whatever their words look like: one, several and explained; English ones are answered as if nothing were said."""
    for body in (
        {"text": "a good film"},
        {"texts": ["a good film"]},
        {"text": "a good film", "explain": ["tokens"]},
        {"texts": ["a good film"], "explain": ["tokens"]},
    ):
        document = (await post(FakeClassifier(), {**body, "language": language})).json()
        for entry in document.get("results", [document]):
            assert {**ANSWER, "judgement": judgement}.items() <= entry.items()


async def test_a_request_of_only_bad_texts_is_still_answered() -> None:
    """Mistakes in texts are never the whole request's mistake."""
    response = await post(FakeClassifier(), {"texts": ["", " "]})
    assert response.status_code == 200
    assert [entry["error"]["code"] for entry in response.json()["results"]] == ["blank_text"] * 2


SERVICE_ERRORS = [
    (OverloadedError("full", retry_after=2.2), 503, "overloaded", "3"),
    (OverloadedError("full", retry_after=0.01), 503, "overloaded", "1"),
    (OverloadedError("full"), 503, "overloaded", "1"),
    (EngineUnavailableError("restarting"), 503, "engine_unavailable", "1"),
    (DeadlineError("too late"), 504, "deadline_exceeded", None),
    (InferenceError("failed"), 500, "inference_failed", None),
    (ServiceError("no"), 503, "unavailable", "1"),
]


@pytest.mark.parametrize(("error", "status", "code", "retry_after"), SERVICE_ERRORS)
async def test_service_errors_become_the_whole_answer(
    error: ServiceError, status: int, code: str, retry_after: str | None
) -> None:
    """Raised for the request, by its only text, or by all texts alike: one problem, with Retry-After where it helps."""
    refused = await post(FakeClassifier(error=error), {"text": "a"})
    single = await post(FakeClassifier({"a": error}), {"text": "a"})
    batch = await post(FakeClassifier({"a": error, "b": error}), {"texts": ["a", "b"]})
    for response in (refused, single, batch):
        assert assert_problem(response, status, code)["detail"] == str(error)
        assert response.headers.get("retry-after") == retry_after


async def test_different_service_errors_stay_entries() -> None:
    """Only where every text failed in the same way is that the request's answer."""
    classifier = FakeClassifier({"a": DeadlineError("late"), "b": InferenceError("failed")})
    for texts, codes in (
        (["a", "b"], ["deadline_exceeded", "inference_failed"]),
        (["a", ""], ["deadline_exceeded", "blank_text"]),
    ):
        results = (await post(classifier, {"texts": texts})).json()["results"]
        assert [entry["error"]["code"] for entry in results] == codes


async def test_before_the_model_is_loaded() -> None:
    """503 with Retry-After, not a failure."""
    async with client_of(application(lambda: None)) as client:
        assert_problem(await client.post("/classify", json={"text": "a"}), 503, "engine_unavailable")


async def test_a_defect_says_nothing_about_itself(caplog: pytest.LogCaptureFixture) -> None:
    """500 of the common shape; the traceback is logged once, with the request's id and without its text."""
    response = await post(
        FakeClassifier(error=ZeroDivisionError("secret")), {"text": "private"}, **{"x-request-id": "r"}
    )
    assert_problem(response, 500, "internal_error")
    assert "secret" not in response.text
    [record] = [record for record in caplog.records if record.exc_info]
    assert "private" not in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


async def test_the_deadline_reaches_the_classifier() -> None:
    """``X-Timeout-Seconds`` is passed on; without it the service's own limit holds, and no request gets more."""
    classifier = FakeClassifier()
    for given in ({"x-timeout-seconds": "0.25"}, {}, {"x-timeout-seconds": "1e6"}):
        await post(classifier, {"text": "a"}, **given)
    assert classifier.timeouts == [0.25, Settings().timeout, Settings().timeout]


async def test_a_client_that_leaves_cancels_its_work() -> None:
    """The classification is cancelled, the request counts as 499, and no task stays behind."""
    classifier = FakeClassifier(gate=asyncio.Event())
    messages: list[Message] = [{"type": "http.request", "body": b'{"text": "a"}', "more_body": False}]
    before = sample("sentiment_requests_total", route="/classify", method="POST", status="499")

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await classifier.started.wait()
        return {"type": "http.disconnect"}

    async def send(_: Message) -> None:
        return

    await asyncio.wait_for(application(classifier)(dict(SCOPE), receive, send), 60)
    assert classifier.cancelled == 1
    assert sample("sentiment_requests_total", route="/classify", method="POST", status="499") == before + 1
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_client_that_leaves_while_sending_is_forgotten() -> None:
    """Nothing is classified, nothing fails; the request counts as 499."""
    classifier = FakeClassifier()
    before = sample("sentiment_requests_total", route="/classify", method="POST", status="499")
    messages: list[Message] = [
        {"type": "http.disconnect"},
        {"type": "http.request", "body": b'{"text": "a', "more_body": True},
    ]

    async def receive() -> Message:
        return messages.pop()

    async def send(_: Message) -> None:
        raise AssertionError

    await application(classifier)(dict(SCOPE), receive, send)
    await asyncio.sleep(0)  # a turn of the event loop is counted together
    assert sample("sentiment_requests_total", route="/classify", method="POST", status="499") == before + 1
    assert not classifier.timeouts


async def test_a_request_that_is_given_up_while_it_is_sent_is_counted() -> None:
    """By a server that ends; nothing is in flight any more."""
    before = sample("sentiment_requests_in_flight")

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(_: Message) -> None:
        raise AssertionError

    request = asyncio.create_task(application(FakeClassifier())(dict(SCOPE), receive, send))
    await asyncio.sleep(0)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    await asyncio.sleep(0)
    assert sample("sentiment_requests_in_flight") == before


async def test_a_slow_answer_reaches_a_client_that_stays() -> None:
    """Watching for a disconnection neither loses the answer nor leaves its watcher behind."""
    gate = asyncio.Event()
    request = asyncio.create_task(post(FakeClassifier(gate=gate), {"text": "a"}))
    await asyncio.sleep(0.1)
    assert not request.done()
    gate.set()
    assert (await request).status_code == 200
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_cancelled_request_cancels_its_work() -> None:
    """When the server gives a request up, so does the classifier."""
    classifier = FakeClassifier(gate=asyncio.Event())
    request = asyncio.create_task(post(classifier, {"text": "a"}))
    await classifier.started.wait()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert classifier.cancelled == 1
    assert asyncio.all_tasks() == {asyncio.current_task()}
