"""Texts that were submitted together: computed and answered together, whatever the predictor, and mixed with others."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from app.engine.batcher import MicroBatcher
from app.engine.ticket import Ticket
from app.errors import DeadlineError, EngineUnavailableError
from app.sentiment import Scores, TokenIds
from tests.engine.test_batcher import (
    FAR,
    Recorder,
    apart,
    batch,
    batches_of,
    busy,
    firsts,
    firsts_of,
    limits,
    running,
    text,
)
from tests.engine.test_client import engine, worker
from tests.waiting import LIMIT, until


class Unpadded(Recorder):
    """A ``Recorder`` that reads texts of unlike lengths as they are."""

    pads = False


@pytest.mark.parametrize("recorder", [Recorder(), Unpadded()], ids=["padded", "as it is"])
async def test_texts_have_their_scores_in_order(recorder: Recorder) -> None:
    """Beyond the bounds of a batch too."""
    async with running(recorder) as batcher:
        for lengths in ([9, 2, 5], [9, 2, 5, 7, 3, 300, 900, 1], [5]):
            assert firsts(await batcher.submit(batch(*lengths), FAR)) == [1 / length for length in lengths]
    assert all(len(computed) <= 4 for computed in recorder.batches)


async def test_what_was_submitted_together_is_one_batch() -> None:
    """Where nothing is padded, it is computed as it came."""
    recorder = Unpadded()
    async with running(recorder) as batcher:
        await batcher.submit(batch(900, 2, 50), FAR)
    assert recorder.batches == [[900, 2, 50]]


async def test_all_share_batches_by_age_where_nothing_is_padded() -> None:
    """Single texts and lists, oldest first; what fits no more waits for the next batch."""
    recorder = Unpadded()
    async with running(recorder) as batcher:
        held = await busy(batcher, recorder)
        waiting: list[Ticket] = [batcher.submit(batch(4, 4), FAR), *apart(batcher, [text(1), text(300)], FAR)]
        waiting += [batcher.submit(batch(5, 5, 5), FAR), *apart(batcher, [text(2)], FAR)]
        assert batcher.queued == 8
        recorder.gate.set()
        await asyncio.gather(held, *waiting)
    assert [sorted(computed) for computed in recorder.batches] == [[1], [1, 4, 4, 300], [2, 5, 5, 5]]


async def test_texts_of_a_predictor_that_does_not_pad_go_by_age() -> None:
    """Where unlike lengths cost nothing, nobody is passed over for a better neighbour."""
    batches = await batches_of(Unpadded(), [100, 8, 101, 9, 102, 10, 103, 11])
    assert [sorted(computed) for computed in batches] == [[1], [8, 9, 100, 101], [10, 11, 102, 103]]


async def test_the_next_list_is_with_the_thread_before_the_last_is_done() -> None:
    """The thread goes on without the event loop."""
    recorder = Unpadded()
    async with running(recorder, max_batch_size=16) as batcher:
        recorder.gate.clear()
        tickets = [batcher.submit(batch(*[length] * 16), FAR) for length in (4, 5, 6)]
        await until(lambda: batcher.queued == 16)
        recorder.gate.set()
        end = time.monotonic() + LIMIT
        while len(recorder.batches) < 2 and time.monotonic() < end:
            time.sleep(0.001)  # noqa: ASYNC251 - the event loop is to do nothing
        assert recorder.batches == [[4] * 16, [5] * 16]
        await asyncio.gather(*tickets)


async def test_every_thread_takes_of_a_long_list() -> None:
    """Also where single texts would be left to one of them."""
    recorders = [Unpadded(), Unpadded()]
    batcher = MicroBatcher(lambda: recorders, limits(max_batch_size=16))
    await batcher.start()
    await firsts_of(apart(batcher, [text(1)], FAR))  # and the cost of a text is known
    for recorder in recorders:
        recorder.gate.clear()
    tickets = [batcher.submit(batch(*[length] * 16), FAR) for length in range(2, 6)]
    await until(lambda: not batcher.queued)
    for recorder in recorders:
        recorder.gate.set()
    await asyncio.gather(*tickets)
    assert all([2] * 16 in recorder.batches or [3] * 16 in recorder.batches for recorder in recorders)
    await batcher.close()


@pytest.mark.parametrize("recorder", [Recorder(), Unpadded()], ids=["padded", "as it is"])
async def test_what_nobody_waits_for_is_not_computed(recorder: Recorder) -> None:
    """Texts that were given up leave the queue, and those whose deadline has passed fail with that."""
    async with running(recorder) as batcher:
        held = await busy(batcher, recorder)
        given_up, late = batcher.submit(batch(4, 4), FAR), batcher.submit(batch(6, 7), 0.0)
        given_up.cancel()
        assert batcher.queued == 2
        recorder.gate.set()
        with pytest.raises(DeadlineError):
            await late
        await held
        assert batcher.queued == 0
    assert recorder.batches == [[1]]


@pytest.mark.parametrize("pads", [True, False])
async def test_faults_stay_with_their_texts(pads: bool) -> None:
    """A batch that fails, or is beyond the memory, is computed in parts, of which one may fail alone."""

    def fault(texts: Sequence[TokenIds[int]]) -> None:
        if len(texts) > 1:
            raise MemoryError
        if len(texts[0]) in (7, 9):
            raise RuntimeError("on purpose")

    recorder = Recorder(fault)
    recorder.pads = pads
    async with running(recorder) as batcher:
        assert firsts(await batcher.submit(batch(3, 4), FAR)) == [1 / 3, 1 / 4]
        assert firsts(await batcher.submit(batch(2, 7, 4), FAR)) == [1 / 2, None, 1 / 4]
        assert firsts(await batcher.submit(batch(7, 9), FAR)) == [None, None]
        assert firsts(await batcher.submit(batch(5), FAR)) == [1 / 5]


async def test_lists_are_answered_over_a_socket(tmp_path: Path) -> None:
    """Scores come back, those of other texts too; a worker that leaves takes its texts along."""
    path, recorder = tmp_path / "s", Unpadded()
    async with engine(path, recorder) as server:
        async with worker(path) as remote:
            await until(lambda: remote.ready)
            whole, single = remote.submit(batch(9, 2), FAR), remote.submit(batch(5), FAR)
            assert firsts(await whole) == [1 / 9, 1 / 2]
            assert firsts(await single) == [1 / 5]
            recorder.gate.clear()
            first = remote.submit(batch(3), FAR)
            await until(lambda: bool(server.batcher._passes._under_way) and not server.batcher.queued)
            given_up = [remote.submit(batch(*lengths), FAR) for lengths in ([4, 4], [7, 7, 7])]
            await until(lambda: server.batcher.queued == 5)
            for ticket in given_up:
                ticket.cancel()
            await until(lambda: server.batcher.queued == 0)
            left = [remote.submit(batch(*lengths), FAR) for lengths in ([6, 6], [8, 8, 8])]
            await until(lambda: server.batcher.queued == 5)
        await until(lambda: server.batcher.queued == 0)
        recorder.gate.set()
        for ticket in (first, *left):
            with pytest.raises(EngineUnavailableError):
                await ticket
    assert [9, 2] in recorder.batches or recorder.batches[0] == [2, 5, 9] or [5, 9, 2] in recorder.batches
    assert recorder.batches[-1] == [3]


async def test_texts_in_flight_are_sent_once_more_to_the_next_engine(tmp_path: Path) -> None:
    """An engine that dies on them is not the end of it."""
    path, first, second = tmp_path / "s", Unpadded(), Unpadded()
    first.gate.clear()
    async with worker(path) as remote:
        async with engine(path, first) as server:
            await until(lambda: remote.ready)
            ticket = remote.submit(batch(9, 2), FAR)
            await until(lambda: bool(server.batcher._passes._under_way))
            for connection in list(server._connections):
                assert connection._transport is not None
                connection._transport.abort()
            await until(lambda: not remote.ready)
        async with engine(path, second):
            assert firsts(await ticket) == [1 / 9, 1 / 2]


class ThreadRecorder(Unpadded):
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
        found = await firsts_of(apart(batcher, [text(length) for length in lengths], FAR))
        assert found == [1 / length for length in lengths]
    at_work = [recorder for recorder in recorders if len(recorder.threads) > 1]
    assert [recorder.threads[:3] for recorder in at_work] == [[False, True, True]]
    assert at_work[0].threads[3] is False
    await batcher.close()


async def test_an_error_of_a_short_batch_fails_it_alone() -> None:
    """As that of any other: after a look whether all fail, the event loop goes on."""
    faults = iter([None, ValueError("on purpose"), None, None])

    class Faulty(Unpadded):
        def predict(self, batch: Sequence[TokenIds[int]]) -> list[Scores]:
            if (fault := next(faults)) is not None:
                raise fault
            return super().predict(batch)

    batcher = MicroBatcher(lambda: [Faulty()], limits(), inline_seconds=0.5)
    await batcher.start()
    for length, expected in ((1, 1.0), (1, None), (2, 0.5)):
        assert await firsts_of(apart(batcher, [text(length)], FAR)) == [expected]
    await batcher.close()
