"""The classifier: outcomes per text, cache and coalescing, cancellation, deadlines, admission."""

from __future__ import annotations

import asyncio
from unittest.mock import Mock

import pytest

from app.errors import BlankTextError, DeadlineError, NoWordsError, OverloadedError, TextTooLongError
from app.sentiment import JUDGEMENTS, Prediction
from app.serving.cache import MemoryCache
from app.serving.classifier import Classifier, ClassifierLimits
from app.serving.pending import PendingText, Request
from app.serving.redis_cache import RedisCache
from app.store import StoredModel
from app.text.tokenizer import load_tokenizer
from tests.fakes import HandEngine
from tests.http.shapes import sample
from tests.redis_server import RedisServer, free_port
from tests.serving.test_cache import redis_cache, rest
from tests.waiting import LIMIT, until


def make(
    model: StoredModel, engine: HandEngine, *, cache: bool = True, shared: RedisCache | None = None, **changes: float
) -> Classifier:
    limits = {"max_characters": 1000, "max_texts_in_flight": 100, "timeout": 5.0, **changes}
    memory = MemoryCache(100) if cache else None
    return Classifier(model, load_tokenizer(model), engine, ClassifierLimits(**limits), memory, shared)  # type: ignore[arg-type]


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_each_text_has_its_outcome(tiny_model: StoredModel) -> None:
    """Predictions and errors stand in the order of the texts, and a bad text leaves the others alone."""
    engine = HandEngine()
    engine.automatic = True
    texts = ["good film", "", " \n", "x" * 1001, "!!!", "...", "a very good film", "\u202e\U0001f600"]
    outcomes = await make(tiny_model, engine).classify(texts)
    kinds = [Prediction, BlankTextError, BlankTextError, TextTooLongError, Prediction, NoWordsError, Prediction]
    assert [type(outcome) for outcome in outcomes] == [*kinds, NoWordsError]
    assert outcomes[6] == Prediction((0.25, 0.75), tokens=4, truncated=False)


@pytest.mark.parametrize("texts", [1, 20])
async def test_texts_are_counted_by_their_judgement(tiny_model: StoredModel, texts: int) -> None:
    """One by one and in lists, computed and cached."""

    def judged() -> float:
        return sum(sample("sentiment_texts_judged_total", judgement=name) for name in JUDGEMENTS)

    engine = HandEngine()
    engine.automatic = True
    classifier, before = make(tiny_model, engine), judged()
    found = await classifier.classify([f"good film {number}" for number in range(texts)])
    assert judged() == before + texts
    assert isinstance(found[0], Prediction)
    before = sample("sentiment_texts_judged_total", judgement=found[0].judgement)
    assert isinstance(classifier.start("good film 0"), Prediction)
    await settle()
    assert sample("sentiment_texts_judged_total", judgement=found[0].judgement) == before + 1


async def test_repeated_texts_come_from_the_cache(tiny_model: StoredModel) -> None:
    """The second time nothing is computed, and the answer says so."""
    engine = HandEngine()
    engine.automatic = True
    classifier = make(tiny_model, engine)
    first = (await classifier.classify(["good film"]))[0]
    second = (await classifier.classify(["good film"]))[0]
    assert isinstance(first, Prediction)
    assert isinstance(second, Prediction)
    assert (first.cached, second.cached) == (False, True)
    assert first.probabilities == second.probabilities
    assert len(engine.texts) == 1


async def test_identical_texts_in_flight_are_computed_once(tiny_model: StoredModel) -> None:
    """Callers that ask for the same text at the same time, or in one request, share one computation."""
    engine = HandEngine()
    classifier = make(tiny_model, engine)
    calls = [asyncio.create_task(classifier.classify(["good film", "bad film", "good film"])) for _ in range(3)]
    await settle()
    engine.compute()
    results = await asyncio.gather(*calls)
    assert len(engine.texts) == 2
    assert results[0] == results[1] == results[2]


async def test_without_cache_every_text_is_computed(tiny_model: StoredModel) -> None:
    """With caching off nothing is shared, so that measurements measure."""
    engine = HandEngine()
    engine.automatic = True
    classifier = make(tiny_model, engine, cache=False)
    await classifier.classify(["good film"] * 3)
    await classifier.classify(["good film"])
    assert len(engine.texts) == 4


