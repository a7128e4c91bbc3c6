"""One connection to Redis for one purpose, with a deadline on every call and a circuit breaker in front of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Literal, NamedTuple

import redis.asyncio
from hiredis import Reader, pack_command
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, RedisError, ResponseError

from app import metrics
from app.errors import SettingsError
from app.serving.breaker import CircuitBreaker

logger = logging.getLogger(__name__)

Operation = Literal["read", "write"]
Command = tuple[str | bytes | int, ...]
Replies = Sequence[Any] | None

_MAX_ERROR_CHARACTERS = 200
_START_SECONDS = 2.0


class RedisLink:
    """Sends commands to Redis, one call at a time, and gives up in time.

    Reads and writes have a link each: a server that is full or only a replica refuses writes alone. redis-py opens the
    connection (TLS, credentials, database), and it is taken over then: so a call costs no task, and all its replies are
    read at once.

    Args:
        pool: makes the connection, which is opened by the first call and again after each failure.
        timeout: seconds for a call, opening the connection included.
        operation: what it is for, as logs and metrics call it.
    """

    def __init__(self, pool: redis.asyncio.ConnectionPool, timeout: float, operation: Operation) -> None:
        self._connection = pool.make_connection()  # type: ignore[no-untyped-call]
        self._transport: asyncio.Transport | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._timeout = timeout
        self._operation = operation
        self._gauge = metrics.CACHE_BREAKER_OPEN.labels(operation)
        self._call: _Call | None = None
        self.breaker = CircuitBreaker()

    def call(self, commands: Sequence[Command], valid: Callable[[Any], bool], done: Callable[[Replies], None]) -> None:
        """Send commands; only while no other call is under way.

        Counts for the breaker: as a failure where anything was refused.

        Args:
            commands: what to send.
            valid: says whether a reply is one that these commands have.
            done: called once, later, with the reply to each command, where a command that Redis refuses has its
                ``ResponseError``; with None where there is no connection, no answer in time, or what came is no such
                reply. Such a connection is not used again, since a late answer would be taken for a later command's.
        """
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._timeout, self._fail, TimeoutError())
        self._call = _Call(len(commands), valid, done, timer)
        packed = b"".join([pack_command(command) for command in commands])  # type: ignore[arg-type]  # wrong in its stub
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(packed)
        else:
            self._connecting = loop.create_task(self._connect(packed))

    def drop(self) -> None:
        """Leave the connection; the next call opens another one."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    async def close(self) -> None:
        """Close the connection; of a call that is under way nobody is told."""
        call, self._call = self._call, None
        if call is not None:
            call.timer.cancel()
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        self.drop()
        await _close(self._connection)

    async def _connect(self, packed: bytes) -> None:
        call = self._call
        try:
            await _close(self._connection)  # it still holds the one that was left
            await self._connection.connect()
            transport = self._connection._writer.transport  # noqa: SLF001 - there is no public way to take it over
            transport.set_protocol(_Replies(self, transport))
        except Exception as error:  # what garbage makes the client raise is not to be foreseen
            if self._call is call:
                self._fail(error)
            return
        self._transport = transport
        transport.write(packed)

    def received(self, transport: asyncio.BaseTransport, replies: list[Any], *, complete: bool) -> bool:
        """Replies have come on a connection, ``complete`` where no part of another one has; whether they were taken."""
        call = self._call
        if transport is not self._transport:
            return True  # it was left
        if call is None or len(replies) > call.replies:
            self._fail(InvalidResponse())
            return True
        if len(replies) < call.replies:
            return False
        if not complete or not all(isinstance(reply, ResponseError) or call.valid(reply) for reply in replies):
            self._fail(InvalidResponse())
            return True
        refused = next((reply for reply in replies if isinstance(reply, ResponseError)), None)
        if refused is None:
            self._succeeded()
        else:
            self._failed(refused)
        self._end(replies)
        return True

    def lost(self, transport: asyncio.BaseTransport, error: Exception) -> None:
        """A connection has ended, or what came on it is no reply."""
        if transport is self._transport:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self.drop()
        if self._connecting is not None and not self._connecting.done():
            self._connecting.cancel()
        if self._call is not None:
            self._failed(error)
            self._end(None)

    def _end(self, replies: Replies) -> None:
        call, self._call = self._call, None
        assert call is not None  # noqa: S101 - only what is under way can end
        call.timer.cancel()
        call.done(replies)

    def _failed(self, error: Exception) -> None:
        if self.breaker.failed(time.monotonic()):
            self._gauge.set(1)
            logger.warning("redis fails to %s (%s), going on without it and probing", self._operation, _named(error))

    def _succeeded(self) -> None:
        if self.breaker.succeeded():
            self._gauge.set(0)
            logger.info("redis can be used to %s again", self._operation)


