"""Reads a request body within bounds, and notices where its client is gone."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from app import metrics
from app.errors import SentimentError
from app.http.problems import Problem, problem_of

_JSON_TYPES = (b"application/json", b"")
_BINARY_TYPES = (*_JSON_TYPES, b"application/octet-stream")
_CHARSETS = (b"utf-8", b"utf8", b"us-ascii")
_WINDOW_BITS = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}
"""Content codings (RFC 9110, section 8.4.1) that are taken where compressed bodies are, as zlib knows them."""
_DISCARD_SECONDS = 5.0
_DISCARD_PAUSE = 1.0

MAX_DISCARDED = 67_108_864
"""Most bytes that are read of what nobody looks at, such as the rest of a body that was answered."""
MAX_RATIO = 100
"""How many times larger than it arrived a compressed body may be; texts of one word repeated stay below."""

_WATCH_AFTER = 0.05
"""Seconds after which a request without an answer is worth watching for its client's disconnection."""
T = TypeVar("T")


class ClientGoneError(Exception):
    """The client disconnected before its request was complete."""

    @staticmethod
    def response() -> Response:
        """Nobody reads it; the status is what the metrics count."""
        return Response(status_code=499)


class BodyTooLargeError(Problem):
    """The body is over the limit.

    Attributes:
        unread: whether the client may still be sending.
    """

    def __init__(self, limit: int, *, unread: bool) -> None:
        # What is left of the body is not a next request, so the connection cannot be used again.
        super().__init__(413, "body_too_large", f"body must not exceed {limit} bytes", headers={"Connection": "close"})
        self.unread = unread


async def read_json_body(
    scope: Scope, receive: Receive, limit: int, *, compressed: bool = False, binary: bool = False
) -> bytes:
    """The body of a request that says it is JSON or, where ``binary`` data may follow the JSON, nothing in particular.

    Args:
        scope: the request.
        receive: gives its body.
        limit: most bytes, before and after unpacking.
        compressed: whether gzip and deflate are taken.
        binary: whether binary data may follow the JSON.

    Raises:
        BodyTooLargeError: 413, before more than the limit was kept.
        Problem: 415 for another type, character set or coding; 400 for a coding that does not hold.
        ClientGoneError: the client disconnected.
    """
    coding = _check_headers(scope, limit, _BINARY_TYPES if binary else _JSON_TYPES, compressed=compressed)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGoneError
    body: bytes = message.get("body", b"")
    _check_size(len(body), limit, message)
    if message.get("more_body", False):
        body = await _read_on(body, message, receive, limit)
    return body if coding is None else _unpack(body, coding, limit)


async def _read_on(body: bytes, message: Message, receive: Receive, limit: int) -> bytes:
    chunks, size = [body], len(body)
    while message.get("more_body", False):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        _check_size(size, limit, message)
    return b"".join(chunks)


async def refuse(
    error: Problem | SentimentError,
    scope: Scope,
    receive: Receive,
    send: Send,
    respond: Callable[[Problem], Response] = Problem.response,
    *,
    unread: bool = False,
) -> None:
    """Answer a request by an error, and count that.

    Args:
        error: why there is no other answer.
        scope: the request.
        receive: gives what is left of its body.
        send: takes the answer.
        respond: makes the answer.
        unread: whether the client may still be sending, where the error does not say so.
    """
    problem = error if isinstance(error, Problem) else problem_of(error)
    metrics.REJECTED.labels(problem.code).inc()
    response = respond(problem)
    if unread or (isinstance(problem, BodyTooLargeError) and problem.unread):
        await respond_and_discard(response, scope, receive, send)
    else:
        await response(scope, receive, send)


