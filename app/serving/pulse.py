"""Signs of life of a child process to its supervisor."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress

BEAT_SECONDS = 0.25


async def beat(pulse: int, alive: Callable[[], bool] = lambda: True) -> None:
    """Write a sign of life every ``BEAT_SECONDS``, for ever.

    Args:
        pulse: file descriptor of a pipe to the supervisor.
        alive: whether there is one to give; a process whose event loop runs may be stuck all the same.
    """
    os.set_blocking(pulse, False)
    while True:
        if alive():
            with suppress(BlockingIOError):
                os.write(pulse, b".")
        await asyncio.sleep(BEAT_SECONDS)
