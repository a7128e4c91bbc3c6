"""One connection to Redis for one purpose, with a deadline on every call and a circuit breaker in front of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Literal

import redis.asyncio
from hiredis import pack_command
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import InvalidResponse, RedisError, ResponseError

from app import metrics
from app.errors import SettingsError
from app.serving.breaker import CircuitBreaker

logger = logging.getLogger(__name__)

Operation = Literal["read", "write"]
Command = tuple[str | bytes | int, ...]

_MAX_ERROR_CHARACTERS = 200
_START_SECONDS = 2.0


class RedisLink:
    """Sends commands to Redis, a batch at a time, and gives up in time.

    Reads and writes have a link each: a server that is full or only a replica refuses writes alone.

    Args:
        pool: makes the connection, which is opened by the first call and again after each failure.
        timeout: seconds for a call, opening the connection included.
        operation: what it is for, as logs and metrics call it.
    """

    def __init__(self, pool: redis.asyncio.ConnectionPool, timeout: float, operation: Operation) -> None:
        self._connection = pool.make_connection()  # type: ignore[no-untyped-call]
        self._timeout = timeout
        self._operation = operation
        self._gauge = metrics.CACHE_BREAKER_OPEN.labels(operation)
        self.breaker = CircuitBreaker()

    async def call(self, commands: Sequence[Command], valid: Callable[[Any], bool]) -> list[Any]:
        """The reply to each command; a command that Redis refuses has its ``ResponseError`` in that place.

        Counts for the breaker: as a failure where anything was refused.

        Args:
            commands: what to send.
            valid: says whether a reply is one that these commands have.

        Raises:
            Exception: there is no connection, no answer in time, or what came is no such reply. Such a connection is
                not used again, since a late answer would be taken for that of a later command.
        """
        connection = self._connection
        try:
            async with asyncio.timeout(self._timeout):
                if not connection.is_connected:
                    await connection.connect()
                packed = [pack_command(command) for command in commands]  # type: ignore[arg-type]  # wrong in its stub
                await connection.send_packed_command(b"".join(packed), check_health=False)
                replies = [await _reply(connection, valid) for _ in commands]
        except BaseException as error:
            # Not only an Exception: a call that is cancelled leaves its answer on the way.
            await _close(connection)
            if isinstance(error, Exception):
                self._failed(error)
            raise
        refused = next((reply for reply in replies if isinstance(reply, ResponseError)), None)
        if refused is None:
            self._succeeded()
        else:
            self._failed(refused)
        return replies

    async def close(self) -> None:
        """Close the connection; the next call opens another one."""
        await _close(self._connection)

    def _failed(self, error: Exception) -> None:
        if self.breaker.failed(time.monotonic()):
            self._gauge.set(1)
            logger.warning("redis fails to %s (%s), going on without it and probing", self._operation, _named(error))

    def _succeeded(self) -> None:
        if self.breaker.succeeded():
            self._gauge.set(0)
            logger.info("redis can be used to %s again", self._operation)


def make_pool(url: str, timeout: float) -> redis.asyncio.ConnectionPool:
    """What makes connections to a server. Opens none.

    Args:
        url: ``redis://``, ``rediss://`` (TLS) or ``unix://``.
        timeout: seconds for opening one.

    Raises:
        SettingsError: the URL will not do.
    """
    try:
        # Calls have a deadline as a whole, so reads need none of their own, which would cost as much as the read.
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


async def _reply(connection: redis.asyncio.Connection, valid: Callable[[Any], bool]) -> Any:
    try:
        reply = await connection.read_response()
    except ResponseError as error:
        return error
    if not valid(reply):
        raise InvalidResponse
    return reply


async def _close(connection: redis.asyncio.Connection) -> None:
    with suppress(Exception):
        await connection.disconnect(nowait=True)


def _named(error: Exception) -> str:
    """An error for the log; without what came instead of a reply, which may be anything."""
    kind = type(error).__name__
    if isinstance(error, RedisError) and not isinstance(error, InvalidResponse):
        return f"{kind}: {error}"[:_MAX_ERROR_CHARACTERS]
    return kind
