"""How long the client of a file is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps

import pytest

from app.http.uploads.spool import LEAST_RATE, SlowClient, TooSlowError


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock moves to the next timer whenever nothing else is to be done, and only then."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]
            self._now = max(self._now, self._scheduled[0].when())  # type: ignore[attr-defined]
        super()._run_once()  # type: ignore[misc]


def timeless(test: Callable[[], Coroutine[None, None, None]]) -> Callable[[], None]:
    """Run a test in a ``JumpingLoop``: it takes no time, and no machine is too busy for it."""

    @wraps(test)
    def run() -> None:
        with asyncio.Runner(loop_factory=JumpingLoop) as runner:
            runner.run(test())

    return run


@timeless
async def test_a_pause_has_an_end() -> None:
    """However fast the client was before."""
    client = SlowClient(0.05, 60, "sent")
    client.moved(100 * LEAST_RATE)
    with pytest.raises(TooSlowError, match=r"^the client sent nothing for 0\.05 seconds$"):
        await client.wait_for(asyncio.sleep(30))


@timeless
async def test_all_pauses_together_have_an_end() -> None:
    """Where little moves between them; what the client does not make wait for does not count."""
    client = SlowClient(0.3, 60, "took")
    await asyncio.sleep(0.4)
    await client.wait_for(asyncio.sleep(0.2))
    client.moved(1)
    with pytest.raises(TooSlowError, match=rf"^the client took less than {LEAST_RATE} bytes per second$"):
        await client.wait_for(asyncio.sleep(0.25))


@timeless
async def test_what_moves_pays_for_pauses() -> None:
    """And what a step gives is handed on."""
    client = SlowClient(0.3, 60, "sent")
    for _ in range(3):
        assert await client.wait_for(asyncio.sleep(0.2, "piece")) == "piece"
        client.moved(LEAST_RATE)


@timeless
async def test_nothing_pays_for_more_than_the_whole_time() -> None:
    """However much moves."""
    client = SlowClient(60, 0.1, "sent")
    client.moved(1000 * LEAST_RATE)
    await client.wait_for(asyncio.sleep(0))
    with pytest.raises(TooSlowError, match=r"^the client sent for more than 0\.1 seconds$"):
        await client.wait_for(asyncio.sleep(30))
