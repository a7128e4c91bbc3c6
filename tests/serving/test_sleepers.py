"""Sleeping tasks: one is woken for each thing there is to do, the last one first, and nobody twice."""

from __future__ import annotations

import asyncio

from app.serving.sleepers import Sleepers


async def test_who_went_to_sleep_last_is_woken_first() -> None:
    """Waking is for one; where nobody sleeps it is for nobody."""
    sleepers, woken = Sleepers(), []

    async def sleep(name: str) -> None:
        await sleepers.sleep()
        woken.append(name)

    sleepers.wake_one()
    async with asyncio.TaskGroup() as tasks:
        for name in "abc":
            tasks.create_task(sleep(name))
        await asyncio.sleep(0)
        sleepers.wake_one()
        await asyncio.sleep(0)
        assert woken == ["c"]
        sleepers.wake_all()
    assert woken == ["c", "b", "a"]


async def test_a_task_that_was_cancelled_takes_nobodys_turn() -> None:
    """The next one is woken in its place."""
    sleepers = Sleepers()
    stays, cancelled = asyncio.create_task(sleepers.sleep()), asyncio.create_task(sleepers.sleep())
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.sleep(0)
    sleepers.wake_one()
    await asyncio.wait_for(stays, 1)
