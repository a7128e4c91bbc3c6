"""Threads that compute for an event loop: results and errors come back, and none is waited for in vain."""

from __future__ import annotations

import asyncio
import threading

import pytest

from app.engine.threads import ComputeThreads, IdleTasks
from tests.waiting import LIMIT


async def test_results_and_errors_come_back_to_whoever_handed_the_work_over() -> None:
    """Also what is no ``Exception``; the thread goes on after it."""

    def fail() -> None:
        raise SystemExit("on purpose")

    threads = ComputeThreads(1)
    failed, done = threads.submit(fail), threads.submit(threading.get_ident)
    with pytest.raises(SystemExit, match="on purpose"):
        await failed
    assert await done != threading.get_ident()
    threads.close()


async def test_as_much_is_computed_at_once_as_there_are_threads() -> None:
    """Each waits for the other here, so one after the other would never end."""
    threads, meeting = ComputeThreads(2), threading.Barrier(2)
    assert sorted(await asyncio.gather(*[threads.submit(lambda: meeting.wait(5)) for _ in range(2)])) == [0, 1]
    threads.close()


async def test_nobody_may_wait_any_more() -> None:
    """The work is done all the same, and harms nobody."""
    threads, gate = ComputeThreads(1), threading.Event()
    given_up = threads.submit(lambda: gate.wait(5))
    given_up.cancel()
    gate.set()
    assert await threads.submit(lambda: "next") == "next"
    threads.close()


async def test_what_was_handed_over_is_computed_before_the_end() -> None:
    """Threads end behind it."""
    threads = ComputeThreads(1)
    last = threads.submit(threading.current_thread)
    threads.close()
    thread = await last
    await asyncio.to_thread(thread.join, 5)
    assert not thread.is_alive()


def test_a_loop_that_is_closed_ends_its_threads() -> None:
    """Whatever is still computed then is nobody's."""
    gate = threading.Event()

    async def leave() -> threading.Thread:
        threads = ComputeThreads(1)
        thread = await threads.submit(threading.current_thread)
        threads.submit(lambda: gate.wait(5))
        return thread

    thread = asyncio.run(leave())
    gate.set()
    thread.join(5)
    assert not thread.is_alive()


async def test_the_task_that_was_idle_last_is_woken_first() -> None:
    """Waking is for one; where nobody waits it is for nobody."""
    idle, woken = IdleTasks(), []

    async def sleep(name: str) -> None:
        await idle.wait()
        woken.append(name)

    idle.notify()
    async with asyncio.TaskGroup() as tasks:
        for name in "abc":
            tasks.create_task(sleep(name))
        await asyncio.sleep(0)
        idle.notify()
        await asyncio.sleep(0)
        assert woken == ["c"]
        idle.notify_all()
    assert woken == ["c", "b", "a"]


async def test_a_task_that_was_cancelled_takes_nobodys_turn() -> None:
    """The next one is woken in its place."""
    idle = IdleTasks()
    stays, cancelled = asyncio.create_task(idle.wait()), asyncio.create_task(idle.wait())
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.sleep(0)
    idle.notify()
    await asyncio.wait_for(stays, LIMIT)
