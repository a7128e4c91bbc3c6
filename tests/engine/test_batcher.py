"""The micro-batcher: what is drawn when, and what becomes of texts that fail, expire or are given up."""

from __future__ import annotations

import asyncio
import threading
import time
from array import array
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import metrics
from app.engine import forward_passes
from app.engine.admission import QueueLimits
from app.engine.batcher import MicroBatcher
from app.engine.interface import Engine
from app.engine.queue import BatchLimits, Entry, LengthQueue, Part
from app.engine.ticket import Ticket
from app.errors import DeadlineError, EngineUnavailableError, OverloadedError
from app.sentiment import BatchScores, Scores, TextBatch, TokenIds
from tests.waiting import LIMIT, until

FAR = 1e12


def text(length: int) -> TokenIds[int]:
    return array("i", [2]) * length


def batch(*lengths: int) -> TextBatch:
    """Texts of these lengths, to be submitted together."""
    return TextBatch(text(sum(lengths)), list(lengths))


def apart(engine: Engine, texts: Sequence[TokenIds[int]], deadline: float) -> list[Ticket]:
    """Submit texts one by one, each a batch of its own."""
    return [engine.submit(TextBatch(ids, [len(ids)]), deadline) for ids in texts]


def firsts(scores: BatchScores) -> list[float | None]:
    """The first probability of each text; None where it has no scores."""
    return [row and row.probabilities[0] for row in scores]


async def firsts_of(tickets: Sequence[Ticket]) -> list[float | None]:
    return [first for scores in await asyncio.gather(*tickets) for first in firsts(scores)]


class Recorder:
    """A predictor that scores a text by its length, remembers batches, and can be held, or made to fail."""

    runtime, precision, device = "fake", "float32", "cpu"
    pads = True

    def __init__(self, fault: Callable[[Sequence[TokenIds[int]]], None] = lambda batch: None) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self._fault = fault

    def predict(self, batch: Sequence[TokenIds[int]]) -> list[Scores]:
        self.gate.wait(LIMIT)
        self.batches.append([len(ids) for ids in batch])
        self._fault(batch)
        return [Scores((1 / len(ids), 1 - 1 / len(ids))) for ids in batch]


def limits(**changes: float) -> BatchLimits:
    batch = {"max_batch_size": 4, "max_batch_tokens": 1000, "max_batch_age": 60.0}
    queue = {"max_texts": 100, "max_tokens": 10_000, "max_seconds": 1e6}
    queue |= {name: value for name, value in changes.items() if name in queue}
    batch |= {name: value for name, value in changes.items() if name in batch}
    return BatchLimits(**batch, queue=QueueLimits(**queue))  # type: ignore[arg-type]


@asynccontextmanager
async def running(recorder: Recorder, **changes: float) -> AsyncIterator[MicroBatcher]:
    batcher = MicroBatcher(lambda: [recorder], limits(**changes))
    await batcher.start()
    try:
        yield batcher
    finally:
        recorder.gate.set()
        await batcher.close()


async def busy(batcher: MicroBatcher, recorder: Recorder) -> Ticket:
    """Hold the device with one text, so that what follows has to queue."""
    recorder.gate.clear()
    future = apart(batcher, [text(1)], FAR)[0]
    while batcher.queued:  # noqa: ASYNC110 - no event says so
        await asyncio.sleep(0)
    return future


async def batches_of(recorder: Recorder, lengths: Sequence[int]) -> list[list[int]]:
    """Batches that texts make which arrive while the device is busy with another."""
    async with running(recorder) as batcher:
        held = await busy(batcher, recorder)
        futures = apart(batcher, [text(length) for length in lengths], FAR)
        recorder.gate.set()
        await asyncio.gather(held, *futures)
    return recorder.batches


async def test_every_text_gets_its_own_score() -> None:
    """Futures resolve with the score of the text they belong to, whatever the order in the batch."""
    async with running(Recorder()) as batcher:
        lengths = [9, 2, 7, 2, 30, 1]
        found = await firsts_of(apart(batcher, [text(length) for length in lengths], FAR))
        assert found == [1 / length for length in lengths]


async def test_batches_form_while_the_device_is_busy() -> None:
    """Texts that arrive during a forward pass go out together in the next, neighbours in length first."""
    batches = await batches_of(Recorder(), [100, 8, 101, 9, 102, 10, 103, 11])
    assert batches == [[1], [100, 101, 102, 103], [8, 9, 10, 11]]


def burn(seconds: float) -> Callable[[Sequence[TokenIds[int]]], None]:
    """A forward pass that costs a core so much, whatever else it does meanwhile."""

    def work(_: Sequence[TokenIds[int]]) -> None:
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            pass

    return work


