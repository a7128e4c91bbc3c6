"""How long a request is worth its work: its deadline, and the presence of its client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from starlette.types import Receive, Scope

from app.api.body import ClientGoneError
from app.api.problems import Problem

TIMEOUT_HEADER = b"x-timeout-seconds"
_WATCH_AFTER = 0.05
"""Seconds after which a request without an answer is worth watching for its client's disconnection."""

T = TypeVar("T")


def timeout_of(scope: Scope) -> float | None:
    """Seconds the client waits, where it says so.

    Raises:
        Problem: 422, not a positive number.
    """
    for name, value in scope["headers"]:
        if name == TIMEOUT_HEADER:
            try:
                seconds = float(value)
            except ValueError:
                seconds = -1.0
            if not 0 < seconds < float("inf"):
                message = "must be a positive number of seconds"
                raise Problem(
                    422,
                    "invalid_header",
                    f"X-Timeout-Seconds: {message}",
                    [{"field": "X-Timeout-Seconds", "message": message}],
                )
            return seconds
    return None


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


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