class _Call(NamedTuple):
    """A call under way: how many replies it has, which ones can be, who is told, and what gives it up."""

    replies: int
    valid: Callable[[Any], bool]
    done: Callable[[Replies], None]
    timer: asyncio.TimerHandle


class _Replies(asyncio.Protocol):
    """Reads replies of one connection for a link, which has one call under way."""

    def __init__(self, link: RedisLink, transport: asyncio.BaseTransport) -> None:
        self._link = link
        self._transport = transport
        self._replies: list[Any] = []
        self._reader = Reader(protocolError=InvalidResponse, replyError=ResponseError)

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                self._replies.append(reply)
        except Exception as error:  # likewise
            self._link.lost(self._transport, error)
            return
        if self._replies and self._link.received(self._transport, self._replies, complete=not self._reader.has_data()):
            self._replies = []

    def connection_lost(self, exc: Exception | None) -> None:
        self._link.lost(self._transport, exc or RedisConnectionError("the connection was closed"))


def make_pool(url: str, timeout: float) -> redis.asyncio.ConnectionPool:
    """What makes connections to a server. Opens none.

    Args:
        url: ``redis://``, ``rediss://`` (TLS) or ``unix://``.
        timeout: seconds for opening one.

    Raises:
        SettingsError: the URL will not do.
    """
    try:
        # Calls have a deadline as a whole, so reads need none of their own.
        pool = redis.asyncio.ConnectionPool.from_url(
            url, socket_connect_timeout=timeout, socket_timeout=None, retry=Retry(NoBackoff(), 0), protocol=2
        )
        pool.make_connection()  # type: ignore[no-untyped-call]
    except (TypeError, ValueError, RedisError) as error:
        # Without the library's words, which may quote a part of the URL: it may hold a password.
        raise SettingsError(
            "SENTIMENT_REDIS_URL: must be SCHEME://USER:PASSWORD@HOST:PORT/DATABASE?OPTIONS with options that redis-py "
            "knows, and special characters percent-encoded"
        ) from error
    return pool


async def refuse_other_modes(url: str) -> None:
    """Make sure, where the server can be asked, that it is one that can be used.

    Raises:
        SettingsError: it is a node of a cluster or a sentinel, or the URL will not do.
    """
    connection = make_pool(url, _START_SECONDS).make_connection()  # type: ignore[no-untyped-call]
    try:
        async with asyncio.timeout(_START_SECONDS):
            await connection.connect()
            await connection.send_command("INFO", "server")
            lines = bytes(await connection.read_response()).decode("ascii", "replace").splitlines()
    except Exception as error:  # Redis is optional: what cannot be asked now is asked again by every look-up
        logger.warning("redis does not answer at the start (%s), going on without it and probing", _named(error))
        return
    finally:
        await _close(connection)
    mode = next((line.partition(":")[2] for line in lines if line.startswith("redis_mode:")), "standalone")
    if mode != "standalone":
        raise SettingsError(
            f"SENTIMENT_REDIS_URL: this server is a {mode}, whose keys are spread over several servers or which holds "
            "none; name a single Redis server, or a proxy that stands for one"
        )


async def _close(connection: redis.asyncio.Connection) -> None:
    with suppress(Exception):
        await connection.disconnect(nowait=True)


def _named(error: Exception) -> str:
    """An error for the log; without what came instead of a reply, which may be anything."""
    kind = type(error).__name__
    if isinstance(error, RedisError) and not isinstance(error, InvalidResponse):
        return f"{kind}: {error}"[:_MAX_ERROR_CHARACTERS]
    return kind
