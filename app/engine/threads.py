"""Threads that compute for an event loop, and its tasks that wait for something to compute."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

from app.process.priority import yield_to_events

_Computed = TypeVar("_Computed")


class ComputeThreads:
    """Threads of lower priority that compute what the event loop hands over, in turn.

    An executor does the same, with a future of its own beside asyncio's, and locks for both: several times the cost,
    which is felt where a batch takes a millisecond or two.

    Args:
        count: how many.
    """

    def __init__(self, count: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._work: SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = SimpleQueue()
        # Daemons: a forward pass that hangs does not keep the process from ending.
        self._threads = [threading.Thread(target=self._run, name=f"forward_{i}", daemon=True) for i in range(count)]
        for thread in self._threads:
            thread.start()

    def submit(self, compute: Callable[[], _Computed]) -> asyncio.Future[_Computed]:
        """Have it computed; the future has what it returns or raises."""
        future: asyncio.Future[_Computed] = self._loop.create_future()
        self._work.put((compute, future))
        return future

    def close(self) -> None:
        """End the threads as soon as they have computed what was handed over. Does not wait."""
        for _ in self._threads:
            self._work.put(None)

    def _run(self) -> None:
        yield_to_events()
        while (work := self._work.get()) is not None:
            compute, future = work
            try:
                finish = partial(_succeed, future, compute())
            except BaseException as error:
                finish = partial(_fail, future, error)
            try:
                self._loop.call_soon_threadsafe(finish)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return
            # Until the next work comes, nothing of this is to be kept alive.
            del work, compute, future, finish


def _succeed(future: asyncio.Future[_Computed], computed: _Computed) -> None:
    if not future.done():
        future.set_result(computed)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


class IdleTasks:
    """Tasks of one event loop that have nothing to do. Unlike those of a condition, the last to come is woken first."""

    def __init__(self) -> None:
        self._wakers: list[asyncio.Future[None]] = []

    def __len__(self) -> int:
        """How many wait."""
        return len(self._wakers)

    async def wait(self) -> None:
        """Wait until woken."""
        waker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._wakers.append(waker)
        await waker

    def notify(self) -> None:
        """Wake who began to wait last, if anybody does: what that one needs is most likely still in a cache."""
        while self._wakers:
            waker = self._wakers.pop()
            if not waker.done():
                waker.set_result(None)
                break

    def notify_all(self) -> None:
        """Wake everybody."""
        while self._wakers:
            self.notify()
