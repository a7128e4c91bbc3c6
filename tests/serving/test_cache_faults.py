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
from tests.serving.test_cache import eventually, redis_cache
from tests.waiting import LIMIT, until

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
    """No answer but a valid one is believed; no look-up waits for ever, no write raises, and the breaker opens."""
    async with cache_at(behaviour) as cache:
        async with asyncio.timeout(LIMIT):
            for number in range(20):
                cache.put(b"key", VALUE)
                assert await cache.get_many([b"key", b"other", bytes([number])]) == [None] * 3
        assert cache._reads.breaker.is_open
        # The last write may still be under way, for as long as its timeout.
        await until(lambda: cache._writes.breaker.is_open or cache._writes._call is None, "writes go on")


async def test_a_look_up_behind_a_slow_one_waits_no_longer_than_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for what was asked before either, were it never to be over."""

    def never(*_: object) -> None:
        """Calls nobody."""

    async with cache_at(black_hole) as cache:
        monkeypatch.setattr(cache._reads, "call", never)
        first = asyncio.create_task(cache.get_many([b"a"]))
        await asyncio.sleep(0.1 * TIMEOUT)
        async with asyncio.timeout(LIMIT):
            assert await cache.get_many([b"b"]) == [None]
            assert await first == [None]


async def test_a_full_redis_is_a_miss_and_used_again_when_it_is_not(redis_server: RedisServer) -> None:
    """Writes that are refused for want of memory harm nothing."""
    url = f"redis://127.0.0.1:{redis_server.port}/0"
    with redis.Redis.from_url(url) as client:
        client.config_set("maxmemory", "1")
        async with redis_cache(url) as cache:
            for number in range(10):
                cache.put(bytes([number]), VALUE)
                assert await cache.get_many([bytes([number])]) == [None]
            client.config_set("maxmemory", "0")
            deadline = time.monotonic() + LIMIT
            while not (await cache.get_many([b"key"]))[0]:
                assert time.monotonic() < deadline, "never used again"
                cache.put(b"key", VALUE)
                await asyncio.sleep(0.05)


async def test_a_value_of_another_text_is_not_believed(redis_server: RedisServer) -> None:
    """Answers that are shifted against their questions would be well-formed: each value names its key."""
    async with redis_cache(redis_server.url) as cache:
        cache.put(b"key", VALUE)
        assert await eventually(cache, b"key")
        with redis.Redis.from_url(redis_server.url) as client:
            client.set(f"sentiment:{b'other'.hex()}", client.get(f"sentiment:{b'key'.hex()}"))
        assert (await cache.get_many([b"key"]))[0] is not None
        assert await cache.get_many([b"other"]) == [None]
