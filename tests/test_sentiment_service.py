"""The Python interface: the same answers in this process, by a service and with asyncio, for texts of any source."""

from __future__ import annotations

import asyncio
import dataclasses
import pickle
import shutil
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import sentiment_service
from app.feedback.folder import FeedbackFolder
from app.files.results import KINDS
from app.keys import CLASSIFY, FEEDBACK, new_key
from sentiment_service import (
    AsyncSentiment,
    CheckpointError,
    DeadlineError,
    Explanation,
    Feedback,
    OptionError,
    Outcome,
    OverloadedError,
    RefusedError,
    Result,
    Sentiment,
    SentimentError,
    ServiceError,
    SettingsError,
    TextError,
    UnreachableError,
    columns,
)
from tests.checkpoints import add_checkpoint
from tests.files.test_scorer import Answer, asked_whole, scripted
from tests.service import serving

TEXTS: list[Any] = ["a good film", "", None, "a bad film and a very dull story", "…", 7, "good"]
CODES = [None, "blank_text", "empty_cell", None, "no_words", "invalid_text", None]
NOBODY = "http://127.0.0.1:9"
MOST_SECONDS = 600.0
"""A deadline that no machine misses."""


@pytest.fixture(scope="module")
def local(tiny_store: Path) -> Iterator[Sentiment]:
    """A model in this process, exact, so that others can be held against it."""
    with Sentiment(model="tiny", model_store=tiny_store, precision="float32", threads=2) as sentiment:
        yield sentiment


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the service of ``address`` has what it keeps."""
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def address(tiny_store: Path, folder: Path) -> Iterator[tuple[str, str]]:
    """A real service of two models that asks for a key and keeps feedback, and a key."""
    key, kept = new_key("tests", [CLASSIFY, FEEDBACK])
    (folder / "feedback").mkdir()
    (folder / "keys").write_text(f"{kept.line}\n")
    store = folder / "store"
    shutil.copytree(tiny_store / "tiny", store / "tiny")
    add_checkpoint(store, "other", seed=3, labels=("bad", "good"))
    settings = {"precision": "float32", "api_keys": str(folder / "keys"), "further_models": "other"}
    settings["feedback_folder"] = str(folder / "feedback")
    with serving(store, "tiny", workers="1", timeout="300", **settings) as service:
        yield service.url, key


def codes(outcomes: list[Outcome]) -> list[str | None]:
    return [None if outcome.error is None else outcome.error.code for outcome in outcomes]


def same(found: Outcome, expected: Outcome) -> None:
    """Everything as it should be, but for the last digits of what travelled or was computed elsewhere."""
    if isinstance(found, Result) and isinstance(expected, Result):
        assert found.scores == pytest.approx(expected.scores, abs=1e-6)
        assert dataclasses.replace(found, score=expected.score, scores=expected.scores) == expected
    else:
        assert codes([found]) == codes([expected])


def test_one_text_and_several(local: Sentiment) -> None:
    """One text has one result; of several each has its own, whatever the others are."""
    one = local.classify("a good film")
    assert (one.label, one.score) == max(one.scores.items(), key=lambda item: item[1])
    assert (one.model, one.version, one.tokens, one.truncated, one.unknown) == ("tiny", 1, 3, False, 0.0)
    assert sum(one.scores.values()) == pytest.approx(1)
    several = local.classify(TEXTS)
    same(several[0], one)
    assert codes(several) == CODES
    assert [outcome.label is None for outcome in several] == [code is not None for code in CODES]
    assert codes(local.classify(text for text in TEXTS)) == CODES
    assert local.classify([]) == []
    with pytest.raises(TextError, match="at least 1 non-blank character"):
        local.classify(" ")
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.label = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(["a good film", None, float("nan"), "good"], dtype=object),
        pd.Series(["a good film", None, pd.NA, "good"], dtype="string"),
        pl.Series(["a good film", None, None, "good"]),
        pa.array(["a good film", None, None, "good"]),
        pa.chunked_array([["a good film", None], [None, "good"]]),
        np.array(["a good film", None, float("nan"), "good"], dtype=object),
        ("a good film", None, None, "good"),
        dict.fromkeys(["a good film", None, float("nan"), "good"]).keys(),
    ],
    ids=lambda column: f"{type(column).__module__}.{type(column).__name__}",
)
def test_columns_of_any_library(local: Sentiment, column: Any) -> None:
    """What is missing there has no label; everything else is text."""
    outcomes = local.classify(column)
    assert codes(outcomes) == [None, "empty_cell", "empty_cell", None]
    same(outcomes[3], local.classify("good"))


def test_results_become_columns(local: Sentiment) -> None:
    """Of data frames and tables, under the names that files have."""
    frame = pd.DataFrame({"review": ["a good film", None]})
    results = local.classify(frame["review"])
    frame["label"] = [result.label for result in results]
    assert frame["label"].notna().tolist() == [True, False]
    found = columns(results)
    assert set(found) == set(KINDS)
    assert found["error"] == [None, "empty_cell"]
    assert pd.DataFrame(found)["score"].tolist()[0] == pl.DataFrame(found)["score"][0] == found["score"][0]
    assert pa.table(found).num_rows == 2


@pytest.mark.parametrize(
    "texts",
    [b"good", {"text": "good"}, 7, None, pd.DataFrame({"a": ["x"]}), pl.DataFrame({"a": ["x"]}), np.zeros((1, 1))],
    ids=lambda texts: f"{type(texts).__module__}.{type(texts).__name__}",
)
def test_what_is_no_column(local: Sentiment, texts: Any) -> None:
    """Is refused, rather than guessed at: iterating over a data frame would give the names of its columns."""
    with pytest.raises(TypeError, match="texts must be a string, or"):
        local.classify(texts)


async def test_one_text_is_no_stream(local: Sentiment) -> None:
    """Its letters are not what anybody wants to be scored."""
    with pytest.raises(TypeError, match="texts must be several strings"):
        local.stream("good")
    async with AsyncSentiment(NOBODY) as service:
        with pytest.raises(TypeError, match="texts must be several strings"):
            await anext(service.stream("good"))


def test_a_sentiment_that_is_closed(tiny_store: Path) -> None:
    """Says so."""
    sentiment = Sentiment(model="tiny", model_store=tiny_store, threads=1)
    sentiment.close()
    asked: list[Callable[[str], object]] = [
        sentiment.classify,
        sentiment.explain,
        lambda text: next(sentiment.stream([text])),
        lambda text: sentiment.feedback(text, "positive"),
    ]
    for ask in asked:
        with pytest.raises(RuntimeError, match="this Sentiment is closed"):
            ask("good")


def test_a_sentiment_of_another_process(local: Sentiment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuses, rather than to wait for threads that are not there."""
    monkeypatch.setattr("sentiment_service.synchronous.os.getpid", lambda: -1)
    with pytest.raises(RuntimeError, match="of another process; make one in each"):
        local.classify("good")