@asynccontextmanager
async def held_pair(seconds: float = 0.0) -> AsyncIterator[tuple[MicroBatcher, list[Recorder]]]:
    """Two threads that know what a text costs, and compute nothing more before the end of the block."""
    recorders = [Recorder(burn(seconds)), Recorder(burn(seconds))]
    batcher = MicroBatcher(lambda: recorders, limits())
    await batcher.start()
    await asyncio.gather(*apart(batcher, [text(1)], FAR))
    for recorder in recorders:
        recorder.gate.clear()
    try:
        yield batcher, recorders
    finally:
        for recorder in recorders:
            recorder.gate.set()
        await batcher.close()


@pytest.mark.parametrize(("seconds", "more", "at_work"), [(0.0, 15, 1), (0.0, 16, 2), (0.02, 1, 2)])
async def test_another_thread_begins_where_texts_are_worth_it(seconds: float, more: int, at_work: int) -> None:
    """Where texts cost little, only when four batches wait; the thread at work takes what is less."""
    async with held_pair(seconds) as (batcher, recorders):
        tickets = [*apart(batcher, [text(2)], FAR)]
        await asyncio.sleep(0.01)
        tickets += apart(batcher, [text(3)] * more, FAR)
        await asyncio.sleep(0.01)
        waiting = batcher.queued
    await asyncio.gather(*tickets)
    assert waiting == (max(0, more - 4) if at_work == 2 else more)
    assert sum(len(batch) for recorder in recorders for batch in recorder.batches) == 2 + more


async def test_a_thread_that_was_not_woken_takes_what_a_batch_has_left() -> None:
    """Of so many texts that came together that each thread should, the first batch leaves the others."""
    async with held_pair() as (batcher, _):
        tickets = apart(batcher, [text(2)] * 20, FAR)
        await asyncio.sleep(0.01)
        waiting = batcher.queued
    await asyncio.gather(*tickets)
    assert waiting == 20 - 2 * 4


async def test_old_texts_are_not_passed_over() -> None:
    """Beyond the age cap texts go by age, not by length."""
    recorder = Recorder()
    async with running(recorder, max_batch_age=0.0, max_batch_size=2) as batcher:
        held = await busy(batcher, recorder)
        futures = apart(batcher, [text(length) for length in (100, 8, 101, 9)], FAR)
        await asyncio.sleep(0.01)
        recorder.gate.set()
        await asyncio.gather(held, *futures)
    assert recorder.batches == [[1], [8, 100], [9, 101]]


async def test_token_budget_bounds_a_batch() -> None:
    """The number of texts times the longest stays within the budget; a single longer text still goes alone."""
    recorder = Recorder()
    async with running(recorder, max_batch_tokens=100, max_batch_size=50) as batcher:
        held = await busy(batcher, recorder)
        futures = apart(batcher, [text(30)] * 5 + [text(300)], FAR)
        recorder.gate.set()
        await asyncio.gather(held, *futures)
    assert all(len(batch) == 1 or len(batch) * max(batch) <= 100 for batch in recorder.batches)
    assert sum(map(len, recorder.batches)) == 7


@pytest.mark.parametrize(("texts", "tokens"), [(2, 2), (1, 91)])
async def test_a_full_queue_refuses(texts: int, tokens: int) -> None:
    """Over the bound of texts or tokens the caller learns when to come back; below it there is room."""
    recorder = Recorder()
    async with running(recorder, max_texts=3, max_tokens=100) as batcher:
        held = await busy(batcher, recorder)
        batcher.admit(1000, 100_000)
        kept = apart(batcher, [text(5)] * 2, FAR)
        with pytest.raises(OverloadedError) as refused:
            batcher.admit(texts, tokens)
        assert refused.value.retry_after == 1
        batcher.admit(1, 90)
        recorder.gate.set()
        await asyncio.gather(held, *kept)


async def test_a_long_expected_wait_refuses() -> None:
    """Once the rate is known, what would wait longer than the limit is refused, with the time in which the queue
    drains; a single batch does not tell the rate."""
    recorder = Recorder(fault=lambda _: time.sleep(0.2))
    async with running(recorder, max_seconds=5.0, max_texts=1000) as batcher:
        await asyncio.gather(*apart(batcher, [text(5)], FAR))
        assert not batcher.texts_per_second
        await asyncio.gather(*apart(batcher, [text(5)] * 8, FAR))
        assert 0 < batcher.texts_per_second <= 20
        waiting = apart(batcher, [text(5)] * 60, FAR)
        with pytest.raises(OverloadedError) as refused:
            batcher.admit(60, 60)
        assert refused.value.retry_after == pytest.approx(60 / batcher.texts_per_second)
        assert batcher.drain_seconds(60) == pytest.approx(120 / batcher.texts_per_second)
        for future in waiting:
            future.cancel()


