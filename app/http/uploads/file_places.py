"""Who may send files, and whose is scored: a client that is slow keeps its own place and nobody else's."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from starlette.types import Scope

from app import metrics
from app.errors import OverloadedError
from app.http.auth.meter import KEY_NAME
from app.http.body import ClientGoneError

_RETRY_SECONDS = 5.0
_OWN_SHARE = 4
"""One key, or where there are none one address, may have a fourth of the places for transfers, and at least one."""


class Transfers:
    """Bounds the files that are here at once, from the first byte of one to the last of its results.

    Args:
        limit: most of them.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._own_limit = max(1, limit // _OWN_SHARE)
        self._held: Counter[str] = Counter()

    @contextmanager
    def place(self, scope: Scope) -> Iterator[None]:
        """A place for the file of a request.

        Raises:
            OverloadedError: there is none, or none for this key or address.
        """
        holder, total = _holder(scope), self._held.total()
        if total >= self._limit:
            raise OverloadedError(f"{total} files are being sent or scored; the limit is {self._limit}", _RETRY_SECONDS)
        if (own := self._held[holder]) >= self._own_limit:
            message = f"{own} files of this client are being sent or scored; the limit is {self._own_limit}"
            raise OverloadedError(message, _RETRY_SECONDS)
        self._held[holder] += 1
        metrics.FILES_IN_PROGRESS.inc()
        try:
            yield
        finally:
            metrics.FILES_IN_PROGRESS.dec()
            self._held[holder] -= 1
            if not self._held[holder]:
                del self._held[holder]


class Turns:
    """Bounds the files that are computed at once. A turn is for some rows, and given back before they are sent.

    Args:
        limit: most of them.
        patience: seconds that a turn is waited for.
    """

    def __init__(self, limit: int, patience: float) -> None:
        self._free = asyncio.Semaphore(limit)
        self._patience = patience

    @asynccontextmanager
    async def turn(self, gone: asyncio.Task[None]) -> AsyncIterator[None]:
        """Wait for a turn, and have it.

        Args:
            gone: done when nobody waits for the results any more.

        Raises:
            ClientGoneError: nobody does.
            OverloadedError: none came in time.
        """
        acquiring = asyncio.ensure_future(self._free.acquire())
        try:
            await asyncio.wait({acquiring, gone}, timeout=self._patience, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                raise ClientGoneError
            if not acquiring.done():
                raise OverloadedError(f"other files had their turns for {self._patience:g} s", _RETRY_SECONDS)
            yield
        finally:
            if acquiring.done():
                self._free.release()
            else:
                acquiring.cancel()


def _holder(scope: Scope) -> str:
    key, client = scope.get(KEY_NAME), scope.get("client")
    return f"key {key}" if key is not None else f"address {client[0] if client else ''}"
