"""Worker and engine over a real Unix socket: answers, cancellation, and an engine that dies."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from app import metrics
from app.engine import client as client_module
from app.engine import forward_passes
from app.engine.admission import QueueLimits
from app.engine.batcher import MicroBatcher
from app.engine.client import RemoteEngine
from app.engine.engine_server import EngineServer
from app.engine.interface import ServedModel
from app.engine.queue import BatchLimits
from app.errors import EngineClosedError, EngineUnavailableError, OverloadedError
from app.sentiment import Scores, TokenIds
from tests.engine.test_batcher import FAR, Recorder, apart, batch, firsts, firsts_of, text
from tests.waiting import LIMIT, until

MODEL = ServedModel("tiny/1", "0123456789abcdef")
LIMITS = BatchLimits(8, 10_000, 1.0, QueueLimits(1000, 1_000_000, 1e6))


class Gate:
    """A predictor that waits until it may go on, and counts what it computed."""

    runtime, precision, device = "fake", "float32", "cpu"
    pads = True

    def __init__(self) -> None:
        self.computed = 0
        self.gate = threading.Event()
        self.gate.set()

    def predict(self, batch: Sequence[TokenIds[int]]) -> list[Scores]:
        self.gate.wait(LIMIT)
        self.computed += len(batch)
        if any(len(ids) == 13 for ids in batch):
            raise RuntimeError("on purpose")
        return [Scores((1 / len(ids), 1 - 1 / len(ids)), rating=5.0) for ids in batch]


@asynccontextmanager
async def engine(path: Path, predictor: Gate | Recorder, model: ServedModel = MODEL) -> AsyncIterator[EngineServer]:
    batcher = MicroBatcher(lambda: [predictor], LIMITS)
    await batcher.start()
    server = EngineServer(batcher, model)
    await server.serve(path)
    try:
        yield server
    finally:
        predictor.gate.set()
        await server.close()


@asynccontextmanager
async def linked(
    paths: Sequence[Path], limits: QueueLimits, own: int = 0, spare: Path | None = None
) -> AsyncIterator[RemoteEngine]:
    """What a worker has of the engines at these places."""
    remote = RemoteEngine(paths, limits, MODEL, own, spare)
    starting = asyncio.create_task(remote.start())
    try:
        yield remote
    finally:
        await remote.close()
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)


def worker(path: Path, max_pending: int = 100) -> AbstractAsyncContextManager[RemoteEngine]:
    return linked([path], QueueLimits(max_pending, 10_000, 1e6))


def disconnect(remote: RemoteEngine) -> None:
    """Break the link to the first engine."""
    connection = remote._links[0]._connection
    assert connection is not None
    connection.abort()


def in_flight(server: EngineServer) -> bool:
    return any(connection._tickets for connection in server._connections)


async def test_answers_travel(tmp_path: Path) -> None:
    """Scores come back to the text they belong to, errors as errors, and the engine says what it is."""
    path = tmp_path / "s"
    async with engine(path, Gate()), worker(path) as remote:
        await until(lambda: remote.ready)
        assert (remote.info.runtime, remote.info.precision, remote.info.device) == ("fake", "float32", "cpu")
        assert await firsts_of(apart(remote, [text(length) for length in (5, 2, 9)], FAR)) == [1 / 5, 1 / 2, 1 / 9]
        [scores] = await apart(remote, [text(5)], FAR)[0]
        assert scores == Scores((1 / 5, 4 / 5), 5.0)
        assert await firsts_of(apart(remote, [text(13)], FAR)) == [None]
        assert firsts(await remote.submit(batch(9, 13, 2), FAR)) == [1 / 9, None, 1 / 2]


async def test_what_comes_to_a_closed_link_fails_at_once(tmp_path: Path) -> None:
    """As does what waits there: its model was unloaded, and no engine is going to come back."""
    path, predictor = tmp_path / "s", Gate()
    async with engine(path, predictor), worker(path) as remote:
        await until(lambda: remote.ready)
        predictor.gate.clear()
        waiting = remote.submit(batch(5), FAR)
        await remote.close()
        with pytest.raises(EngineClosedError, match="the model was unloaded"):
            await waiting
        with pytest.raises(EngineClosedError, match="the model was unloaded"):
            remote.admit(1, 1)


async def test_texts_that_nobody_waits_for_are_not_computed(tmp_path: Path) -> None:
    """Cancellations travel, and a worker that disconnects takes its texts along."""
    path, predictor = tmp_path / "s", Gate()
    async with engine(path, predictor) as server, worker(path) as stays:
        async with worker(path) as leaves:
            await until(lambda: stays.ready and leaves.ready)
            predictor.gate.clear()
            [held] = apart(stays, [text(1)], FAR)
            await until(lambda: not server.batcher.queued and in_flight(server))
            gone = apart(stays, [text(length) for length in range(20, 30)], FAR)
            apart(leaves, [text(length) for length in range(30, 40)], FAR)
            await until(lambda: server.batcher.queued == 20)
            for future in gone:
                future.cancel()
            await until(lambda: server.batcher.queued == 10)
        await until(lambda: server.batcher.queued == 0)
        predictor.gate.set()
        await held
    assert predictor.computed == 1


async def test_an_engine_that_dies_is_waited_for_and_texts_are_sent_once_more(tmp_path: Path) -> None:
    """What was in flight is answered by the next engine; readiness is false in between."""
    path = tmp_path / "s"
    async with worker(path) as remote:
        async with engine(path, dying := Gate()) as server:
            await until(lambda: remote.ready)
            dying.gate.clear()
            futures = apart(remote, [text(4), text(5)], FAR)
            await until(lambda: in_flight(server))
            assert server._server is not None
            server._server.close()
            disconnect(remote)
            await until(lambda: not remote.ready)
            late = apart(remote, [text(6)], FAR)
        assert not any(future.done() for future in futures)
        async with engine(path, Gate()):
            assert await asyncio.wait_for(firsts_of([*futures, *late]), LIMIT) == [1 / 4, 1 / 5, 1 / 6]
            assert remote.ready


async def test_a_spare_engine_computes_while_the_other_is_away(tmp_path: Path) -> None:
    """It has nothing to do before and after that. Nobody waits, not even for texts that were with the one that died."""
    regular, spare = Gate(), Gate()
    path, limits = tmp_path / "regular", QueueLimits(100, 10_000, 1e6)
    async with (
        engine(tmp_path / "spare", spare),
        linked([path], limits, spare=tmp_path / "spare") as remote,
        engine(path, regular) as server,
    ):
        await asyncio.wait_for(remote._met.wait(), LIMIT)
        await until(lambda: all(link.ready for link in remote._links))
        assert await firsts_of(apart(remote, [text(3)] * 20, FAR)) == [1 / 3] * 20
        assert (regular.computed, spare.computed) == (20, 0)
        regular.gate.clear()
        held = apart(remote, [text(4), text(5)], FAR)
        await until(lambda: in_flight(server))
        disconnect(remote)
        await until(lambda: not remote._own.ready)
        assert remote.ready
        assert await asyncio.wait_for(firsts_of([*held, *apart(remote, [text(6)], FAR)]), LIMIT) == [
            1 / 4,
            1 / 5,
            1 / 6,
        ]
        assert spare.computed == 3
        regular.gate.set()
        await until(lambda: remote._own.ready)
        assert await firsts_of(apart(remote, [text(7)], FAR)) == [1 / 7]
    assert spare.computed == 3


async def test_a_spare_engine_is_not_waited_for(tmp_path: Path) -> None:
    """A worker begins to serve without it."""
    path, limits = tmp_path / "regular", QueueLimits(100, 10_000, 1e6)
    async with engine(path, Gate()), linked([path], limits, spare=tmp_path / "nothing") as remote:
        await asyncio.wait_for(remote._met.wait(), LIMIT)
        assert await firsts_of(apart(remote, [text(3)], FAR)) == [1 / 3]


async def test_an_engine_with_another_model_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is sent to it, the worker is not ready, log and metric say why, once; the right engine is taken."""
    path, predictor = tmp_path / "s", Gate()
    counted = metrics.MODEL_MISMATCHES.labels("engine")._value
    before = counted.get()
    async with worker(path) as remote:
        async with engine(path, predictor, model=ServedModel("tiny/2", "fedcba9876543210")):
            [waits] = apart(remote, [text(3)], FAR)
            await until(lambda: counted.get() >= before + 1)
            assert not remote.ready
            await until(lambda: counted.get() >= before + 2)
        assert not waits.done()
        assert predictor.computed == 0
        [said] = [record.getMessage() for record in caplog.records if record.levelname == "CRITICAL"]
        assert "tiny/2 (fedcba987654)" in said
        assert "tiny/1 (0123456789ab)" in said
        async with engine(path, Gate()):
            assert await asyncio.wait_for(firsts_of([waits]), LIMIT) == [1 / 3]
            assert remote.ready


