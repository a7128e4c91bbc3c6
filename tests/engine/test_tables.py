"""Texts of long requests: computed and answered together, from the tokenizer to the predictor and back."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import metrics
from app.engine import frames
from app.engine.batcher import MicroBatcher
from app.engine.ticket import Ticket
from app.errors import DeadlineError, EngineUnavailableError, InferenceError, NoWordsError
from app.sentiment import Outcome, Prediction, Scores, ScoreTable, TablePredictor, TextTable, TokenIds
from app.serving.cache import MemoryCache
from app.serving.classifier import Classifier, ClassifierLimits
from app.serving.submitted_table import LONG_REQUEST, MOST_TEXTS
from app.store import StoredModel
from app.text.tokenizer import load_tokenizer
from tests.engine.test_batcher import FAR, Recorder, batches_of, busy, limits, running, text
from tests.engine.test_client import engine, worker
from tests.fakes import HandEngine
from tests.waiting import LIMIT, until


def table(*lengths: int) -> TextTable:
    return TextTable(array("i", [2]) * sum(lengths), list(lengths))


class TableRecorder(Recorder):
    """A ``Recorder`` that takes tables too; a text of 13 tokens has no finite score."""

    def __init__(self, fault: Callable[[TextTable], None] = lambda table: None) -> None:
        super().__init__()
        self.tables: list[list[int]] = []
        self._table_fault = fault

    def predict_table(self, table: TextTable) -> ScoreTable:
        self.gate.wait(LIMIT)
        self.tables.append(table.lengths)
        self._table_fault(table)
        first = [math.nan if length == 13 else 1 / length for length in table.lengths]
        flat = [number for part in first for number in (part, 1 - part)]
        return ScoreTable(array("d", flat), array("d", [5.0] * len(first)))


def firsts(scores: ScoreTable) -> list[float]:
    return scores.probabilities[::2].tolist()


async def test_a_table_is_one_batch() -> None:
    """It is computed as it came, where the predictor takes tables, and scores stand in its order."""
    recorder = TableRecorder()
    assert isinstance(recorder, TablePredictor)
    async with running(recorder) as batcher:
        scores = await batcher.submit_table(table(9, 2, 5), FAR)
    assert (recorder.tables, recorder.batches) == ([[9, 2, 5]], [])
    assert firsts(scores) == [1 / 9, 1 / 2, 1 / 5]
    assert scores.ratings.tolist() == [5.0] * 3


@pytest.mark.parametrize("recorder", [Recorder(), TableRecorder()], ids=["predictor of texts", "table beyond a batch"])
async def test_a_table_is_taken_apart_where_it_must(recorder: Recorder) -> None:
    """Without a predictor of tables, or beyond the bounds of a batch, texts are batched as any others."""
    async with running(recorder) as batcher:
        lengths = [9, 2, 5, 7, 3]
        scores = await batcher.submit_table(table(*lengths), FAR)
    assert sorted(length for batch in recorder.batches for length in batch) == sorted(lengths)
    assert firsts(scores) == [1 / length for length in lengths]
    assert not scores.ratings


async def test_single_texts_and_tables_take_turns() -> None:
    """Neither waits for all of the other."""
    recorder = TableRecorder()
    order: list[str] = []
    async with running(recorder) as batcher:
        held = await busy(batcher, recorder)
        waiting: list[Ticket[ScoreTable]] = [batcher.submit_table(table(4, 4), FAR) for _ in range(3)]
        singles = batcher.submit([text(1), text(300)], FAR)
        for ticket in waiting:
            ticket.add_done_callback(lambda _: order.append("table"))
        for single in singles:
            single.add_done_callback(lambda _: order.append("text"))
        assert batcher.queued == 8
        recorder.gate.set()
        await asyncio.gather(held, *singles, *waiting)
    assert order == ["table", "text", "text", "table", "table"]


async def test_texts_of_a_predictor_of_tables_go_by_age() -> None:
    """Where unlike lengths cost nothing, nobody is passed over for a better neighbour."""
    batches = await batches_of(TableRecorder(), [100, 8, 101, 9, 102, 10, 103, 11])
    assert [sorted(batch) for batch in batches] == [[1], [8, 9, 100, 101], [10, 11, 102, 103]]


async def test_the_next_table_is_with_the_thread_before_the_last_is_done() -> None:
    """Also one that comes while the last is computed: the thread goes on without the event loop."""
    recorder = TableRecorder()
    async with running(recorder) as batcher:
        recorder.gate.clear()
        first = batcher.submit_table(table(4), FAR)
        await asyncio.sleep(0.01)
        second, third = batcher.submit_table(table(5), FAR), batcher.submit_table(table(6), FAR)
        assert batcher.queued == 1  # the third has to wait, for single texts may come
        recorder.gate.set()
        deadline = time.monotonic() + LIMIT
        while len(recorder.tables) < 2 and time.monotonic() < deadline:
            time.sleep(0.001)  # noqa: ASYNC251 - the event loop is to do nothing
        assert recorder.tables == [[4], [5]]
        await asyncio.gather(first, second, third)


async def test_a_text_that_came_first_goes_before_the_next_table() -> None:
    """Also one that came while a table was computed with nothing behind it."""
    recorder = TableRecorder()
    order: list[str] = []
    async with running(recorder) as batcher:
        recorder.gate.clear()
        first = batcher.submit_table(table(4), FAR)
        await asyncio.sleep(0.01)
        [single] = batcher.submit([text(1)], FAR)
        second = batcher.submit_table(table(5), FAR)
        single.add_done_callback(lambda _: order.append("text"))
        second.add_done_callback(lambda _: order.append("table"))
        recorder.gate.set()
        await asyncio.gather(first, single, second)
    assert order == ["text", "table"]


async def test_a_table_does_not_wait_for_texts_that_another_thread_takes() -> None:
    """A thread that leaves single texts to the one at work on them computes tables meanwhile."""
    singles, tables = TableRecorder(), TableRecorder()
    batcher = MicroBatcher(lambda: [tables, singles], limits())
    await batcher.start()
    await asyncio.gather(*batcher.submit([text(1)], FAR))  # and the cost of a text is known
    for recorder in (singles, tables):
        recorder.gate.clear()
    [held] = batcher.submit([text(2)], FAR)
    await asyncio.sleep(0.01)
    first = batcher.submit_table(table(4), FAR)
    await asyncio.sleep(0.01)
    [single] = batcher.submit([text(3)], FAR)
    second = batcher.submit_table(table(5), FAR)
    idle, at_work = sorted((singles, tables), key=lambda recorder: len(recorder.batches))
    assert [batcher.queued, idle.batches] == [2, []]
    idle.gate.set()
    assert [firsts(await ticket) for ticket in (first, second)] == [[1 / 4], [1 / 5]]
    assert not held.done()
    assert not single.done()
    at_work.gate.set()
    await asyncio.gather(held, single)
    await batcher.close()


async def test_what_nobody_waits_for_is_not_computed() -> None:
    """A table that was given up leaves the queue, and one whose deadline has passed fails with that."""
    recorder = TableRecorder()
    async with running(recorder) as batcher:
        held = await busy(batcher, recorder)
        given_up, late = batcher.submit_table(table(4, 4), FAR), batcher.submit_table(table(6), 0.0)
        given_up.cancel()
        assert batcher.queued == 1
        recorder.gate.set()
        with pytest.raises(DeadlineError):
            await late
        await held
    assert not recorder.tables


async def test_faults_stay_with_their_texts() -> None:
    """A table that fails, or is beyond the memory, is computed in parts, of which one may fail alone."""

    def fault(table: TextTable) -> None:
        if 3 in table.lengths:
            raise MemoryError
        if 7 in table.lengths:
            raise RuntimeError("on purpose")

    recorder = TableRecorder(fault)
    async with running(recorder) as batcher:
        assert firsts(await batcher.submit_table(table(3, 4), FAR)) == [1 / 3, 1 / 4]
        assert recorder.batches == [[3, 4]]
        assert firsts(await batcher.submit_table(table(7, 4), FAR)) == [1 / 7, 1 / 4]
        assert recorder.batches == [[3, 4], [4, 7]]
        assert firsts(await batcher.submit_table(table(5), FAR)) == [1 / 5]


async def test_a_text_that_fails_apart_fails_alone() -> None:
    """Of a table that was taken apart, one text without scores has numbers that are not finite."""

    def fault(batch: object) -> None:
        if [array("i", [2]) * 9] == batch:
            raise RuntimeError("on purpose")

    async with running(Recorder(fault), max_batch_size=1) as batcher:
        assert [math.isnan(part) for part in firsts(await batcher.submit_table(table(2, 9, 4), FAR))] == [0, 1, 0]
        with pytest.raises(InferenceError):
            await batcher.submit_table(table(9, 9), FAR)
        whole = batcher.submit_table(table(2, 4), FAR)
        whole.cancel()
        assert batcher.queued == 0


@given(st.lists(st.integers(1, 30), max_size=8), st.floats(0, 1e9))
def test_tables_travel(lengths: list[int], deadline: float) -> None:
    """A table is read back as it was written; one whose lengths do not add up is an error."""
    sent = TextTable(array("i", range(sum(lengths))), lengths)
    frame = frames.submit_table(7, sent, 2.5, deadline)
    seen: list[tuple[int, memoryview]] = []
    frames.FrameReader(lambda kind, body: seen.append((kind, body))).feed(frame)
    [(kind, body)] = seen
    assert kind == frames.TABLE
    assert frames.read_table(body) == (7, sent, 2.5, deadline)
    for damaged in (body[:-1], body[:-4]) if lengths else ():
        with pytest.raises(frames.FrameError):
            frames.read_table(damaged)


class RemoteTables(TableRecorder):
    """Counts as a predictor behind a socket."""

    computed = 0


async def test_tables_are_answered_over_a_socket(tmp_path: Path) -> None:
    """Scores and errors come back, other texts too; a worker that leaves takes its tables along."""
    path, recorder = tmp_path / "s", RemoteTables()
    async with engine(path, recorder) as server:  # type: ignore[arg-type]
        async with worker(path) as remote:
            await until(lambda: remote.ready)
            whole, single = remote.submit_table(table(9, 2), FAR), remote.submit([text(5)], FAR)[0]
            assert firsts(await whole) == [1 / 9, 1 / 2]
            assert (await single).probabilities[0] == 1 / 5
            recorder.gate.clear()
            first, *given_up = (remote.submit_table(table(*lengths), FAR) for lengths in ([3], [4, 4], [7, 7, 7]))
            # The first is computed, the second is handed over, the third waits.
            await until(lambda: server.batcher.queued == 3)
            for ticket in given_up:
                ticket.cancel()
            await until(lambda: server.batcher.queued == 0)
            recorder.gate.set()
            assert firsts(await first) == [1 / 3]
            recorder.gate.clear()
            left = [remote.submit_table(table(*lengths), FAR) for lengths in ([5], [6, 6], [8, 8, 8])]
            await until(lambda: server.batcher.queued == 3)
        await until(lambda: server.batcher.queued == 0)
        for ticket in left:
            with pytest.raises(EngineUnavailableError):
                await ticket
    assert recorder.tables == [[9, 2], [3], [5]]


async def test_a_table_that_was_handed_over_may_be_late() -> None:
    """One whose deadline passes while another is computed is not computed itself."""
    recorder = TableRecorder()
    async with running(recorder) as batcher:
        recorder.gate.clear()
        first, late = batcher.submit_table(table(3), FAR), batcher.submit_table(table(4), time.monotonic() + 0.05)
        await asyncio.sleep(0.1)
        assert not batcher.queued
        recorder.gate.set()
        assert firsts(await first) == [1 / 3]
        with pytest.raises(DeadlineError):
            await late
    assert recorder.tables == [[3]]


async def test_tables_in_flight_are_sent_once_more_to_the_next_engine(tmp_path: Path) -> None:
    """An engine that dies on a table is not the end of it."""
    path, first, second = tmp_path / "s", RemoteTables(), RemoteTables()
    first.gate.clear()
    async with worker(path) as remote:
        async with engine(path, first) as server:  # type: ignore[arg-type]
            await until(lambda: remote.ready)
            ticket = remote.submit_table(table(9, 2), FAR)
            await until(lambda: server._connections)
            await until(lambda: bool(server.batcher._passes._under_way))
            for connection in list(server._connections):
                assert connection._transport is not None
                connection._transport.abort()
            await until(lambda: not remote.ready)
        async with engine(path, second):  # type: ignore[arg-type]
            assert firsts(await ticket) == [1 / 9, 1 / 2]


def classifier(model: StoredModel, engine: HandEngine, *, cache: bool = True, timeout: float = 5.0) -> Classifier:
    bounds = ClassifierLimits(100_000, 10_000, timeout)
    return Classifier(model, load_tokenizer(model), engine, bounds, MemoryCache(1000) if cache else None)


LONG = [" ".join(["good", "film"] * (1 + index % 7) + [f"w{index}"]) for index in range(3 * MOST_TEXTS)]


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
    while len(engine.texts) < len(LONG):  # noqa: ASYNC110 - no event says so
        await asyncio.sleep(0)
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
    while len(engine.waiting) < len(LONG):  # noqa: ASYNC110 - no event says so
        await asyncio.sleep(0)
    half, engine.waiting = engine.waiting[:MOST_TEXTS], engine.waiting[MOST_TEXTS:]
    for ticket, ids in zip(half, engine.texts, strict=False):
        ticket.set_result(Scores((1 / len(ids), 1 - 1 / len(ids))))
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
    outcomes = await shared.classify(LONG[:LONG_REQUEST], timeout=0.02)
    assert all(isinstance(outcome, DeadlineError) for outcome in outcomes)
    gone = asyncio.create_task(shared.classify(LONG[:LONG_REQUEST]))
    await until(lambda: len(engine.waiting) == 2 * LONG_REQUEST)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    assert all(ticket.cancelled() for ticket in engine.waiting)


async def test_texts_of_a_long_request_fail_as_the_engine_says(tiny_model: StoredModel) -> None:
    """One whose numbers are not finite fails alone; a failed table fails with its error."""
    engine = HandEngine()
    shared = classifier(tiny_model, engine)
    call = asyncio.create_task(shared.classify(LONG[:LONG_REQUEST]))
    while len(engine.waiting) < LONG_REQUEST:  # noqa: ASYNC110 - no event says so
        await asyncio.sleep(0)
    engine.waiting[4].set_exception(InferenceError("on purpose"))
    engine.compute()
    assert [index for index, one in enumerate(await call) if isinstance(one, InferenceError)] == [4]
    call = asyncio.create_task(shared.classify(LONG[LONG_REQUEST : 2 * LONG_REQUEST]))
    while len(engine.waiting) < LONG_REQUEST:  # noqa: ASYNC110 - no event says so
        await asyncio.sleep(0)
    for ticket in engine.waiting:
        ticket.set_exception(EngineUnavailableError("gone"))
    assert all(isinstance(one, EngineUnavailableError) for one in await call)


class ThreadRecorder(TableRecorder):
    """Remembers in which threads single texts were computed."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[bool] = []

    def predict(self, batch: Sequence[TokenIds[int]]) -> list[Scores]:
        self.threads.append(threading.current_thread() is threading.main_thread())
        return super().predict(batch)


