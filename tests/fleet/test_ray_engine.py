"""Engines behind a handle, which a fake makes die, hang and refuse."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorDiedError

from app.engine.admission import QueueLimits
from app.engine.interface import EngineInfo
from app.errors import EngineUnavailableError, InferenceError, OverloadedError
from app.fleet import ray_engine
from app.fleet.ray_engine import Answer, RayEngine
from app.sentiment import Scores, TextBatch

INFO = EngineInfo("native", "float32", "cpu")
SCORES = [Scores((0.25, 0.75), None)]

Compute = Callable[[list[TextBatch], float], Awaitable[Answer]]


def batch() -> TextBatch:
    return TextBatch(array("i", [3, 4]), [2])


def answer(batches: list[TextBatch]) -> Answer:
    return Answer(0, 100.0, [SCORES for _ in batches])


async def started(compute: Compute, most: int = 100) -> RayEngine:
    """An engine whose calls are answered by a function."""

    async def describe() -> EngineInfo:
        return INFO

    handle: Any = SimpleNamespace(describe=SimpleNamespace(remote=describe), compute=SimpleNamespace(remote=compute))
    engine = RayEngine(handle, QueueLimits(most, 1_000, 10.0))
    assert not engine.ready
    await engine.start()
    assert (engine.info, engine.ready) == (INFO, True)
    return engine


async def test_what_is_submitted_together_goes_in_one_call() -> None:
    """And each batch gets its own scores, or its own error."""
    calls = []

    async def compute(batches: list[TextBatch], seconds: float) -> Answer:
        calls.append(len(batches))
        assert 50 < seconds <= 60
        return Answer(0, 100.0, [SCORES, InferenceError("the forward pass failed for this text")])

    engine = await started(compute)
    deadline = time.monotonic() + 60
    good, bad = engine.submit(batch(), deadline), engine.submit(batch(), deadline)
    assert await good == SCORES
    with pytest.raises(InferenceError):
        await bad
    assert calls == [2]
    await engine.close()


async def test_a_call_whose_engine_died_is_made_once_more() -> None:
    """The second engine answers; where that dies too the text fails, and not what comes after it."""
    deaths = [1, 0, 1, 1, 0]

    async def compute(batches: list[TextBatch], _: float) -> Answer:
        if deaths.pop(0):
            raise ActorDiedError
        return answer(batches)

    engine = await started(compute)
    assert await engine.submit(batch(), time.monotonic() + 60) == SCORES
    with pytest.raises(EngineUnavailableError):
        await engine.submit(batch(), time.monotonic() + 60)
    assert await engine.submit(batch(), time.monotonic() + 60) == SCORES
    assert not deaths
    await engine.close()


async def test_an_engine_that_hangs_costs_no_more_than_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts fail before it; meanwhile no others are taken, and afterwards they are."""
    monkeypatch.setattr(ray_engine, "_PATIENCE_SECONDS", 0.0)

    async def compute(_: list[TextBatch], __: float) -> Answer:
        await asyncio.Event().wait()
        raise AssertionError

    engine = await started(compute)
    ticket = engine.submit(batch(), time.monotonic() + 0.5)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not engine.ready
    with pytest.raises(EngineUnavailableError):
        engine.admit(1, 2)
    with pytest.raises(EngineUnavailableError):
        await ticket
    await asyncio.sleep(0)
    engine.admit(1, 2)
    await engine.close()


async def test_what_is_under_way_is_bounded() -> None:
    """By number; what is given up counts no more."""

    async def compute(_: list[TextBatch], __: float) -> Answer:
        await asyncio.Event().wait()
        raise AssertionError

    engine = await started(compute, most=2)
    tickets = [engine.submit(batch(), time.monotonic() + 60) for _ in range(2)]
    with pytest.raises(OverloadedError):
        engine.admit(1, 2)
    tickets[0].cancel()
    engine.admit(1, 2)
    await engine.close()
    with pytest.raises(EngineUnavailableError):
        await tickets[1]
