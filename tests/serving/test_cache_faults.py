"""What stands where Redis should be, and misbehaves: answers are misses, waits are bounded, the cache recovers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import redis

from app.sentiment import Prediction
from app.serving.redis_cache import RedisCache
from tests.redis_server import RedisServer

VALUE = Prediction((0.25, 0.75), tokens=12, truncated=False)
TIMEOUT = 0.2

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def replies(reply: bytes) -> Behaviour:
    """The same answer to whatever is said."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65_536):
            writer.write(reply)
            await writer.drain()

    return behave


async def black_hole(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accepts and never answers."""
    while await reader.read(65_536):
        pass


async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accepts and closes."""


@asynccontextmanager
async def cache_at(behaviour: Behaviour) -> AsyncIterator[RedisCache]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await behaviour(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    cache = RedisCache(f"redis://127.0.0.1:{port}/0", classes=2, timeout=TIMEOUT, ttl=60)
    cache.start()
    try:
        yield cache
    finally:
        await cache.close()
        server.close()


@pytest.mark.parametrize(
    "behaviour",
    [
        black_hole,
        hangs_up,
        replies(b"garbage\r\n" * 10),
        replies(b"$-x\r\n"),
        replies(b":one\r\n"),
        replies(b"*1\r\n$-1\r\n"),
        replies(b"*100\r\n" + b"$-1\r\n" * 100),
        replies(b"+OK\r\n"),
        replies(b"$99999999999\r\nshort\r\n"),
        replies(b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"),
        replies(b"-LOADING Redis is loading the dataset in memory\r\n"),
        replies(b"\xff\x00\xfe" * 1000),
    ],
)
async def test_whatever_answers_look_ups_are_prompt_misses(behaviour: Behaviour) -> None:
    """No answer but a valid one is believed; no look-up takes much longer than the timeout, no write raises, and the
    breaker opens."""
    async with cache_at(behaviour) as cache:
        slowest = 0.0
        for number in range(20):
            cache.put(b"key", VALUE)
            started = time.monotonic()
            assert await cache.get_many([b"key", b"other", bytes([number])]) == [None] * 3
            slowest = max(slowest, time.monotonic() - started)
        assert slowest < TIMEOUT + 1
        assert cache._reads.breaker.is_open
        assert not cache.in_use
        assert cache._writer is not None
        assert not cache._writer.done(), "the writer survives"


async def test_a_look_up_behind_a_slow_one_waits_no_longer_than_the_timeout() -> None:
    """Answers that come just in time do not add up."""

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65_536):
            await asyncio.sleep(0.8 * TIMEOUT)
            writer.write(b"*1\r\n$-1\r\n")

    async with cache_at(slow) as cache:
        cache._reads.breaker.failed(0.0)
        first = asyncio.create_task(cache.get_many([b"a"]))
        await asyncio.sleep(0.1 * TIMEOUT)
        started = time.monotonic()
        assert await cache.get_many([b"b"]) == [None]
        assert time.monotonic() - started < TIMEOUT + 0.5
        assert await first == [None]


async def test_a_full_redis_is_a_miss_and_used_again_when_it_is_not(redis_server: RedisServer) -> None:
    """Writes that are refused for want of memory harm nothing."""
    url = f"redis://127.0.0.1:{redis_server.port}/0"
    with redis.Redis.from_url(url) as client:
        client.config_set("maxmemory", "1")
        cache = RedisCache(url, classes=2, timeout=1.0, ttl=60)
        cache.start()
        for number in range(10):
            cache.put(bytes([number]), VALUE)
            assert await cache.get_many([bytes([number])]) == [None]
        client.config_set("maxmemory", "0")
        for _ in range(200):
            cache.put(b"key", VALUE)
            await asyncio.sleep(0.05)
            if (await cache.get_many([b"key"]))[0]:
                break
        else:
            pytest.fail("never used again")
        await cache.close()


async def test_a_value_of_another_text_is_not_believed(redis_server: RedisServer) -> None:
    """Answers that are shifted against their questions would be well-formed: each value names its key."""
    cache = RedisCache(redis_server.url, classes=2, timeout=1.0, ttl=60)
    cache.start()
    cache.put(b"key", VALUE)
    for _ in range(200):
        if (await cache.get_many([b"key"]))[0]:
            break
        await asyncio.sleep(0.02)
    with redis.Redis.from_url(redis_server.url) as client:
        client.set(f"sentiment:{b'other'.hex()}", client.get(f"sentiment:{b'key'.hex()}"))
    assert (await cache.get_many([b"key"]))[0] is not None
    assert await cache.get_many([b"other"]) == [None]
    await cache.close()
