"""Spools a request body to disk within bounds: a file must never be in memory as a whole."""

from __future__ import annotations

import asyncio
from typing import IO

from starlette.types import Receive, Scope

from app.api.body import BodyTooLargeError, ClientGoneError
from app.api.problems import Problem

_WRITE_BYTES = 1 << 20
_LEAST_RATE = 4_096
"""Bytes per second that must come on average: drop by drop, a few clients could keep all places for files for ever."""


async def spool_body(scope: Scope, receive: Receive, file: IO[bytes], limit: int, stall: float) -> int:
    """Write a request body to a file, and go back to its start.

    Args:
        scope: the request.
        receive: gives the body.
        file: takes it; written in threads, a megabyte at a time.
        limit: most bytes.
        stall: most seconds between two pieces of the body, and that all may take longer than at 4 KiB/s.

    Returns:
        The body's size in bytes.

    Raises:
        BodyTooLargeError: 413.
        Problem: 408 where the client stops sending, 415 for a compressed body.
        ClientGoneError: the client disconnected.
    """
    _check_headers(scope, limit)
    size, waiting, more = 0, bytearray(), True
    loop = asyncio.get_running_loop()
    started = loop.time()
    while more:
        too_slow = started + stall + size / _LEAST_RATE
        try:
            async with asyncio.timeout_at(min(loop.time() + stall, too_slow)):
                message = await receive()
        except TimeoutError:
            detail = f"nothing of the body arrived for {stall:g} seconds"
            if loop.time() >= too_slow:
                detail = f"the body comes at less than {_LEAST_RATE} bytes per second"
            raise Problem(408, "upload_stalled", detail, headers={"Connection": "close"}) from None
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        more = message.get("more_body", False)
        piece = message.get("body", b"")
        size += len(piece)
        if size > limit:
            raise BodyTooLargeError(limit, unread=more)
        waiting += piece
        if len(waiting) >= _WRITE_BYTES or (waiting and not more):
            await asyncio.to_thread(file.write, waiting)
            waiting = bytearray()
    file.seek(0)
    return size


def _check_headers(scope: Scope, limit: int) -> None:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and (len(value) > 18 or int(value) > limit):
            raise BodyTooLargeError(limit, unread=True)
        if name == b"content-encoding" and value.strip().lower() not in (b"identity", b""):
            raise Problem(415, "unsupported_encoding", "compressed bodies are refused", headers={"Connection": "close"})
