"""Waiting for work as long as a client is there, and not waiting at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

from app.api.body import ClientGoneError

_WATCH_AFTER = 0.05
"""Seconds after which a request without an answer is worth watching for its client's disconnection."""

T = TypeVar("T")


async def while_connected(work: Awaitable[T], receive: Receive) -> T:
    """Do the work unless the client goes away meanwhile.

    Raises:
        ClientGoneError: the client disconnected; the work is cancelled.
    """
    task: asyncio.Future[T] = asyncio.ensure_future(work)
    watcher: asyncio.Task[Any] | None = None
    try:
        done, _ = await asyncio.wait({task}, timeout=_WATCH_AFTER)
        if not done:
            watcher = asyncio.ensure_future(_disconnected(receive))
            await asyncio.wait({task, watcher}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGoneError
        return task.result()
    finally:
        for pending in (task, watcher):
            if pending is not None and not pending.done():
                pending.cancel()
                await asyncio.gather(pending, return_exceptions=True)


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that only looks like waiting, without a task for it.

    Raises:
        RuntimeError: it does wait.
    """
    try:
        work.send(None)
    except StopIteration as end:
        found: T = end.value
        return found
    work.close()
    raise RuntimeError("this cannot be done without waiting")


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
