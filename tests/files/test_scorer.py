"""Scoring in this process and by a running service: the same answers, in order, and one bad text fails alone."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from app.errors import InferenceError, ServiceError, TextError
from app.files.remote import RemoteScorer, RemoteService
from app.files.scorer import LocalScorer
from app.model.runtimes import load_predictors
from app.sentiment import Outcome, Prediction, Predictor, Scores, TokenIds
from app.store import StoredModel
from app.text.tokenizer import load_tokenizer
from tests.checkpoints import WORDS, add_checkpoint
from tests.service import serving


def reviews(count: int) -> list[object]:
    """Different texts of one to sixty words, one in ten of them nothing that can be classified."""
    chance = random.Random(5)
    odd: list[object] = ["", "   ", None, 7, "…", {"no": "text"}]
    return [
        chance.choice(odd) if chance.random() < 0.1 else " ".join(chance.choices(WORDS, k=chance.randint(1, 60))) + " x"
        for _ in range(count)
    ]


def local(model: StoredModel, predictors: Sequence[Predictor] | None = None) -> LocalScorer:
    made = predictors or load_predictors(model, "cpu", "auto", "float32", 3)
    return LocalScorer("tiny", model.config.labels, False, load_tokenizer(model), model.config.thresholds, made)


def code(outcome: Outcome) -> str | None:
    return None if isinstance(outcome, Prediction) else outcome.code


def test_every_text_gets_what_it_gets_alone(tiny_model: StoredModel) -> None:
    """Sorting, batching and threads change no score and no order."""
    texts = reviews(700)
    [predictor] = load_predictors(tiny_model, "cpu", "auto", "float32", 1)
    tokenizer = load_tokenizer(tiny_model)
    with closing(local(tiny_model)) as scorer:
        waits = [scorer.start(texts[:300]), scorer.start(texts[300:])]
        outcomes = [outcome for wait in waits for outcome in wait()]
    assert len(outcomes) == len(texts)
    for text, outcome in zip(texts, outcomes, strict=True):
        if isinstance(outcome, Prediction):
            assert isinstance(text, str)
            encoding = tokenizer.encode(text)
            assert outcome.probabilities == predictor.predict([encoding.ids])[0].probabilities
            assert (outcome.tokens, outcome.truncated) == (encoding.tokens, encoding.truncated)
    expected: dict[object, str] = {"": "blank_text", "   ": "blank_text", None: "empty_cell", 7: "invalid_text"}
    expected["…"] = "no_words"
    for text, outcome in zip(texts, outcomes, strict=True):
        assert code(outcome) == (expected.get(text) if not isinstance(text, dict) else "invalid_text")


class SmallDevice:
    """A forward pass on a device with little memory, and one text that never fits."""

    runtime, precision, device = "fake", "float32", "cpu"
    pads = False

    def __init__(self, most: int, giant: int) -> None:
        self.most, self.giant = most, giant

    def predict(self, batch: Sequence[TokenIds[int]]) -> list[Scores]:
        if len(batch) > self.most or any(len(ids) == self.giant for ids in batch):
            raise MemoryError
        return [Scores((float("nan"), 1.0) if len(ids) == 3 else (0.5, 0.5)) for ids in batch]


def test_a_text_that_cannot_be_computed_fails_alone(tiny_model: StoredModel) -> None:
    """Out of memory splits a batch; scores that are not finite are an error of their text."""
    texts = [*(["good film"] * 20), "a very good film story", "a good film"]
    with closing(local(tiny_model, [SmallDevice(4, 5)])) as scorer:
        outcomes = scorer.start(texts)()
    assert [type(outcome) for outcome in outcomes] == [Prediction] * 20 + [InferenceError] * 2


def test_a_defect_is_not_an_error_of_a_text(tiny_model: StoredModel) -> None:
    """It stops the run."""

    class Broken(SmallDevice):
        def predict(self, batch: Sequence[TokenIds[int]]) -> list[Scores]:
            raise RuntimeError("broken")

    with closing(local(tiny_model, [Broken(1, 1)])) as scorer, pytest.raises(RuntimeError):
        scorer.start(["good film"])()


def test_a_service_says_the_same(tmp_path: Path) -> None:
    """The real service, with limits that one text and most requests are over; also how far to trust its answers."""
    model = add_checkpoint(tmp_path, preprocessing=2)
    strange = ["der film ist schlecht", "zxqv wrtk plmk", "unwatchable", "Очень плохой"]
    texts = [*reviews(300), *strange, "good " * 400]
    with (
        serving(tmp_path, workers="1", precision="float32", max_texts="20", max_characters="1000") as service,
        closing(local(model)) as here,
        closing(RemoteScorer(RemoteService(service.url, 3, patience=20))) as there,
    ):
        assert there.identity == f"tiny/1 at {service.url}"
        assert (there.labels, there.rating) == (["negative", "positive"], False)
        expected, outcomes = here.start(texts)(), there.start(texts)()
    assert code(outcomes.pop()) == "text_too_long"
    expected.pop()
    for one, other in zip(expected, outcomes, strict=True):
        assert code(one) == code(other)
        if isinstance(one, Prediction) and isinstance(other, Prediction):
            assert other.probabilities == pytest.approx(one.probabilities, abs=1e-6)
            assert (other.tokens, other.truncated) == (one.tokens, one.truncated)
            assert (other.unknown, other.judgement) == (one.unknown, one.judgement)
    found = [outcome.judgement for outcome in outcomes if isinstance(outcome, Prediction)]
    assert found[-4:] == ["unreadable"] * 4
    assert found.count("unreadable") < 100


Answer = tuple[int, dict[str, str], Any]
SERVED = {"model": "tiny", "version": 1, "labels": ["negative", "positive"], "rating": False, "served": True}


def entry(text: str) -> dict[str, Any]:
    if text == "full":
        return {"error": {"code": "overloaded", "detail": "full", "status": 503}}
    answer = {"scores": {"negative": 0.25, "positive": 0.75}, "tokens": len(text), "truncated": False}
    return {**answer, "unknown": 0.5, "judgement": "ok"}


def answer(texts: list[str], version: int = 1) -> Answer:
    return 200, {}, {"model": "tiny", "version": version, "results": [entry(text) for text in texts]}


def scripted(answers: Callable[[int, list[str]], Answer]) -> AbstractContextManager[str]:
    """A real HTTP server whose n-th ``POST /classify`` is answered as told."""
    return asked_whole(lambda number, question: answers(number, question["texts"]))


@contextmanager
def asked_whole(answers: Callable[[int, dict[str, Any]], Answer]) -> Iterator[str]:
    """The same with all that a request says."""
    lock, count = threading.Lock(), 0

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.answer(200, {}, {"models": [SERVED]})

        def do_POST(self) -> None:
            nonlocal count
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                count += 1
                number = count
            self.answer(*answers(number, question))

        def answer(self, status: int, headers: dict[str, str], document: Any) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join(10)


def test_a_full_service_is_asked_again() -> None:
    """429 and 503, with and without Retry-After, and a proxy's 502: every text is answered in the end."""

    def answers(number: int, texts: list[str]) -> Answer:
        faults: dict[int, Answer] = {
            1: (503, {"Retry-After": "0"}, {}),
            2: (429, {"Retry-After": "0"}, {}),
            4: (502, {}, {}),
        }
        return faults.get(number) or answer(texts)

    texts = ["a" * size for size in range(1, 150)]
    with scripted(answers) as url, closing(RemoteScorer(RemoteService(url, 2, patience=30))) as scorer:
        outcomes = scorer.start(texts)()
    assert [outcome.tokens for outcome in outcomes if isinstance(outcome, Prediction)] == list(range(1, 150))


