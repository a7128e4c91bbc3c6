"""Tasks that have nothing to do, of which one is to be woken where there is something for one."""

from __future__ import annotations

import asyncio


class Sleepers:
    """Sleeping tasks of one event loop."""

    def __init__(self) -> None:
        self._wakers: list[asyncio.Future[None]] = []

    async def sleep(self) -> None:
        """Sleep until woken."""
        waker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._wakers.append(waker)
        await waker

    def wake_one(self) -> None:
        """Wake who went to sleep last, if anybody sleeps: what that one needs is most likely still in a cache."""
        while self._wakers:
            waker = self._wakers.pop()
            if not waker.done():
                waker.set_result(None)
                break

    def wake_all(self) -> None:
        """Wake everybody."""
        while self._wakers:
            self.wake_one()