async def respond_and_discard(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Respond to a client that is still sending, and read on for a while without keeping anything.

    A connection that is closed while data arrives is reset, and the reset can take the response away from the client
    before it was read. A client that sends nothing is not waited for.
    """

    async def send_open(message: Message) -> None:
        await send({**message, "more_body": True} if message["type"] == "http.response.body" else message)

    await response(scope, receive, send_open)
    with suppress(TimeoutError):
        async with asyncio.timeout(_DISCARD_SECONDS):
            more, size = True, 0
            while more and size <= MAX_DISCARDED:
                message = await asyncio.wait_for(receive(), _DISCARD_PAUSE)
                more, size = message.get("more_body", False), size + len(message.get("body", b""))
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _check_headers(scope: Scope, limit: int, types: Sequence[bytes], *, compressed: bool) -> bytes | None:
    """The content coding to undo, or None."""
    coding = None
    for name, value in scope["headers"]:
        if name == b"content-length":
            if value.isdigit() and (len(value) > 18 or int(value) > limit):
                raise BodyTooLargeError(limit, unread=True)
        elif name == b"content-type":
            _check_type(value, types)
        elif name == b"content-encoding" and (given := value.strip().lower()) not in (b"identity", b""):
            if not compressed or coding is not None or given not in _WINDOW_BITS:
                raise _unsupported_encoding(compressed=compressed)
            coding = given
    return coding


def check_types(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Refuse a body that is said to be something else than JSON.

    Raises:
        Problem: 415.
    """
    for name, value in headers:
        if name == b"content-type" and value != b"application/json":
            _check_type(value, _JSON_TYPES)


def _check_type(value: bytes, types: Sequence[bytes]) -> None:
    media_type, _, parameters = value.partition(b";")
    media_type = media_type.strip().lower()
    if media_type not in types and not (media_type.startswith(b"application/") and media_type.endswith(b"+json")):
        raise Problem(415, "unsupported_media_type", "content-type must be application/json")
    for parameter in parameters.split(b";"):
        name, _, charset = parameter.partition(b"=")
        if name.strip().lower() == b"charset" and charset.strip(b' \t"').lower() not in _CHARSETS:
            raise Problem(415, "unsupported_media_type", "content-type: charset must be utf-8, as all JSON is")


def _unsupported_encoding(*, compressed: bool) -> Problem:
    accepted = "gzip, deflate" if compressed else "identity"
    detail = "content-encoding must be gzip or deflate, once" if compressed else "compressed bodies are refused"
    return Problem(415, "unsupported_encoding", detail, headers={"Accept-Encoding": accepted})


def _check_size(size: int, limit: int, message: Message) -> None:
    if size > limit:
        raise BodyTooLargeError(limit, unread=message.get("more_body", False))


def _unpack(body: bytes, coding: bytes, limit: int) -> bytes:
    """Undo a content coding without ever holding more than the limit.

    Raises:
        BodyTooLargeError: 413; the body is over the limit, or over ``MAX_RATIO`` times what arrived.
        Problem: 400; not what its coding says, cut short, or followed by something.
    """
    most = min(limit, MAX_RATIO * len(body))
    inflater = zlib.decompressobj(_WINDOW_BITS[coding])
    try:
        unpacked = inflater.decompress(body, most + 1)
    except zlib.error:
        unpacked = b""
    if len(unpacked) > most:
        raise BodyTooLargeError(most, unread=False)
    if not inflater.eof or inflater.unused_data:
        raise Problem(400, "invalid_encoding", f"body: not valid {coding.decode()}")
    return unpacked


async def while_connected(work: Awaitable[T], receive: Receive) -> T:
    """Do the work unless the client goes away meanwhile.

    Raises:
        ClientGoneError: the client disconnected; the work is cancelled.
    """
    task: asyncio.Future[T] = asyncio.ensure_future(work)
    watcher: asyncio.Task[Any] | None = None
    try:
        done, _ = await asyncio.wait({task}, timeout=_WATCH_AFTER)
        if not done:
            watcher = asyncio.ensure_future(disconnected(receive))
            await asyncio.wait({task, watcher}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGoneError
        return task.result()
    finally:
        for pending in (task, watcher):
            if pending is not None and not pending.done():
                pending.cancel()
                await asyncio.gather(pending, return_exceptions=True)


async def disconnected(receive: Receive) -> None:
    """Ends when the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
