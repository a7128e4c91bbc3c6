"""Requests with several texts: tokenized piece by piece, computed once each, told early, and given up."""

from __future__ import annotations

import asyncio

import pytest

from app import metrics
from app.errors import DeadlineError, EngineUnavailableError, InferenceError, NoWordsError
from app.sentiment import Outcome, Prediction
from app.serving.cache import MemoryCache
from app.serving.classifier import Classifier, ClassifierLimits
from app.serving.pending import PendingText
from app.store import StoredModel
from app.text.tokenizer import load_tokenizer
from tests.fakes import HandEngine
from tests.waiting import until

LIST = 10


def classifier(model: StoredModel, engine: HandEngine, *, cache: bool = True, timeout: float = 5.0) -> Classifier:
    bounds = ClassifierLimits(100_000, 10_000, timeout)
    return Classifier(model, load_tokenizer(model), engine, bounds, MemoryCache(1000) if cache else None)


LONG = [" ".join(["good", "film"] * (1 + index % 7) + [f"w{index}"]) for index in range(200)]


@pytest.mark.parametrize("cache", [True, False])
async def test_a_long_request_has_the_answers_of_short_ones(tiny_model: StoredModel, cache: bool) -> None:
    """Outcomes stand in the order of the texts, repeated, foreign and wordless ones among them."""
    engine = HandEngine()
    engine.automatic = True
    texts = [*LONG, "...", "un café très bon", "", LONG[3], "\U0001f600", "добрый фильм"]
    together = await classifier(tiny_model, engine, cache=cache).classify(texts)
    single = classifier(tiny_model, engine, cache=False)
    apart = [(await single.classify([one]))[0] for one in texts]
    assert [type(outcome) for outcome in together] == [type(outcome) for outcome in apart]
    assert [one for one in together if isinstance(one, Prediction)] == [
        one for one in apart if isinstance(one, Prediction)
    ]
    assert isinstance(together[len(LONG)], NoWordsError)


async def test_texts_of_a_long_request_are_kept_and_join_what_is_in_the_air(tiny_model: StoredModel) -> None:
    """A text somebody else waits for already is not computed again, and afterwards all come from the cache."""
    engine = HandEngine()
    shared = classifier(tiny_model, engine)
    first = asyncio.create_task(shared.classify([LONG[0]]))
    await asyncio.sleep(0)
    long = asyncio.create_task(shared.classify([*LONG, LONG[1]]))
    await until(lambda: len(engine.texts) >= len(LONG))
    engine.compute()
    outcomes = await long
    assert len(engine.texts) == len(LONG)
    assert (await first)[0] == outcomes[0]
    again = await shared.classify(LONG)
    assert all(isinstance(one, Prediction) and one.cached for one in again)


async def test_a_long_request_tells_early_and_once(tiny_model: StoredModel) -> None:
    """What the engine is done with is told while it computes the rest; every text is counted once."""
    engine = HandEngine()
    shared = classifier(tiny_model, engine, cache=False)
    told: list[tuple[int, Outcome]] = []
    counted = metrics.TEXTS.labels("predicted")
    before = counted._value.get()
    texts = ["", *LONG, "..."]
    long = asyncio.create_task(shared.classify(texts, early=told.extend))
    await until(lambda: len(engine.texts) >= len(LONG))
    assert len(engine.waiting) > 3
    engine.compute_next()
    engine.compute_next()
    early = [index for index, _ in told]
    assert early
    assert early == list(range(1, 1 + len(early)))
    assert counted._value.get() - before == len(early)
    engine.compute()
    outcomes = await long
    assert all(outcomes[index] is outcome for index, outcome in told)
    assert counted._value.get() - before == len(LONG)


async def test_a_long_request_that_is_late_or_gone_is_given_up(tiny_model: StoredModel) -> None:
    """Its texts are deadline errors, or nobody's, and none of them is computed any more."""
    engine = HandEngine()
    shared = classifier(tiny_model, engine, cache=False)
    outcomes = await shared.classify(LONG[:LIST], timeout=0.02)
    assert all(isinstance(outcome, DeadlineError) for outcome in outcomes)
    gone = asyncio.create_task(shared.classify(LONG[:LIST]))
    await until(lambda: len(engine.texts) == 2 * LIST)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    assert all(ticket.cancelled() for ticket in engine.waiting)


async def test_texts_of_a_long_request_fail_as_the_engine_says(tiny_model: StoredModel) -> None:
    """One without scores fails alone; texts that fail together have one error."""
    engine = HandEngine()
    shared = classifier(tiny_model, engine)
    call = asyncio.create_task(shared.classify(LONG[:LIST]))
    await until(lambda: len(engine.texts) >= LIST)
    engine.compute_next(fails=4)
    assert [index for index, one in enumerate(await call) if isinstance(one, InferenceError)] == [4]
    call = asyncio.create_task(shared.classify(LONG[LIST : 2 * LIST]))
    await until(lambda: engine.waiting)
    next(iter(engine.waiting)).set_exception(EngineUnavailableError("gone"))
    assert all(isinstance(one, EngineUnavailableError) for one in await call)


async def test_a_text_of_a_list_is_computed_for_whoever_waits(tiny_model: StoredModel) -> None:
    """Another request joins a text of it and has its answer, though the list itself is given up."""
    engine = HandEngine()
    shared = classifier(tiny_model, engine)
    gone = asyncio.create_task(shared.classify(LONG[:LIST]))
    await until(lambda: engine.waiting)
    joined = shared.start(LONG[3])
    assert isinstance(joined, PendingText)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    engine.compute()
    assert isinstance(shared.finish(joined), Prediction)
    assert len(engine.texts) == LIST
    assert not shared._dispatcher.pending