async def test_a_text_that_kills_engines_is_given_up(tmp_path: Path) -> None:
    """A text on which two engines died is not sent to a third."""
    path = tmp_path / "s"
    async with worker(path) as remote:
        future = None
        for _ in range(2):
            dying = Gate()
            dying.gate.clear()
            async with engine(path, dying) as server:
                await until(lambda: remote.ready)
                if future is None:
                    [future] = apart(remote, [text(4)], FAR)
                await until(partial(in_flight, server))
                assert server._server is not None
                server._server.close()
                disconnect(remote)
                await until(lambda: not remote.ready)
        async with engine(path, Gate()):
            assert future is not None
            with pytest.raises(EngineUnavailableError):
                await asyncio.wait_for(future, LIMIT)


async def test_pending_texts_are_bounded(tmp_path: Path) -> None:
    """A worker without an engine keeps so many texts and tokens waiting and refuses the rest."""
    async with worker(tmp_path / "s", max_pending=3) as remote:
        waiting = apart(remote, [text(1)] * 2, FAR)
        with pytest.raises(OverloadedError):
            remote.admit(2, 2)
        with pytest.raises(OverloadedError):
            remote.admit(1, 10_000)
        with pytest.raises(EngineUnavailableError):
            _ = remote.info
        for future in waiting:
            future.cancel()
        await asyncio.sleep(0)
        remote.admit(3, 10_000)
        assert not remote._tokens


