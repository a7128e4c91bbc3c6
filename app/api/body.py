"""Reads a request body within bounds."""

from __future__ import annotations

from starlette.types import Receive, Scope

from app.api.problems import Problem

_JSON_TYPES = (b"application/json", b"")


class ClientGoneError(Exception):
    """The client disconnected before its request was complete."""


async def read_json_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The body of a request that says it is JSON.

    Raises:
        Problem: 413 over the limit, before more than the limit was read; 415 for another type or an encoding.
        ClientGoneError: the client disconnected.
    """
    _check_headers(scope, limit)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGoneError
    body: bytes = message.get("body", b"")
    _check_size(len(body), limit)
    if not message.get("more_body", False):
        return body
    chunks = bytearray(body)
    while message.get("more_body", False):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        chunks += message.get("body", b"")
        _check_size(len(chunks), limit)
    return bytes(chunks)


def _check_headers(scope: Scope, limit: int) -> None:
    for name, value in scope["headers"]:
        if name == b"content-length":
            if value.isdigit() and int(value) > limit:
                raise _too_large(limit)
        elif name == b"content-type":
            media_type = value.partition(b";")[0].strip().lower()
            if media_type not in _JSON_TYPES and not (
                media_type.startswith(b"application/") and media_type.endswith(b"+json")
            ):
                raise Problem(415, "unsupported_media_type", "content-type must be application/json")
        elif name == b"content-encoding" and value.strip().lower() not in (b"identity", b""):
            raise Problem(415, "unsupported_encoding", "compressed bodies are refused")


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise _too_large(limit)


def _too_large(limit: int) -> Problem:
    # The rest of the body is not read, so the connection cannot be used again.
    return Problem(413, "body_too_large", f"body must not exceed {limit} bytes", headers={"Connection": "close"})
