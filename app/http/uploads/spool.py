"""Spools a request body to disk within bounds: a file must never be in memory as a whole.

Its client may pause and be slow, but not keep a place for ever.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable
from typing import IO, TypeVar

from starlette.types import Message, Receive, Scope

from app.http.body import BodyTooLargeError, ClientGoneError
from app.http.problems import Problem

_WRITE_BYTES = 1 << 20
_GZIP = 31
"""As zlib knows the format."""
_CLOSE = {"Connection": "close"}
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


class Upload:
    """The body of a request.

    Args:
        receive: gives it.

    Attributes:
        complete: whether all of it was read.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.complete = False

    async def __call__(self) -> Message:
        message = await self._receive()
        self.complete = not message.get("more_body", False)
        return message


async def spool_body(scope: Scope, receive: Receive, file: IO[bytes], limit: int, client: SlowClient) -> int:
    """Write a request body to a file, unpacked where it is compressed, and go back to its start.

    Args:
        scope: the request.
        receive: gives the body.
        file: takes it; written in threads, a megabyte at a time.
        limit: most bytes, before and after unpacking.
        client: waits for the next piece.

    Returns:
        The body's size in bytes.

    Raises:
        BodyTooLargeError: 413.
        Problem: 408 where the client stops sending or is too slow, 415 for another coding than gzip, 400 for a body
            that is not what its coding says.
        ClientGoneError: the client disconnected.
    """
    target = _Unpacked(file, limit) if _is_compressed(scope, limit) else file
    size, waiting, more = 0, bytearray(), True
    while more:
        try:
            message = await client.wait_for(receive())
        except TooSlowError as error:
            raise Problem(408, "upload_stalled", str(error), headers=_CLOSE) from None
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        more = message.get("more_body", False)
        piece = message.get("body", b"")
        size += len(piece)
        client.moved(len(piece))
        if size > limit:
            raise BodyTooLargeError(limit, unread=more)
        waiting += piece
        if len(waiting) >= _WRITE_BYTES or (waiting and not more):
            await asyncio.to_thread(target.write, waiting)
            waiting = bytearray()
    if isinstance(target, _Unpacked):
        target.check_complete()
    file.seek(0)
    return size


class _Unpacked:
    """Writes what gzip has packed: one member or several (RFC 1952).

    Args:
        file: takes it.
        limit: most bytes.
    """

    def __init__(self, file: IO[bytes], limit: int) -> None:
        self._file = file
        self._left = self._limit = limit
        self._inflater = zlib.decompressobj(_GZIP)

    def write(self, packed: bytes | bytearray) -> None:
        """Unpack and write, a megabyte at a time."""
        waiting = bytes(packed)
        while waiting:
            if self._inflater.eof:
                self._inflater = zlib.decompressobj(_GZIP)
            try:
                piece = self._inflater.decompress(waiting, _WRITE_BYTES)
            except zlib.error:
                raise _not_gzip() from None
            waiting = self._inflater.unused_data or self._inflater.unconsumed_tail
            self._left -= len(piece)
            if self._left < 0:
                raise BodyTooLargeError(self._limit, unread=True)
            self._file.write(piece)

    def check_complete(self) -> None:
        """Refuse a body that was cut short."""
        if not self._inflater.eof:
            raise _not_gzip()


def _not_gzip() -> Problem:
    return Problem(400, "invalid_encoding", "body: not valid gzip", headers=_CLOSE)


def _is_compressed(scope: Scope, limit: int) -> bool:
    codings = []
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and (len(value) > 18 or int(value) > limit):
            raise BodyTooLargeError(limit, unread=True)
        if name == b"content-encoding" and (coding := value.strip().lower()) not in (b"identity", b""):
            codings.append(coding)
    if codings and codings not in ([b"gzip"], [b"x-gzip"]):
        headers = {**_CLOSE, "Accept-Encoding": "gzip"}
        raise Problem(415, "unsupported_encoding", "content-encoding must be gzip, once", headers=headers)
    return bool(codings)
