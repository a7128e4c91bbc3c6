"""Spools a request body to disk within bounds: a file must never be in memory as a whole."""

from __future__ import annotations

import asyncio
from typing import IO

from starlette.types import Receive, Scope

from app.api.body import BodyTooLargeError, ClientGoneError
from app.api.problems import Problem
from app.api.slow_client import SlowClient, TooSlowError

_WRITE_BYTES = 1 << 20


async def spool_body(scope: Scope, receive: Receive, file: IO[bytes], limit: int, stall: float) -> int:
    """Write a request body to a file, and go back to its start.

    Args:
        scope: the request.
        receive: gives the body.
        file: takes it; written in threads, a megabyte at a time.
        limit: most bytes.
        stall: seconds, see ``SlowClient``.

    Returns:
        The body's size in bytes.

    Raises:
        BodyTooLargeError: 413.
        Problem: 408 where the client stops sending or is too slow, 415 for a compressed body.
        ClientGoneError: the client disconnected.
    """
    _check_headers(scope, limit)
    size, waiting, more = 0, bytearray(), True
    client = SlowClient(stall, "sent")
    while more:
        try:
            message = await client.wait_for(receive())
        except TooSlowError as error:
            raise Problem(408, "upload_stalled", str(error), headers={"Connection": "close"}) from None
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