async def test_a_forward_pass_that_does_not_end_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine counts as hung while a batch takes far longer than any before, and no longer."""
    monkeypatch.setattr(forward_passes, "_LATE_SECONDS", LIMIT)
    recorder = Recorder()
    async with running(recorder) as batcher:
        assert not batcher.hung
        held = await busy(batcher, recorder)
        assert not batcher.hung
        monkeypatch.setattr(forward_passes, "_LATE_SECONDS", 0.01)
        await until(lambda: batcher.hung)
        assert not batcher.ready
        recorder.gate.set()
        await held
        assert batcher.ready


async def test_a_crashed_predictor_task_is_noticed() -> None:
    """A defect in the batcher itself does not leave callers waiting for ever: whoever runs it is told."""
    async with running(Recorder()) as batcher:
        batcher._observe = None  # type: ignore[assignment]
        [future] = apart(batcher, [text(1)], FAR)
        await asyncio.wait_for(batcher.crashed(), LIMIT)
        assert not batcher.ready
        assert not future.done()


async def test_nothing_is_drawn_while_cancellations_are_awaited() -> None:
    """Texts that are given up meanwhile are never computed."""
    recorder = Recorder()
    async with running(recorder) as batcher:
        batcher.pause_until(time.monotonic() + 0.3)
        kept, gone = apart(batcher, [text(1), text(2)], FAR)
        await asyncio.sleep(0.05)
        gone.cancel()
        await kept
    assert recorder.batches == [[1]]


async def test_a_cancelled_text_is_not_computed_and_harms_nobody() -> None:
    """A caller who is gone takes its text along; the neighbours in the queue get their scores."""
    recorder = Recorder()
    async with running(recorder) as batcher:
        held = await busy(batcher, recorder)
        gone, stays = apart(batcher, [text(6), text(7)], FAR)
        gone.cancel()
        await asyncio.sleep(0)
        assert batcher.queued == 1
        recorder.gate.set()
        await asyncio.gather(held, stays)
    assert recorder.batches == [[1], [7]]


async def test_a_late_text_is_not_computed() -> None:
    """A text whose deadline passed in the queue fails without costing a forward pass."""
    recorder = Recorder()
    async with running(recorder) as batcher:
        held = await busy(batcher, recorder)
        late = apart(batcher, [text(6)], time.monotonic() - 1)[0]
        on_time = apart(batcher, [text(7)], FAR)[0]
        recorder.gate.set()
        with pytest.raises(DeadlineError):
            await late
        await asyncio.gather(held, on_time)
    assert recorder.batches == [[1], [7]]


async def test_exhausted_memory_splits_the_batch() -> None:
    """Halves are retried until they fit; only a text that does not fit alone fails."""

    def fault(batch: Sequence[TokenIds[int]]) -> None:
        if len(batch) > 1 or len(batch[0]) == 13:
            raise MemoryError

    recorder = Recorder(fault)
    async with running(recorder) as batcher:
        held = await busy(batcher, recorder)
        futures = apart(batcher, [text(length) for length in (11, 12, 13, 14)], FAR)
        recorder.gate.set()
        results = await firsts_of([held, *futures])
    assert [result is None for result in results] == [False, False, False, True, False]


async def test_a_model_error_fails_its_batch_alone(caplog: pytest.LogCaptureFixture) -> None:
    """The batch gets no scores, one traceback is logged, and the next batch is computed."""

    def fault(batch: Sequence[TokenIds[int]]) -> None:
        if len(batch[0]) == 13:
            raise RuntimeError("secret detail")

    async with running(Recorder(fault)) as batcher:
        assert await firsts_of(apart(batcher, [text(13)], FAR)) == [None]
        assert await firsts_of(apart(batcher, [text(4)], FAR)) == [0.25]
        assert batcher.ready
    assert len([record for record in caplog.records if record.exc_info]) == 1


async def test_a_text_that_fails_takes_no_other_along(caplog: pytest.LogCaptureFixture) -> None:
    """Wherever in a batch it is; and however often it comes back, the predictor is not given up for it."""

    def fault(batch: Sequence[TokenIds[int]]) -> None:
        if any(len(ids) == 13 for ids in batch):
            raise RuntimeError("on purpose")

    recorder = Recorder(fault)
    async with running(recorder) as batcher:
        held = await busy(batcher, recorder)
        futures = apart(batcher, [text(length) for length in (13, 12, 11, 14)], FAR)
        recorder.gate.set()
        results = await firsts_of([held, *futures])
        assert [result is None for result in results] == [False, True, False, False, False]
        for _ in range(8):
            assert await firsts_of(apart(batcher, [text(13)], FAR)) == [None]
        assert batcher.ready
    assert len([record for record in caplog.records if record.exc_info]) == 9


@pytest.mark.parametrize("scores", [None, (float("nan"), float("nan"))], ids=["errors", "not finite"])
@pytest.mark.parametrize("texts", [1, 4])
async def test_a_predictor_that_fails_on_everything_is_given_up(
    monkeypatch: pytest.MonkeyPatch, scores: tuple[float, float] | None, texts: int
) -> None:
    """Whoever runs the batcher is told, and nobody is told that his text was at fault: another engine may have it."""
    monkeypatch.setattr(forward_passes, "_TRIAL_SECONDS", 0.0)
    dead = metrics.INFERENCE_ERRORS.labels("dead")._value
    before = dead.get()

    class Breaking(Recorder):
        broken = False

        def predict(self, batch: Sequence[TokenIds[int]]) -> list[Scores]:
            computed = super().predict(batch)
            if not self.broken:
                return computed
            if scores is None:
                raise RuntimeError("CUDA error")
            return [Scores(scores)] * len(batch)

    recorder = Breaking()
    async with running(recorder) as batcher:
        await asyncio.gather(*apart(batcher, [text(5)], FAR))
        recorder.broken = True
        futures = apart(batcher, [text(length + 2) for length in range(texts)], FAR)
        await asyncio.wait_for(batcher.crashed(), LIMIT)
        assert not batcher.ready
        assert not any(future.done() for future in futures)
    assert recorder.batches[-3:] == [[5]] * 3, "the text that was computed last"
    assert dead.get() == before + 1


async def test_a_score_that_is_not_finite_fails_alone() -> None:
    """A text with a broken score has none, its neighbour in the batch is not."""

    class Broken(Recorder):
        def predict(self, batch: Sequence[TokenIds[int]]) -> list[Scores]:
            return [Scores((float("nan"),) * 2 if len(ids) == 13 else (0.5, 0.5)) for ids in batch]

    async with running(Broken()) as batcher:
        assert await firsts_of(apart(batcher, [text(13), text(12)], FAR)) == [None, 0.5]


async def test_a_missing_score_is_noticed() -> None:
    """Where a predictor returns fewer scores than texts no answer is shifted: each is computed alone."""

    class Short(Recorder):
        def predict(self, batch: Sequence[TokenIds[int]]) -> list[Scores]:
            return super().predict(batch)[: 1 if len(batch) == 2 else None]

    async with running(Short()) as batcher:
        assert await firsts_of(apart(batcher, [text(1), text(2)], FAR)) == [1, 1 / 2]


async def test_close_computes_what_is_queued_and_refuses_the_rest() -> None:
    """Everything admitted is answered; texts that come later are not accepted."""
    recorder = Recorder()
    batcher = MicroBatcher(lambda: [recorder], limits())
    await batcher.start()
    futures = apart(batcher, [text(length) for length in range(1, 12)], FAR)
    await batcher.close()
    assert all(future.done() and not future.exception() for future in futures)
    assert not batcher.ready
    with pytest.raises(EngineUnavailableError):
        apart(batcher, [text(1)], FAR)


@given(st.lists(st.tuples(st.integers(1, 60), st.booleans()), max_size=40))
def test_length_queue_loses_and_repeats_nothing(operations: list[tuple[int, bool]]) -> None:
    """Whatever is added and removed: by age and by length the same texts are there, each once."""
    queue = LengthQueue(by_length=True)
    expected: list[Part] = []
    for length, remove in operations:
        if remove and expected:
            part = expected.pop(length % len(expected))
            assert queue.remove(part)
            assert not queue.remove(part)
        else:
            part = Part(Entry(1, FAR, 0.0, lambda _: None), 0, [text(length)], [length])
            queue.add(part)
            expected.append(part)
    assert list(queue.by_age(100)) == expected
    assert (queue.texts, queue.tokens) == (len(expected), sum(part.tokens for part in expected))
    assert queue.oldest() is (expected[0] if expected else None)
    if expected:
        found = list(queue.neighbours(expected[0]))
        assert sorted(map(id, found)) == sorted(map(id, expected))