async def test_a_gone_caller_leaves_the_others_their_computation(tiny_model: StoredModel) -> None:
    """The computation goes on while anybody waits, and is given up when nobody does."""
    engine = HandEngine()
    classifier = make(tiny_model, engine)
    first, second = (asyncio.create_task(classifier.classify(["good film"])) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    assert not next(iter(engine.waiting)).cancelled()
    second.cancel()
    await settle()
    assert next(iter(engine.waiting)).cancelled()
    engine.waiting.clear()
    third = asyncio.create_task(classifier.classify(["good film"]))
    await settle()
    engine.compute()
    assert isinstance((await third)[0], Prediction)


async def test_each_caller_has_its_own_deadline(tiny_model: StoredModel) -> None:
    """A caller with a short timeout gets a deadline error; one that joined with a longer one gets the answer."""
    engine = HandEngine()
    classifier = make(tiny_model, engine)
    hasty = asyncio.create_task(classifier.classify(["good film"], timeout=0.02))
    patient = asyncio.create_task(classifier.classify(["good film"]))
    assert isinstance((await hasty)[0], DeadlineError)
    engine.compute()
    assert isinstance((await patient)[0], Prediction)


async def test_admission_is_decided_for_the_whole_request(tiny_model: StoredModel) -> None:
    """Over the bound nothing of a request is computed; what is in flight stays, and its place becomes free again."""
    engine = HandEngine()
    classifier = make(tiny_model, engine, max_texts_in_flight=3)
    running = asyncio.create_task(classifier.classify(["good film", "bad film"]))
    await settle()
    with pytest.raises(OverloadedError):
        await classifier.classify(["dull", "slow"])
    assert len(engine.texts) == 2
    engine.compute()
    await running
    engine.automatic = True
    assert len(await classifier.classify(["dull", "slow", "sad"])) == 3


async def test_long_texts_are_tokenized_off_the_loop(tiny_model: StoredModel) -> None:
    """A request beyond the size for the event loop gives the same answers."""
    engine = HandEngine()
    classifier = make(tiny_model, engine, max_characters=1_000_000)
    long = "good film " * 20_000
    calls = asyncio.gather(classifier.classify([long]), classifier.classify([long, "good"]))
    await until(lambda: len(engine.texts) == 3)
    engine.compute()
    one, two = await calls
    assert isinstance(one[0], Prediction)
    assert one[0].tokens == 40_000
    assert one[0].truncated
    assert isinstance(two[0], Prediction)
    assert two[0].probabilities == one[0].probabilities


async def test_a_second_worker_finds_results_in_redis(tiny_model: StoredModel, redis_server: RedisServer) -> None:
    """What one worker computed, another one answers from Redis."""
    engines = [HandEngine(), HandEngine()]
    for engine in engines:
        engine.automatic = True
    async with redis_cache(redis_server.url) as first, redis_cache(redis_server.url) as second:
        await make(tiny_model, engines[0], shared=first).classify(["good film"])
        await asyncio.wait_for(first._written.wait(), LIMIT)
        answer = (await make(tiny_model, engines[1], shared=second).classify(["good film"]))[0]
    assert isinstance(answer, Prediction)
    assert answer.cached
    assert not engines[1].texts


async def test_texts_for_which_redis_is_not_asked_are_counted(tiny_model: StoredModel) -> None:
    """On the way that waits for nothing too."""

    def skipped() -> float:
        return sample("sentiment_cache_lookups_total", tier="redis", result="skipped")

    async with redis_cache(f"redis://127.0.0.1:{free_port()}/0") as cache:
        classifier, before = make(tiny_model, HandEngine(), shared=cache), skipped()
        while cache.in_use:
            await cache.get_many([b"key"])
        rest(cache)
        pending = classifier.start("good film")
        assert isinstance(pending, PendingText)
        await until(lambda: skipped() == before + 1)
        classifier.leave(pending)


async def outcome_begun(classifier: Classifier, text: str) -> object:
    """What becomes of a text that is begun without waiting."""
    pending = classifier.start(text)
    assert isinstance(pending, PendingText)
    done = asyncio.Event()
    pending.batch.ticket.add_done_callback(lambda _: done.set())
    await asyncio.wait_for(done.wait(), LIMIT)
    return classifier.finish(pending)


async def test_one_text_asks_redis_without_waiting(tiny_model: StoredModel, redis_server: RedisServer) -> None:
    """A miss is computed and kept; another worker's look-up finds it, and keeps it in its own memory too."""
    engines = [HandEngine(), HandEngine()]
    for engine in engines:
        engine.automatic = True
    async with redis_cache(redis_server.url) as first, redis_cache(redis_server.url) as second:
        computed = await outcome_begun(make(tiny_model, engines[0], shared=first), "good film")
        assert isinstance(computed, Prediction)
        assert not computed.cached
        await asyncio.wait_for(first._written.wait(), LIMIT)
        other = make(tiny_model, engines[1], shared=second)
        assert await outcome_begun(other, "good film") == computed._replace(cached=True)
        assert other.start("good film") == computed._replace(cached=True)
    assert not engines[1].texts


async def test_no_text_waits_for_a_redis_that_never_has_one(tiny_model: StoredModel, redis_server: RedisServer) -> None:
    """One text and several go to the engine at once, and what is computed is kept for others all the same."""
    engine = HandEngine()
    engine.automatic = True
    async with redis_cache(redis_server.url) as first, redis_cache(redis_server.url) as second:
        await first.get_many([b"other"] * 1_000)
        classifier = make(tiny_model, engine, shared=first)
        computed = await outcome_begun(classifier, "good film")
        assert isinstance(computed, Prediction)
        assert not computed.cached
        [of_list] = await classifier.classify(["bad film"])
        await asyncio.wait_for(first._written.wait(), LIMIT)
        other = make(tiny_model, HandEngine(), shared=second)
        assert isinstance(of_list, Prediction)
        assert await other.classify(["good film", "bad film"]) == [
            computed._replace(cached=True),
            of_list._replace(cached=True),
        ]


async def test_what_stands_against_a_text_that_redis_lacks_is_its_outcome(
    tiny_model: StoredModel, redis_server: RedisServer
) -> None:
    """A text without words, and a full engine, which are found out once Redis has answered."""
    engine = HandEngine()
    async with redis_cache(redis_server.url) as cache:
        classifier = make(tiny_model, engine, shared=cache)
        assert isinstance(await outcome_begun(classifier, "..."), NoWordsError)
        engine.admit = Mock(side_effect=OverloadedError("full"))  # type: ignore[method-assign]
        assert isinstance(await outcome_begun(classifier, "good film"), OverloadedError)
    assert not engine.texts
    assert not classifier._dispatcher.pending
    assert not classifier._in_flight


async def test_a_text_that_redis_is_asked_for_can_be_joined_and_given_up(
    tiny_model: StoredModel, redis_server: RedisServer
) -> None:
    """Two requests share a look-up and a computation; when both leave, before or after Redis answered, it is over."""
    engine = HandEngine()
    async with redis_cache(redis_server.url) as cache:
        classifier = make(tiny_model, engine, shared=cache)
        for computing in (False, True):
            first, second = classifier.start("good film"), classifier.start("good film")
            assert isinstance(first, PendingText)
            assert first == second
            if computing:
                await until(lambda: engine.waiting)
            classifier.leave(first)
            assert not first.batch.ticket.done()
            classifier.leave(first)
            assert first.batch.ticket.cancelled()
            assert not classifier._dispatcher.pending
            assert [ticket.cancelled() for ticket in engine.waiting] == ([True] if computing else [])
        assert await cache.get_many([b"other"]) == [None]
    assert len(engine.texts) == 1


def test_a_text_without_an_outcome_is_a_defect() -> None:
    """It must not let the others' outcomes move up."""
    request = Request(["a", "b"], [None, None], [None, NoWordsError()], lambda _: None)
    with pytest.raises(RuntimeError, match="1 texts have no outcome"):
        request.all_outcomes()
