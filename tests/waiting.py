"""Waiting for what another task, thread or process does: for the thing itself, as long as a busy machine may need."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

LIMIT = 60.0
"""Seconds after which it is taken for granted that nothing comes any more."""


async def until(condition: Callable[[], object], what: str = "it never came to that") -> None:
    """Let the event loop go on until something is so."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.005)


def wait_until(condition: Callable[[], object], what: str = "it never came to that") -> None:
    """Block until something is so."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
