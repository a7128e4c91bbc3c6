"""A worker and several engines of its model: who gets texts, and what becomes of them when an engine dies or hangs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest

from app import metrics
from app.engine import client as client_module
from app.engine.admission import QueueLimits
from app.engine.client import RemoteEngine, chosen
from app.engine.engine_server import EngineServer
from app.errors import EngineUnavailableError, OverloadedError
from tests.engine.test_batcher import FAR, apart, firsts_of, text
from tests.engine.test_client import Gate, engine, in_flight, linked
from tests.waiting import LIMIT, until


def link(load: int, *, ready: bool = True) -> SimpleNamespace:
    return SimpleNamespace(load=load, ready=ready)


@pytest.mark.parametrize(
    ("loads", "place"),
    [
        ((0,), 0),
        ((5_000,), 0),
        ((0, 0), 0),
        ((8, 0), 0),
        ((9, 0), 1),
        ((133, 100), 0),
        ((134, 100), 1),
        ((1_258, 1_000, 1_000), 0),
        ((1_259, 1_000, 1_000), 1),
        ((20, 7, 3, 9), 2),
        ((20, 3, 3), 1),
    ],
)
def test_the_own_group_first_unless_it_has_clearly_more(loads: Sequence[int], place: int) -> None:
    """A quarter and eight texts more than the least loaded one are too many; among equals the nearest one is taken."""
    links = [link(load) for load in loads]
    assert chosen(links) is links[place]


def test_who_does_not_answer_gets_nothing() -> None:
    """However little it has; where nobody answers, nobody gets anything."""
    away, busy, other = link(0, ready=False), link(500), link(100)
    assert chosen([away, busy, other]) is other
    assert chosen([busy, away]) is busy
    assert chosen([away]) is None


def worker(paths: Sequence[Path], own: int = 0, max_pending: int = 1_000) -> AbstractAsyncContextManager[RemoteEngine]:
    return linked(paths, QueueLimits(max_pending, 1_000_000, 20.0), own)


def all_ready(remote: RemoteEngine) -> bool:
    return all(each.ready for each in remote._links)


def kill(server: EngineServer) -> None:
    """As the operating system does for a process that dies: nobody listens any more, and connections break."""
    assert server._server is not None
    server._server.close()
    for connection in list(server._connections):
        assert connection._transport is not None
        connection._transport.abort()


async def test_texts_go_to_the_own_engine_and_beyond_a_bound_to_others(tmp_path: Path) -> None:
    """A worker of the second group: while little is under way its own engine computes all, and then both share."""
    paths, gates = [tmp_path / "0", tmp_path / "1"], [Gate(), Gate()]
    async with AsyncExitStack() as stack:
        for path, gate in zip(paths, gates, strict=True):
            await stack.enter_async_context(engine(path, gate))
        remote = await stack.enter_async_context(worker(paths, own=1))
        await until(lambda: all_ready(remote))
        for length in range(20, 40):
            assert await firsts_of(apart(remote, [text(length)], FAR)) == [1 / length]
        assert [gate.computed for gate in gates] == [0, 20]
        for gate in gates:
            gate.gate.clear()
        futures = apart(remote, [text(length) for length in range(20, 120)], FAR)
        own, other = remote._links
        assert (own.number, other.number) == (1, 0)
        assert own.texts + other.texts == 100
        assert own.texts - 1 <= 1.25 * other.texts + 8 < own.texts + 2
        for gate in gates:
            gate.gate.set()
        assert await asyncio.wait_for(firsts_of(futures), LIMIT) == [1 / length for length in range(20, 120)]
        assert remote._texts == remote._tokens == own.texts == other.texts == 0


async def test_the_wait_is_behind_all_and_all_compute(tmp_path: Path) -> None:
    """What waits at all engines counts, and so does the rate of all."""
    paths = [tmp_path / "0", tmp_path / "1"]
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(engine(path, Gate())) for path in paths]
        remote = await stack.enter_async_context(worker(paths))
        await until(lambda: all_ready(remote))
        for server, rate in zip(servers, (4.0, 6.0), strict=True):
            server.batcher._rate.texts_per_second = rate
        await until(lambda: remote._texts_per_second == 10.0)
        assert remote.drain_seconds(150) == pytest.approx(15)
        remote._texts = 190
        remote.admit(10, 10)
        with pytest.raises(OverloadedError) as refused:
            remote.admit(11, 11)
        assert refused.value.retry_after == pytest.approx(19)
        remote._texts = 0
        kill(servers[1])
        await until(lambda: not all_ready(remote))
        assert remote.drain_seconds(40) == pytest.approx(10), "the other one's rate alone"


async def test_what_a_dead_engine_had_is_sent_to_another_one_once(tmp_path: Path) -> None:
    """Nothing is lost and nobody waits for its return; what two died of is given up at once."""
    paths, dying, second = [tmp_path / "0", tmp_path / "1"], Gate(), Gate()
    async with worker(paths) as remote, engine(paths[1], second) as survivor, engine(paths[0], dying) as server:
        await until(lambda: all_ready(remote))
        dying.gate.clear()
        second.gate.clear()
        futures = apart(remote, [text(4), text(5)], FAR)
        [overdue] = apart(remote, [text(6)], 0.0)
        await until(lambda: in_flight(server))
        assert not in_flight(survivor)
        kill(server)
        await until(lambda: in_flight(survivor))
        assert remote.ready
        assert metrics.ENGINE_READY.labels("0")._value.get() == 0
        assert metrics.ENGINE_READY.labels("1")._value.get() == 1
        with pytest.raises(EngineUnavailableError):
            await overdue
        second.gate.set()
        assert await asyncio.wait_for(firsts_of(futures), LIMIT) == [1 / 4, 1 / 5]
        second.gate.clear()
        [twice] = apart(remote, [text(7)], FAR)
        await until(lambda: in_flight(survivor))
        async with engine(paths[0], third := Gate()) as again:
            await until(lambda: all_ready(remote))
            third.gate.clear()
            kill(survivor)
            await until(lambda: in_flight(again))
            kill(again)
            with pytest.raises(EngineUnavailableError):
                await asyncio.wait_for(twice, LIMIT)


async def test_without_any_engine_the_first_that_is_back_gets_all(tmp_path: Path) -> None:
    """Both die; the one that comes back computes also what the other one had."""
    paths, gates = [tmp_path / "0", tmp_path / "1"], [Gate(), Gate()]
    async with worker(paths) as remote:
        async with engine(paths[0], gates[0]) as one, engine(paths[1], gates[1]) as other:
            await until(lambda: all_ready(remote))
            for gate in gates:
                gate.gate.clear()
            futures = apart(remote, [text(length) for length in range(20, 60)], FAR)
            await until(lambda: in_flight(one) and in_flight(other))
            kill(other)
            kill(one)
            await until(lambda: not remote.ready)
            assert not any(future.done() for future in futures), "sent once is not twice"
        async with engine(paths[1], Gate()):
            answers = await asyncio.wait_for(asyncio.gather(*map(outcome, futures)), LIMIT)
    given_up = answers.count(None)
    assert [answer for answer in answers if answer is not None] == [
        1 / length for length, answer in zip(range(20, 60), answers, strict=True) if answer is not None
    ]
    assert given_up < 40


async def outcome(future: object) -> float | None:
    """The first score; None where the text was given up because two engines died on it."""
    try:
        [score] = await firsts_of([future])  # type: ignore[list-item]
    except EngineUnavailableError:
        return None
    return score


async def test_a_silent_engine_loses_its_texts_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that hangs is not waited for; when it comes to itself it has been told that nobody wants them."""
    monkeypatch.setattr(client_module, "_SILENCE_SECONDS", 0.5)
    paths, hung, second = [tmp_path / "0", tmp_path / "1"], Gate(), Gate()
    async with engine(paths[0], hung) as server, engine(paths[1], second), worker(paths) as remote:
        await until(lambda: all_ready(remote))
        hung.gate.clear()
        [held] = apart(remote, [text(3)], FAR)
        await until(lambda: in_flight(server))
        waiting = apart(remote, [text(4)], FAR)
        assert server._beats is not None
        server._beats.cancel()
        assert await asyncio.wait_for(firsts_of([held, *waiting]), LIMIT) == [1 / 3, 1 / 4]
        assert second.computed == 2
        await until(lambda: not in_flight(server))
        server._beats = asyncio.create_task(server._beat())
        await until(lambda: all_ready(remote))


async def test_an_engine_that_computes_otherwise_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A score must not depend on which engine had a core to spare; the same engine alone is taken."""
    paths, other = [tmp_path / "0", tmp_path / "1"], Gate()
    other.precision = "bfloat16"
    async with worker(paths) as remote:
        async with engine(paths[0], Gate()), engine(paths[1], other):
            await until(lambda: any(record.levelname == "CRITICAL" for record in caplog.records))
            assert sum(each.ready for each in remote._links) == 1
            await firsts_of(apart(remote, [text(length) for length in range(1, 40)], FAR))
        await until(lambda: not remote.ready)
        async with engine(paths[1], other):
            await until(lambda: remote.ready)
            assert remote.info.precision == "bfloat16"