def test_texts_the_service_had_no_time_for_are_asked_again() -> None:
    """Those alone, not the whole request; an error of a text is its own."""
    asked: list[list[str]] = []

    def answers(number: int, texts: list[str]) -> Answer:
        asked.append(texts)
        return answer(texts) if number == 1 else answer(["now"] * len(texts))

    with scripted(answers) as url, closing(RemoteScorer(RemoteService(url, 2, patience=30))) as scorer:
        outcomes = scorer.start(["one", "full", "three", "full"])()
    assert asked == [["one", "full", "three", "full"], ["full", "full"]]
    assert all(isinstance(outcome, Prediction) for outcome in outcomes)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ((503, {}, {}), "answered 503, tried"),
        ((401, {}, {"detail": "who are you?"}), "answered 401: .*who are you"),
        ((500, {}, {"code": "internal_error"}), "answered 500"),
        (answer(["x"], version=2), "went over to tiny/2 meanwhile"),
    ],
)
def test_a_service_that_cannot(fault: Answer, message: str) -> None:
    """Stops the run, after patience where that may help."""
    with (
        scripted(lambda *_: fault) as url,
        closing(RemoteScorer(RemoteService(url, 2, patience=0.6))) as scorer,
        pytest.raises(ServiceError, match=message),
    ):
        scorer.start(["x"])()


def test_one_text_that_breaks_the_forward_pass() -> None:
    """Is found by halving, and the others are answered."""

    def answers(_: int, texts: list[str]) -> Answer:
        failed = {"code": "inference_failed", "detail": "the forward pass failed for this text"}
        return (500, {}, failed) if "bad" in texts else answer(texts)

    with scripted(answers) as url, closing(RemoteScorer(RemoteService(url, 2, patience=5))) as scorer:
        outcomes = scorer.start([*"abcdefg", "bad", *"hij"])()
    assert [code(outcome) for outcome in outcomes] == [None] * 7 + ["inference_failed"] + [None] * 3
    assert isinstance(outcomes[7], TextError)


def test_a_model_of_several() -> None:
    """What a name means is asked once: then it is that version, whatever becomes of the name. What is not loaded is
    refused."""
    asked: list[Any] = []
    missing = {"code": "unknown_model", "detail": "other is not loaded; loaded are: tiny/1"}

    def answers(_: int, question: dict[str, Any]) -> Answer:
        asked.append(question.get("model"))
        named = {"model": "tiny", "version": 1}
        if question["model"] == "other":
            return 404, {}, missing
        return (200, {}, entry("good") | named) if "text" in question else answer(question["texts"])

    with asked_whole(answers) as url:
        with closing(RemoteScorer(RemoteService(url, 2, patience=5, model="tiny@candidate"))) as scorer:
            assert scorer.identity == f"tiny/1 at {url}"
            assert len(scorer.start(["x", "y"])()) == 2
        assert asked == ["tiny@candidate", "tiny/1"]
        with pytest.raises(ServiceError, match="answered 404: other is not loaded; loaded are: tiny/1"):
            RemoteScorer(RemoteService(url, 2, patience=5, model="other"))


def test_nobody_there() -> None:
    """Said after patience, with the address."""
    with pytest.raises(ServiceError, match=r"http://127\.0\.0\.1:9/models cannot be reached"):
        RemoteScorer(RemoteService("http://127.0.0.1:9", 1, patience=0.1))
