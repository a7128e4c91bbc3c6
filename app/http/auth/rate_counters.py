"""Where the texts of each key are counted: in Redis, so that all machines count together; else, and while Redis fails,
in memory that the HTTP workers of this machine share."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import logging
import mmap
import os
import struct
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from limits import RateLimitItem
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.util import WindowStats
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from app.serving.breaker import CircuitBreaker
from app.settings import Settings

logger = logging.getLogger(__name__)

_MOST_CONNECTIONS = 256
"""To Redis, from one worker: each request under way needs one while it is counted; beyond, it is counted here."""
_SLOT = struct.Struct("=16sdq")
"""Digest of the counter's name, Unix time at which it expires, count."""
_SLOTS = 8_192
"""Counters: two windows of each limit of each key are a quarter of that at most, with 1,000 keys and one limit."""
_PLACES = 16
"""Slots in which a counter can be; where all are taken it takes the place of the one that expires first."""
_ATTEMPTS = 1_000
"""How often the lock is tried before it is done without: its holder was stopped, and one lost count is better than a
worker that stands still."""

_Found = TypeVar("_Found")


class SharedStorage(MemoryStorage):
    """The library's storage in memory, but its counters are in a mapped file that several processes share.

    Args:
        path: the file, made where it is not there; None for memory of this process alone.
    """

    def __init__(self, path: Path | None) -> None:
        super().__init__()
        self._file = -1
        if path is not None:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                # Not a file with holes: where the disk is full, writing into one that is mapped ends the process.
                os.posix_fallocate(self._file, 0, _SLOTS * _SLOT.size)
            except OSError as error:
                logger.error("rate limits are counted by this process alone: no file for them (%s)", error.strerror)
                os.close(self._file)
                self._file = -1
        self._memory = mmap.mmap(self._file, _SLOTS * _SLOT.size)

    def close(self) -> None:
        """Unmap the file."""
        self._memory.close()
        if self._file >= 0:
            os.close(self._file)

    async def get(self, key: str) -> int:
        """See ``Storage.get``."""
        return self._find(key)[1]

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """See ``Storage.incr``."""
        return self._add(key, expiry, amount)

    async def decr(self, key: str, amount: int = 1) -> int:
        """Take back what ``incr`` counted."""
        return self._add(key, 0, -amount)

    def _add(self, key: str, expiry: float, amount: int) -> int:
        with self._locked():
            place, count, expires = self._find(key)
            count = max(0, count + amount)
            _SLOT.pack_into(self._memory, place, _digest(key), expires or time.time() + expiry, count)
        return count

    def _find(self, key: str) -> tuple[int, int, float]:
        """Where a counter is, or may be put; its count; and when it expires, 0.0 where it is not there."""
        digest, now = _digest(key), time.time()
        first = int.from_bytes(digest[:4], "little")
        free, soonest = 0, float("inf")
        for number in range(first, first + _PLACES):
            place = number % _SLOTS * _SLOT.size
            found, expires, count = _SLOT.unpack_from(self._memory, place)
            if found == digest and expires > now:
                return place, count, expires
            if expires < soonest:
                free, soonest = place, expires
        return free, 0, 0.0

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if self._file < 0:
            yield
            return
        for _ in range(_ATTEMPTS):
            with suppress(BlockingIOError):
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            os.sched_yield()
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)


class RateCounters:
    """Counts, in a window that slides, against limits that whoever counts names.

    Args:
        settings: say where Redis is, and how long it may take.
        path: file of the counters of this machine; None where this is the only process.
    """

    def __init__(self, settings: Settings, path: Path | None = None) -> None:
        self._shared = SharedStorage(path)
        self._here = SlidingWindowCounterRateLimiter(self._shared)
        self._timeout = settings.redis_timeout
        self._breaker = CircuitBreaker()
        self._redis = _redis(settings.redis_url, settings.redis_timeout) if settings.redis_url else None
        self._everywhere = SlidingWindowCounterRateLimiter(self._redis) if self._redis else None

    @property
    def shared(self) -> bool:
        """Whether Redis counts; else nothing has to be waited for."""
        return self._redis is not None

    async def close(self) -> None:
        """Close connections and file."""
        if self._redis is not None:
            with suppress(Exception):
                await asyncio.wait_for(self._redis.bridge.storage.aclose(), self._timeout)  # type: ignore[attr-defined]
        self._shared.close()

    async def test(self, limit: RateLimitItem, name: str, texts: int) -> bool:
        """Whether so many texts would pass."""
        return await self._ask(lambda limiter: limiter.test(limit, name, cost=texts))

    async def hit(self, limit: RateLimitItem, name: str, texts: int) -> bool:
        """Count so many texts; false, and nothing is counted, where they do not pass."""
        return await self._ask(lambda limiter: limiter.hit(limit, name, cost=texts))

    async def left(self, limit: RateLimitItem, name: str) -> WindowStats:
        """When more may pass, and how many may now."""
        return await self._ask(lambda limiter: limiter.get_window_stats(limit, name))

    async def _ask(self, question: Callable[[SlidingWindowCounterRateLimiter], Awaitable[_Found]]) -> _Found:
        if self._everywhere is not None and self._breaker.allows(time.monotonic()):
            try:
                async with asyncio.timeout(self._timeout):
                    found = await question(self._everywhere)
            except Exception as error:  # what garbage makes the client raise is not to be foreseen
                if self._breaker.failed(time.monotonic()):
                    logger.warning("redis fails (%s), rate limits are counted on this machine", type(error).__name__)
            else:
                if self._breaker.succeeded():
                    logger.info("rate limits are counted in redis again")
                return found
        return await question(self._here)


def _redis(url: str, timeout: float) -> RedisStorage:
    scheme = "async+redis+" if url.startswith("unix") else "async+"
    options: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
        "max_connections": _MOST_CONNECTIONS,
        "protocol": 2,
    }
    return RedisStorage(scheme + url, implementation="redispy", key_prefix="sentiment-rate", **options)


def _digest(key: str) -> bytes:
    return hashlib.blake2b(key.encode(), digest_size=16).digest()
