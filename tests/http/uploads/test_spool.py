"""How long the client of a file is waited for."""

from __future__ import annotations

import asyncio

import pytest

from app.http.uploads.spool import LEAST_RATE, SlowClient, TooSlowError


async def test_a_pause_has_an_end() -> None:
    """However fast the client was before."""
    client = SlowClient(0.05, 60, "sent")
    client.moved(100 * LEAST_RATE)
    with pytest.raises(TooSlowError, match=r"^the client sent nothing for 0\.05 seconds$"):
        await client.wait_for(asyncio.sleep(30))


async def test_all_pauses_together_have_an_end() -> None:
    """Where little moves between them; what the client does not make wait for does not count."""
    client = SlowClient(0.3, 60, "took")
    await asyncio.sleep(0.4)
    await client.wait_for(asyncio.sleep(0.2))
    client.moved(1)
    with pytest.raises(TooSlowError, match=rf"^the client took less than {LEAST_RATE} bytes per second$"):
        await client.wait_for(asyncio.sleep(0.25))


async def test_what_moves_pays_for_pauses() -> None:
    """And what a step gives is handed on."""
    client = SlowClient(0.3, 60, "sent")
    for _ in range(3):
        assert await client.wait_for(asyncio.sleep(0.2, "piece")) == "piece"
        client.moved(LEAST_RATE)


async def test_nothing_pays_for_more_than_the_whole_time() -> None:
    """However much moves."""
    client = SlowClient(60, 0.1, "sent")
    client.moved(1000 * LEAST_RATE)
    await client.wait_for(asyncio.sleep(0))
    with pytest.raises(TooSlowError, match=r"^the client sent for more than 0\.1 seconds$"):
        await client.wait_for(asyncio.sleep(30))