def test_a_sentiment_that_is_sent_to_another_process(local: Sentiment) -> None:
    """Such as with a function to a pool: what helps is said, and not which part of it cannot be pickled."""
    for sentiment in (local, Sentiment("http://127.0.0.1:1")):
        with pytest.raises(TypeError, match="cannot be sent to another process; make one in each"):
            pickle.dumps(sentiment.classify)


def test_a_stream_reads_no_further_than_need_be(local: Sentiment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three windows are on their way when the first result is there; in order, all of them in the end."""
    monkeypatch.setattr("app.files.table.WINDOW_ROWS", 10)
    read = 0

    def reviews() -> Iterator[str]:
        nonlocal read
        for number in range(95):
            read += 1
            yield "good " * (number + 1)

    stream = local.stream(reviews())
    assert read == 0
    first = next(stream)
    assert first.tokens == 1
    assert read <= 31
    assert [outcome.tokens for outcome in stream] == list(range(2, 96))


def test_several_threads(local: Sentiment) -> None:
    """May share one."""
    texts = TEXTS * 20

    def ask(_: int) -> list[Outcome]:
        return local.classify(texts)

    with ThreadPoolExecutor(4) as pool:
        for outcomes in pool.map(ask, range(8)):
            assert codes(outcomes) == CODES * 20


def test_a_deadline_here(local: Sentiment) -> None:
    """Is for all texts together, and is kept between windows."""
    with pytest.raises(DeadlineError):
        local.classify(TEXTS, deadline=0)
    assert local.classify("good", deadline=MOST_SECONDS).label


def test_by_a_service(local: Sentiment, address: tuple[str, str]) -> None:
    """The same answers, in one request or many; one bad text costs itself alone; without a key none."""
    url, key = address
    texts = TEXTS * 30
    with Sentiment(url, key=key) as remote:
        for found, expected in zip(remote.classify(texts), local.classify(texts), strict=True):
            same(found, expected)
        same(remote.classify("good", deadline=MOST_SECONDS), local.classify("good"))
        with pytest.raises(TextError, match="at least 1 word"):
            remote.classify("…")
    with Sentiment(url, key="another") as stranger, pytest.raises(RefusedError) as caught:
        stranger.classify("good")
    assert caught.value.status == 401
    assert "another" not in str(caught.value)


async def test_with_asyncio(local: Sentiment, address: tuple[str, str]) -> None:
    """The same answers, for texts at hand and for those that come one by one."""
    url, key = address
    texts = TEXTS * 30

    async def coming() -> AsyncIterator[Any]:
        for text in texts:
            await asyncio.sleep(0)
            yield text

    expected = local.classify(texts)
    async with AsyncSentiment(url, key=key) as remote:
        for given in (texts, coming()):
            for one, other in zip(await remote.classify(given), expected, strict=True):
                same(one, other)
        same(await remote.classify("good", deadline=MOST_SECONDS), local.classify("good"))
        with pytest.raises(TextError, match="at least 1 word"):
            await remote.classify("…")


async def test_another_model_of_a_service(address: tuple[str, str]) -> None:
    """The one that is named answers, one text, many and explanations; what is not loaded is refused, which names what
    is."""
    url, key = address
    for name in ("other", "other/1"):
        with Sentiment(url, key=key, model=name) as remote:
            found = [remote.classify("good"), *remote.classify(["bad", "good"] * 40), remote.explain("good").result]
        async with AsyncSentiment(url, key=key, model=name) as later:
            found += [await later.classify("good"), (await later.explain("good")).result]
        assert {(it.model, it.version, *(it.scores or ())) for it in found} == {("other", 1, "bad", "good")}
    message = "404: other/2 is not loaded; loaded are: tiny/1, other/1"
    with Sentiment(url, key=key, model="other/2") as remote, pytest.raises(RefusedError, match=message):
        remote.classify("good")


def plain(explanation: Explanation) -> dict[str, Any]:
    """Without the figures of the plain answer, which are of another precision."""
    return {name: value for name, value in dataclasses.asdict(explanation).items() if name != "result"}


async def test_explanations(local: Sentiment, address: tuple[str, str]) -> None:
    """The same parts from everywhere, with the words they are about; tokens on request."""
    url, key = address
    text = "A bad film. A good story!"
    here = local.explain(text)
    assert [sentence.text for sentence in here.sentences] == ["A bad film.", "A good story!"]
    assert [point.text for point in here.curve] == ["A", "bad", "film", "A", "good", "story", "!"]
    same(here.result, local.classify(text))
    assert here.tokens == ()
    tokens = local.explain(text, ["tokens"])
    assert [token.text for token in tokens.tokens] == [point.text for point in here.curve]
    difference = tokens.log_odds["text"] - tokens.log_odds["baseline"]
    assert sum(token.attribution for token in tokens.tokens) == pytest.approx(difference, abs=0.02)
    with Sentiment(url, key=key) as remote:
        assert plain(remote.explain(text)) == plain(here)
        with pytest.raises(TextError):
            remote.explain("")
    async with AsyncSentiment(url, key=key) as later:
        assert plain(await later.explain(text)) == plain(here)
    wanted = local.explain(text, ["aspects"], aspects=["story", "plot"])
    assert [(it.aspect, it.mentions[0].text, it.mentions[0].said) for it in wanted.aspects] == [
        ("story", "story", "A good story!")
    ]
    with Sentiment(url, key=key) as remote:
        assert plain(remote.explain(text, ["aspects"], aspects=["story"])) == plain(wanted)
    async with AsyncSentiment(url, key=key) as later:
        assert plain(await later.explain(text, ["aspects"], aspects=["story"])) == plain(wanted)
    with pytest.raises(OptionError, match='aspects: must be a list, where kinds have "aspects"'):
        local.explain(text, aspects=["story"])
    with pytest.raises(OptionError, match="kinds: must be a list of sentences, tokens, curve, aspects"):
        local.explain(text, ["words"])  # type: ignore[list-item]


async def test_feedback(address: tuple[str, str], folder: Path) -> None:
    """Is kept by the service, with what it is about and a comment, of another model too; what cannot be names the
    argument."""
    url, key = address
    text = "a good film, they say"
    with Sentiment(url, key=key) as remote:
        result = remote.classify(text)
        other = next(label for label in result.scores if label != result.label)
        kept = remote.feedback(text, other, answer=result, comment="Irony.", deadline=MOST_SECONDS)
        assert kept == Feedback("tiny", 1, other, right=False)
        with pytest.raises(OptionError, match="label: must be one of negative, positive, the labels of tiny/1"):
            remote.feedback(text, "meh")
        with pytest.raises(OptionError, match=r"comment: .*at most 1000 characters"):
            remote.feedback(text, other, comment="a" * 1_001)
        with pytest.raises(OptionError, match="answer: there is no tiny/9"):
            remote.feedback(text, other, answer=dataclasses.replace(result, version=9))
        with pytest.raises(TextError, match="non-blank"):
            remote.feedback(" ", other)
    async with AsyncSentiment(url, key=key, model="other") as later:
        found = await later.classify(text)
        assert await later.feedback(text, found.label, answer=found) == Feedback("other", 1, found.label, right=True)
        with pytest.raises(OptionError, match="answer: must be the result"):
            await later.feedback(text, found.label)
    entries = [entry for entry in FeedbackFolder(folder / "feedback", 0).entries() if entry.text == text]
    told = {(it.model, it.version, it.label, it.answered, it.comment, it.by) for it in entries}
    assert told == {
        ("tiny", 1, other, result.label, "Irony.", "tests"),
        ("other", 1, found.label, found.label, None, "tests"),
    }


def test_feedback_has_no_place_here(local: Sentiment) -> None:
    """It says where there is one."""
    with pytest.raises(OptionError, match="url: is missing: feedback is kept by a running service"):
        local.feedback("good", "positive")


OFF: Answer = (501, {}, {"code": "feedback_off", "detail": "this service keeps no feedback"})
KEPT: Answer = (201, {}, {"model": "tiny", "version": 1, "label": "positive", "right": None})
LATER: Answer = (503, {"Retry-After": "0"}, {"code": "feedback_unavailable"})


@pytest.mark.parametrize(
    ("answers", "times", "status"), [([LATER, KEPT], 2, 201), ([OFF], 1, 501), ([(504, {}, {}), KEPT], 1, 504)]
)
async def test_feedback_is_sent_once(answers: list[Answer], times: int, status: int) -> None:
    """And again only where it was refused for now: what might have been kept would be kept twice."""
    asked: list[dict[str, Any]] = []

    def told(_: int, question: dict[str, Any]) -> Answer:
        asked.append(question)
        return answers[min(len(asked), len(answers)) - 1]

    with asked_whole(told) as url, Sentiment(url, patience=MOST_SECONDS) as remote:
        if status == 201:
            assert remote.feedback("good", "positive").right is None
        else:
            with pytest.raises(RefusedError) as caught:
                remote.feedback("good", "positive")
            assert caught.value.status == status
    assert asked == [{"text": "good", "label": "positive"}] * times


def test_feedback_whose_answer_is_lost_may_be_kept() -> None:
    """The connection ends after the request was read: that is said, and it is not sent again."""
    asked: list[dict[str, Any]] = []

    def told(_: int, question: dict[str, Any]) -> Answer:
        asked.append(question)
        raise ConnectionAbortedError

    lost = pytest.raises(UnreachableError, match="it may have been kept")
    with asked_whole(told) as url, Sentiment(url, patience=MOST_SECONDS) as remote, lost:
        remote.feedback("good", "positive")
    assert len(asked) == 1


def answer(texts: list[str]) -> Answer:
    entry = {"label": "positive", "score": 0.75, "scores": {"negative": 0.25, "positive": 0.75}, "truncated": False}
    results = [{**entry, "tokens": len(text), "unknown": 0.0, "judgement": "ok"} for text in texts]
    return 200, {}, {"model": "tiny", "version": 1, "results": results}


def busy(number: int, texts: list[str]) -> Answer:
    """A service that is full at first, then has room."""
    return answer(texts) if number > 3 else (503, {"Retry-After": "0"}, {"code": "overloaded"})


async def test_a_full_service_is_asked_again() -> None:
    """As often as need be, with threads and with asyncio; a long list is many requests."""
    texts = ["a" * size for size in range(1, 200)]
    with scripted(busy) as url, Sentiment(url) as remote:
        assert [outcome.tokens for outcome in remote.classify(texts)] == list(range(1, 200))
    with scripted(busy) as url:
        async with AsyncSentiment(url) as later:
            assert [outcome.tokens for outcome in await later.classify(texts)] == list(range(1, 200))


def test_after_a_failure_nothing_more_is_asked() -> None:
    """What was begun with the texts of a call that failed must not stand in the way of the next one."""
    asked: list[int] = []
    failed = threading.Event()

    def answers(number: int, texts: list[str]) -> Answer:
        asked.append(number)
        if texts[0] == "y":
            return answer(texts)
        if number > 1:
            failed.wait(MOST_SECONDS)
        return 401, {}, {}

    with scripted(answers) as url, Sentiment(url, concurrency=1) as remote:
        with pytest.raises(RefusedError):
            remote.classify(["x"] * 64 * 50)
        failed.set()
        assert remote.classify("y").tokens == 1
    assert len(asked) <= 3


FULL: Answer = (503, {"Retry-After": "3000"}, {"code": "overloaded"})
NO_EXPLAINER: Answer = (
    503,
    {"Retry-After": "60"},
    {"code": "explainer_unavailable", "detail": "nobody explains now"},
)


@pytest.mark.parametrize(
    ("fault", "options", "kind", "message"),
    [
        (FULL, {"deadline": 10}, DeadlineError, "the deadline passed: .*answered 503"),
        (FULL, {}, OverloadedError, "answered 503, tried 1 times"),
        ((401, {}, {"detail": "who are you?"}), {}, RefusedError, r"answered 401: who are you\?"),
        (NO_EXPLAINER, {}, ServiceError, "nobody explains now"),
        ((500, {}, {"detail": "a fault"}), {}, ServiceError, "answered 500: a fault"),
        ((200, {}, {"hello": "world"}), {}, RefusedError, "does not answer as this service does"),
        ((200, {}, "hello"), {}, RefusedError, "does not answer as this service does"),
    ],
)
async def test_errors_of_a_service(
    fault: Answer, options: dict[str, Any], kind: type[SentimentError], message: str
) -> None:
    """One class for each thing that a program may do about it; nothing waits for what will not come."""
    with scripted(lambda *_: fault) as url:
        with Sentiment(url, patience=10) as remote, pytest.raises(kind, match=message) as caught:
            remote.classify(["x"], **options)
        async with AsyncSentiment(url, patience=10) as later:
            with pytest.raises(kind, match=message):
                await later.classify(["x"], **options)
    if isinstance(caught.value, OverloadedError):
        assert caught.value.retry_after == 3000


async def test_nobody_there() -> None:
    """Is said with the address; what is no address at once."""
    with Sentiment(NOBODY, patience=0.1) as remote, pytest.raises(UnreachableError, match=f"{NOBODY}/classify cannot"):
        remote.classify("good")
    async with AsyncSentiment(NOBODY, patience=0.1) as later:
        with pytest.raises(UnreachableError, match="cannot be reached"):
            await later.classify(["good"])
    for wrong in ("127.0.0.1:8000", "ftp://127.0.0.1", "http://", "http://a:b"):
        with pytest.raises(ServiceError, match="not an address"):
            Sentiment(wrong)
        with pytest.raises(ServiceError, match="not an address"):
            AsyncSentiment(wrong)


async def test_who_gives_up_leaves_nothing_behind() -> None:
    """A call that is cancelled cancels its requests, and waits for their end."""
    asked = threading.Event()

    def answers(*_: object) -> Answer:
        asked.set()
        return 503, {"Retry-After": "10"}, {}

    with scripted(answers) as url:
        async with AsyncSentiment(url) as remote:
            call = asyncio.create_task(remote.classify(["a"] * 300))
            assert await asyncio.to_thread(asked.wait, MOST_SECONDS)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert asyncio.all_tasks() == {asyncio.current_task()}


def test_what_cannot_be_asked_for(tiny_store: Path) -> None:
    """Says which argument, and what would do."""
    with pytest.raises(CheckpointError, match=r"no model 'absent'; there are: tiny"):
        Sentiment(model="absent", model_store=tiny_store)
    with pytest.raises(OptionError, match=r"model_store: there is no folder .*absent; name the one"):
        Sentiment(model_store=tiny_store / "absent")
    with pytest.raises(OptionError, match="key: is of a service, whose url is missing"):
        Sentiment(key="k")
    with pytest.raises(OptionError, match="model_store: is of models in this process"):
        Sentiment(NOBODY, model_store=tiny_store)
    elsewhere: list[dict[str, Any]] = [{"device": "cpu"}, {"precision": "float32"}, {"threads": 1}]
    for given in elsewhere:
        with pytest.raises(OptionError, match=f"{next(iter(given))}: is of models in this process"):
            Sentiment(NOBODY, **given)
    with pytest.raises(SettingsError, match=r"^device: must be auto, cpu, cuda or cuda:N \(got 'tpu'\)"):
        Sentiment(model_store=tiny_store, model="tiny", device="tpu")
    with pytest.raises(OptionError, match="precision: must be one of auto, float32, bfloat16, float16"):
        Sentiment(model_store=tiny_store, model="tiny", precision="int8")
    with pytest.raises(OptionError, match="threads: must be 0 or more"):
        Sentiment(model_store=tiny_store, model="tiny", threads=-1)
    for kind in (Sentiment, AsyncSentiment):
        with pytest.raises(CheckpointError, match="must be NAME, NAME/VERSION or NAME@LABEL"):
            kind(NOBODY, model="")
    with pytest.raises(OptionError, match="concurrency: must be 1 or more"):
        Sentiment(NOBODY, concurrency=0)
    with pytest.raises(OptionError, match="concurrency: must be 1 or more"):
        AsyncSentiment(NOBODY, concurrency=0)


def run(code: str) -> str:
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_importing_is_light() -> None:
    """It loads nothing that computes, validates or talks, so that it takes a fraction of the 0.3 s it may."""
    run(
        "import sys\n"
        "before = set(sys.modules)\n"
        "import sentiment_service\n"
        "heavy = {'numpy', 'pydantic', 'torch', 'httpx', 'asyncio', 'ssl', 'logging'} & (set(sys.modules) - before)\n"
        "assert not heavy, heavy\n"
    )


def test_without_httpx() -> None:
    """In this process nobody misses it; for a service it is named with its extra."""
    said = run(
        "import sys\n"
        "sys.modules['httpx'] = None\n"
        "from sentiment_service import *\n"
        "for kind in (Sentiment, AsyncSentiment):\n"
        "    try:\n"
        f"        kind('{NOBODY}')\n"
        "    except MissingPackageError as error:\n"
        "        print(error)\n"
    )
    assert said.count("httpx, which is not installed: install 'sentiment-service[http]'") == 2


def test_everything_public_is_there() -> None:
    """By the names that are listed, of which none is missing."""
    assert all(hasattr(sentiment_service, name) for name in sentiment_service.__all__)
    assert sorted(sentiment_service.__all__) == sentiment_service.__all__
