"""Reads a request body within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from app.api.problems import Problem

_JSON_TYPES = (b"application/json", b"")
_BINARY_TYPES = (*_JSON_TYPES, b"application/octet-stream")
_DISCARD_SECONDS = 5.0


class ClientGoneError(Exception):
    """The client disconnected before its request was complete."""


class BodyTooLargeError(Problem):
    """The body is over the limit.

    Attributes:
        unread: whether the client may still be sending.
    """

    def __init__(self, limit: int, *, unread: bool) -> None:
        # What is left of the body is not a next request, so the connection cannot be used again.
        super().__init__(413, "body_too_large", f"body must not exceed {limit} bytes", headers={"Connection": "close"})
        self.unread = unread


async def read_json_body(scope: Scope, receive: Receive, limit: int, *, binary: bool = False) -> bytes:
    """The body of a request that says it is JSON or, where ``binary`` data may follow the JSON, nothing in particular.

    Raises:
        BodyTooLargeError: 413, before more than the limit was kept.
        Problem: 415 for another type or an encoding.
        ClientGoneError: the client disconnected.
    """
    _check_headers(scope, limit, _BINARY_TYPES if binary else _JSON_TYPES)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGoneError
    body: bytes = message.get("body", b"")
    _check_size(len(body), limit, message)
    if not message.get("more_body", False):
        return body
    chunks = bytearray(body)
    while message.get("more_body", False):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        chunks += message.get("body", b"")
        _check_size(len(chunks), limit, message)
    return bytes(chunks)


async def respond_and_discard(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Respond to a client that is still sending, and read on for a while without keeping anything.

    A connection that is closed while data arrives is reset, and the reset can take the response away from the client
    before it was read.
    """

    async def send_open(message: Message) -> None:
        await send({**message, "more_body": True} if message["type"] == "http.response.body" else message)

    await response(scope, receive, send_open)
    with suppress(TimeoutError):
        async with asyncio.timeout(_DISCARD_SECONDS):
            while (await receive()).get("more_body", False):
                pass
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _check_headers(scope: Scope, limit: int, types: Sequence[bytes]) -> None:
    for name, value in scope["headers"]:
        if name == b"content-length":
            if value.isdigit() and (len(value) > 18 or int(value) > limit):
                raise BodyTooLargeError(limit, unread=True)
        elif name == b"content-type":
            media_type = value.partition(b";")[0].strip().lower()
            if media_type not in types and not (
                media_type.startswith(b"application/") and media_type.endswith(b"+json")
            ):
                raise Problem(415, "unsupported_media_type", "content-type must be application/json")
        elif name == b"content-encoding" and value.strip().lower() not in (b"identity", b""):
            raise Problem(415, "unsupported_encoding", "compressed bodies are refused")


def _check_size(size: int, limit: int, message: Message) -> None:
    if size > limit:
        raise BodyTooLargeError(limit, unread=message.get("more_body", False))