async def test_a_short_batch_is_computed_where_it_arrived() -> None:
    """By the event loop itself, once it is known to be short; not where so many are left that each thread should."""
    recorders = [ThreadRecorder(), ThreadRecorder()]
    batcher = MicroBatcher(lambda: recorders, limits(), inline_seconds=0.5)
    await batcher.start()
    for texts in (1, 1, 4, 20):
        lengths = range(1, texts + 1)
        scores = await asyncio.gather(*batcher.submit([text(length) for length in lengths], FAR))
        assert [score.probabilities[0] for score in scores] == [1 / length for length in lengths]
    at_work = [recorder for recorder in recorders if len(recorder.threads) > 1]
    assert [recorder.threads[:3] for recorder in at_work] == [[False, True, True]]
    assert at_work[0].threads[3] is False
    await batcher.close()


async def test_an_error_of_a_short_batch_fails_it_alone() -> None:
    """As that of any other: after a look whether all fail, the event loop goes on."""
    faults = iter([None, ValueError("on purpose"), None, None])

    class Faulty(TableRecorder):
        def predict(self, batch: Sequence[TokenIds[int]]) -> list[Scores]:
            if (fault := next(faults)) is not None:
                raise fault
            return super().predict(batch)

    batcher = MicroBatcher(lambda: [Faulty()], limits(), inline_seconds=0.5)
    await batcher.start()
    await asyncio.gather(*batcher.submit([text(1)], FAR))
    with pytest.raises(InferenceError):
        await batcher.submit([text(1)], FAR)[0]
    assert (await batcher.submit([text(2)], FAR)[0]).probabilities == (0.5, 0.5)
    await batcher.close()
