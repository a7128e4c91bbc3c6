"""How long the client of a file is waited for, who may pause and be slow, but not keep a place for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

LEAST_RATE = 4_096
"""Bytes per second at which a file must come or be taken on average, pauses included."""

_Found = TypeVar("_Found")


class TooSlowError(Exception):
    """The client paused for too long, or is too slow; the message says which."""


class SlowClient:
    """Waits for a client within bounds, in one direction.

    Args:
        stall: most seconds of a wait, and that all may take longer than at ``LEAST_RATE``.
        total: most seconds of all waits together, however much moves.
        verb: what the client does with bytes.
    """

    def __init__(self, stall: float, total: float, verb: str) -> None:
        self._stall = stall
        self._total = self._left = total
        self._verb = verb
        self._allowed = stall

    def moved(self, size: int) -> None:
        """So many bytes have come or were taken."""
        self._allowed += size / LEAST_RATE

    async def wait_for(self, step: Awaitable[_Found]) -> _Found:
        """Wait for the client's next step.

        Raises:
            TooSlowError: in vain.
        """
        loop = asyncio.get_running_loop()
        started, seconds = loop.time(), max(0.0, min(self._stall, self._allowed, self._left))
        try:
            async with asyncio.timeout(seconds):
                return await step
        except TimeoutError:
            if seconds >= self._left:
                raise TooSlowError(f"the client {self._verb} for more than {self._total:g} seconds") from None
            if seconds < self._stall:
                raise TooSlowError(f"the client {self._verb} less than {LEAST_RATE} bytes per second") from None
            raise TooSlowError(f"the client {self._verb} nothing for {self._stall:g} seconds") from None
        finally:
            waited = loop.time() - started
            self._allowed -= waited
            self._left -= waited
