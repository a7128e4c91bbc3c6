"""The texts of a file under a rate limit: they wait for it like everybody else, within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app.errors import EngineClosedError
from app.http.auth.meter import Meter, RateLimitedError, Unlimited
from app.http.body import ClientGoneError
from app.http.uploads.piecewise import BrokenOffError, Piecewise
from tests.fakes import PREDICTION, FakeClassifier


class Refusing(Unlimited):
    """Refuses a number of times, then lets pass.

    Args:
        times: refusals.
        seconds: the wait that they name.
    """

    most = 5

    def __init__(self, times: int, seconds: float) -> None:
        self.times = times
        self.seconds = seconds
        self.counted: list[int] = []

    async def count(self, texts: int) -> None:
        self.times -= 1
        if self.times >= 0:
            raise RateLimitedError("the limit of 5 per 1 second", self.seconds)
        self.counted.append(texts)


@asynccontextmanager
async def piecewise(meter: Meter, classifier: FakeClassifier, gone: asyncio.Event) -> AsyncIterator[Piecewise]:
    async def wait() -> None:
        await gone.wait()

    task = asyncio.create_task(wait())
    try:
        yield Piecewise(classifier, 30.0, task, meter)
    finally:
        task.cancel()


async def test_texts_over_the_limit_wait() -> None:
    """Each is counted once, in portions that can pass, blank ones too; then all are classified."""
    meter = Refusing(2, 0.01)
    async with piecewise(meter, FakeClassifier(), asyncio.Event()) as pieces:
        await pieces.count(12)
        outcomes = await pieces.classify(["a good film"] * 11 + [""])
    assert outcomes[:11] == [PREDICTION] * 11
    assert meter.counted == [5, 5, 2]


async def test_no_longer_than_the_patience_for_them() -> None:
    """What would wait longer is broken off at once, naming the limit, and nothing of it is classified."""
    classifier = FakeClassifier()
    async with piecewise(Refusing(1, 31.0), classifier, asyncio.Event()) as pieces:
        with pytest.raises(BrokenOffError, match="the limit of 5 per 1 second"):
            await pieces.count(1)
    assert not classifier.started.is_set()


async def test_a_model_that_was_unloaded_is_not_waited_for() -> None:
    """Nor asked once more: the client is told at once."""
    classifier = FakeClassifier({"a good film": EngineClosedError()})
    async with piecewise(Unlimited(), classifier, asyncio.Event()) as pieces:
        with pytest.raises(BrokenOffError, match="the model was unloaded"):
            await pieces.classify(["a good film"])
    assert len(classifier.timeouts) == 1


async def test_a_client_that_goes_away_meanwhile() -> None:
    """Is not waited for."""
    gone = asyncio.Event()
    gone.set()
    async with piecewise(Refusing(1, 20.0), FakeClassifier(), gone) as pieces:
        with pytest.raises(ClientGoneError):
            await pieces.count(1)