async def test_a_worker_knows_how_long_the_queue_of_all_is(tmp_path: Path) -> None:
    """The wait behind the texts of other workers counts, and a refusal says how long they take."""
    path, predictor = tmp_path / "s", Gate()
    async with engine(path, predictor) as server, worker(path, 1000) as one, worker(path, 1000) as two:
        await until(lambda: one.ready and two.ready)
        predictor.gate.clear()
        futures = apart(one, [text(length) for length in range(1, 101)], FAR)
        await until(lambda: server.batcher.queued == 92)
        server.batcher._rate.texts_per_second = 4.0
        two._limits = QueueLimits(1000, 10_000, 20.0)
        await until(lambda: two._others >= 92)
        with pytest.raises(OverloadedError) as refused:
            two.admit(1, 1)
        assert refused.value.retry_after == pytest.approx(23)
        assert two.drain_seconds(8) == pytest.approx(25)
        for future in futures:
            future.cancel()


async def test_a_silent_engine_is_not_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connected is not enough: without signs of life readiness goes, and comes back with them. New texts are refused
    once that takes too long."""
    monkeypatch.setattr(client_module, "_PATIENCE_SECONDS", LIMIT)
    path = tmp_path / "s"
    async with engine(path, Gate()) as server, worker(path) as remote:
        await until(lambda: remote.ready)
        assert server._beats is not None
        server._beats.cancel()
        await until(lambda: not remote.ready)
        remote.admit(1, 1)
        monkeypatch.setattr(client_module, "_PATIENCE_SECONDS", 0.0)
        with pytest.raises(EngineUnavailableError):
            remote.admit(1, 1)
        server._beats = asyncio.create_task(server._beat())
        await until(lambda: remote.ready)
        remote.admit(1, 1)


async def test_an_engine_whose_forward_pass_hangs_is_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that lives and computes nothing gives no signs of life."""
    monkeypatch.setattr(forward_passes, "_LATE_SECONDS", 0.1)
    path, predictor = tmp_path / "s", Gate()
    async with engine(path, predictor), worker(path) as remote:
        await until(lambda: remote.ready)
        predictor.gate.clear()
        [held] = apart(remote, [text(1)], FAR)
        await until(lambda: not remote.ready)
        predictor.gate.set()
        await held
        await until(lambda: remote.ready)


async def test_after_a_stall_cancellations_are_heard_first(tmp_path: Path) -> None:
    """Texts that arrive late, and are given up right behind, are not computed."""
    path, predictor = tmp_path / "s", Gate()
    async with engine(path, predictor), worker(path) as remote:
        await until(lambda: remote.ready)
        texts = [text(length) for length in range(20, 60)]
        futures = apart(remote, texts, FAR)
        await asyncio.sleep(0)
        time.sleep(0.2)  # noqa: ASYNC251 - the stall: engine and worker share this event loop
        for future in futures[:20]:
            future.cancel()
        await asyncio.gather(*futures[20:])
    assert predictor.computed == 20


async def test_late_texts_are_computed_where_nothing_stood_still(tmp_path: Path) -> None:
    """Under overload a worker's frames are late, and the engine has no time to lose."""
    async with engine(tmp_path / "s", Gate()) as server:
        await asyncio.sleep(0.2)
        server.heard(time.monotonic() - 1.0)
        assert server.batcher._resume_at == 0.0
        sent = time.monotonic()
        time.sleep(0.2)  # noqa: ASYNC251 - the stall
        server.heard(sent)
        assert server.batcher._resume_at > time.monotonic()


async def test_many_texts_of_one_turn_leave_before_its_end(tmp_path: Path) -> None:
    """In several frames, so that the engine has something to do while the worker is busy; few texts leave together."""
    path = tmp_path / "s"
    async with engine(path, Gate()), worker(path, max_pending=100) as remote:
        await until(lambda: remote.ready)
        connection, sent = remote._own._connection, list[int]()
        assert connection is not None
        write = connection.write

        def noting(data: bytes) -> None:
            sent.append(len(data))
            write(data)

        connection.write = noting  # type: ignore[method-assign]
        small = apart(remote, [text(5)] * 3, FAR)
        assert not sent
        assert await firsts_of(small) == [1 / 5] * 3
        assert len(sent) == 1
        large = apart(remote, [text(5_000)] * 5, FAR)
        assert len(sent) == 3
        assert await firsts_of(large) == [1 / 5_000] * 5
        assert len(sent) == 4


async def test_rubbish_on_the_socket_disconnects_the_sender_only(tmp_path: Path) -> None:
    """A peer that speaks no frames is cut off; the others go on."""
    path = tmp_path / "s"
    async with engine(path, Gate()), worker(path) as remote:
        await until(lambda: remote.ready)
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"\xff" * 64)
        await asyncio.wait_for(reader.read(), LIMIT)
        writer.close()
        assert await firsts_of(apart(remote, [text(2)], FAR)) == [0.5]
