"""The caches: keys, the least-recently-used one, the circuit breaker, and Redis with everything that befalls it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import msgpack
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from app.sentiment import JUDGEMENTS, Judgement, Prediction
from app.serving.breaker import CircuitBreaker
from app.serving.cache import VALUE_VERSION, KeyMaker, MemoryCache, decode_value, encode_value
from app.serving.redis_cache import RedisCache
from tests.http.shapes import sample
from tests.redis_server import RedisServer, free_port
from tests.waiting import LIMIT, until

VALUE = Prediction((0.25, 0.75), tokens=12, truncated=False, rating=7.5, unknown=0.625, judgement="unreadable")
WHOLE = [VALUE_VERSION, b"key", (0.5, 0.5), 1, False, None, 0.25, "unsure"]
"""A well-formed value."""


def changed(place: int, value: object) -> bytes:
    """That value with another in one of its places."""
    packed: bytes = msgpack.packb([*WHOLE[:place], value, *WHOLE[place + 1 :]])
    return packed


@asynccontextmanager
async def redis_cache(url: str, timeout: float = 10.0) -> AsyncIterator[RedisCache]:
    """A cache whose timeout nothing reaches but a server that hangs."""
    cache = RedisCache(url, classes=2, timeout=timeout, ttl=60)
    try:
        yield cache
    finally:
        await cache.close()


async def eventually(cache: RedisCache, key: bytes) -> Prediction:
    """What is under a key once the background writer got to it."""
    async with asyncio.timeout(LIMIT):
        while (found := (await cache.get_many([key]))[0]) is None:  # noqa: ASYNC110 - no event says so
            await asyncio.sleep(0.02)
    return found


def test_keys_differ_in_every_part_and_in_the_text() -> None:
    """No two of model, runtime, precision and text can be exchanged or shifted without another key."""
    parts = [("a", "b", "c"), ("ab", "", "c"), ("a", "bc", ""), ("b", "a", "c")]
    keys = {KeyMaker(*part)(text) for part in parts for text in ("x", "X", "x ", "", "\ud800")}
    assert len(keys) == len(parts) * 5
    assert KeyMaker("a")("x") == KeyMaker("a")("x")


def test_keys_cannot_be_made_without_the_secret() -> None:
    """Who reads Redis could otherwise try short texts; any length of secret counts as a whole."""
    secrets = ("", "one", "two", "x" * 64, "x" * 65, "x" * 64 + "y")
    assert len({KeyMaker("model", secret=secret)("good") for secret in secrets}) == len(secrets)
    assert KeyMaker("model", secret="one")("good") == KeyMaker("model", secret="one")("good")


def test_memory_cache_forgets_the_least_recently_used() -> None:
    """Beyond its size the result that was not asked for longest goes."""
    cache = MemoryCache(2)
    cache.put(b"1", VALUE)
    cache.put(b"2", VALUE)
    assert cache.get(b"1") is VALUE
    cache.put(b"3", VALUE)
    assert [cache.get(key) is not None for key in (b"1", b"2", b"3")] == [True, False, True]
    assert len(cache) == 2


def test_breaker_opens_probes_and_closes() -> None:
    """After failures in a row nobody gets through but one probe per pause, and pauses double up to a bound."""
    breaker = CircuitBreaker(failures=2, shortest=1.0, longest=3.0)
    assert not breaker.failed(0.0)
    assert breaker.allows(0.0)
    assert breaker.failed(0.0)
    assert not breaker.allows(0.9)
    assert breaker.allows(1.0)
    assert not breaker.allows(1.0), "a second caller is not let through with the probe"
    assert not breaker.failed(1.1)
    assert not breaker.allows(3.0)
    assert breaker.allows(3.2)
    assert breaker.succeeded()
    assert breaker.allows(3.2)
    assert not breaker.succeeded()


@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=2).filter(sum),
    st.integers(1, 10**6),
    st.booleans(),
    st.none() | st.floats(1, 10),
    st.floats(0, 1),
    st.sampled_from(JUDGEMENTS),
)
def test_values_survive_the_round_trip(
    weights: list[float], tokens: int, truncated: bool, rating: float | None, unknown: float, judgement: Judgement
) -> None:
    """Every prediction comes back equal, marked as cached."""
    probabilities = tuple(weight / sum(weights) for weight in weights)
    value = Prediction(probabilities, tokens, truncated, rating=rating, unknown=unknown, judgement=judgement)
    assert decode_value(b"key", encode_value(b"key", value), 2) == value._replace(cached=True)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xc1",
        b"garbage",
        encode_value(b"key", Prediction((0.2, 0.3, 0.5), 1, False)),
        encode_value(b"key", Prediction((0.9, 0.9), 1, False)),
        encode_value(b"key", Prediction((-0.5, 1.5), 1, False)),
        encode_value(b"key", Prediction((float("nan"), 0.5), 1, False)),
        msgpack.packb([2, b"key", (0.5, 0.5), 1, False, None]),
        msgpack.packb(WHOLE[:-1]),
        msgpack.packb([*WHOLE, 0]),
        changed(0, VALUE_VERSION - 1),
        changed(1, b"other"),
        changed(1, "key"),
        changed(2, "ab"),
        changed(3, True),
        changed(4, 0),
        changed(5, 11.0),
        changed(6, -0.5),
        changed(6, 1.5),
        changed(6, float("nan")),
        changed(6, 1),
        changed(6, None),
        changed(7, "certain"),
        changed(7, None),
        changed(7, 0),
        changed(7, ["ok"]),
        msgpack.packb({"a": 1}),
        msgpack.packb(7),
        b"\x91" * 70_000,
        12,
        "text",
    ],
)
def test_foreign_values_are_not_trusted(raw: object) -> None:
    """Anything but a well-formed value is a miss, never an error."""
    assert decode_value(b"key", msgpack.packb(WHOLE), 2) is not None
    assert decode_value(b"key", raw, 2) is None


@given(st.binary(max_size=64))
def test_no_bytes_can_raise(raw: bytes) -> None:
    """Decoding answers with a value or None, whatever is stored."""
    value = decode_value(b"key", raw, 2)
    assert value is None or len(value.probabilities) == 2


async def test_redis_keeps_what_was_put(redis_server: RedisServer) -> None:
    """A written result is found, with its time to live set, in one round trip for many keys."""
    async with redis_cache(redis_server.url) as cache:
        cache.put(b"key", VALUE)
        assert await eventually(cache, b"key") == VALUE._replace(cached=True)
        with redis.Redis.from_url(redis_server.url) as client:
            before = client.info("commandstats")["cmdstat_mget"]["calls"]
            many = await cache.get_many([b"key", b"other"] * 300)
            assert client.info("commandstats")["cmdstat_mget"]["calls"] == before + 1
            assert [value is not None for value in many] == [True, False] * 300
            [stored] = client.keys("sentiment:*")
            assert 0 < client.ttl(stored) <= 60


async def test_concurrent_lookups_share_round_trips(redis_server: RedisServer) -> None:
    """A hundred look-ups at once cost a few commands and get each its own answer."""
    async with redis_cache(redis_server.url) as cache:
        for number in range(0, 100, 2):
            cache.put(bytes([number]), Prediction((number / 100, 1 - number / 100), 1, False))
        assert await eventually(cache, bytes([98])) is not None
        answers = await asyncio.gather(*(cache.get_many([bytes([number])]) for number in range(100)))
        for number, [answer] in enumerate(answers):
            assert (answer.probabilities[0] if answer else None) == (None if number % 2 else number / 100)


async def test_redis_absent_is_a_miss() -> None:
    """With nobody listening every look-up is a prompt miss and no write raises."""
    async with redis_cache(f"redis://127.0.0.1:{free_port()}/0") as cache:
        for _ in range(10):
            cache.put(b"key", VALUE)
            assert await cache.get_many([b"key", b"b"]) == [None, None]


async def test_redis_back_is_used_again(redis_server: RedisServer) -> None:
    """After a crash look-ups miss; after the restart the breaker's probe finds it and results are kept again."""
    async with redis_cache(redis_server.url) as cache:
        cache.put(b"key", VALUE)
        assert await eventually(cache, b"key")
        redis_server.stop()
        for _ in range(5):
            assert await cache.get_many([b"key"]) == [None]
        redis_server.start()
        deadline = time.monotonic() + LIMIT
        while not (await cache.get_many([b"key"]))[0]:
            assert time.monotonic() < deadline, "never hit again"
            cache.put(b"key", VALUE)
            await asyncio.sleep(0.03)


async def test_redis_that_hangs_costs_at_most_its_timeout_and_then_nothing(redis_server: RedisServer) -> None:
    """A stopped server delays the first look-ups by the timeout; then the breaker answers at once."""
    async with redis_cache(redis_server.url, timeout=0.05) as cache:
        assert await cache.get_many([b"key"]) == [None]
        os.kill(redis_server.pid, signal.SIGSTOP)
        try:
            while cache.in_use:
                assert await cache.get_many([b"key"]) == [None]
            before = counted()
            for _ in range(1000):
                assert await cache.get_many([b"key"]) == [None]
            # Probes are let through at intervals that double.
            assert counted(before)["skipped"] > 950
        finally:
            os.kill(redis_server.pid, signal.SIGCONT)


async def test_poisoned_values_are_misses(redis_server: RedisServer) -> None:
    """Garbage under a key of ours is not believed."""
    async with redis_cache(redis_server.url) as cache:
        cache.put(b"key", VALUE)
        assert await eventually(cache, b"key")
        with redis.Redis.from_url(redis_server.url) as client:
            client.set(f"sentiment:{b'key'.hex()}", b"\x00garbage")
        assert await cache.get_many([b"key"]) == [None]


def counted(before: Mapping[str, float] | None = None) -> dict[str, float]:
    """Look-ups in Redis by result, those since ``before`` where that is given."""
    now = {
        result: sample("sentiment_cache_lookups_total", tier="redis", result=result)
        for result in ("hit", "miss", "error", "skipped")
    }
    return now if before is None else {name: now[name] - before[name] for name in now if now[name] > before[name]}


def rest(cache: RedisCache) -> None:
    """Leave Redis alone for longer than any test takes, where it is left alone."""
    cache._reads.breaker._open_until = cache._writes.breaker._open_until = time.monotonic() + LIMIT


async def test_each_text_is_counted_once_by_its_result(redis_server: RedisServer) -> None:
    """What is there, what is not, what is there and will not do; a server that hangs, and one that is left alone."""
    async with redis_cache(redis_server.url) as cache:
        cache.put(b"key", VALUE)
        assert await eventually(cache, b"key")
        with redis.Redis.from_url(redis_server.url) as client:
            client.set(f"sentiment:{b'poisoned'.hex()}", b"\x00garbage")
        before = counted()
        await cache.get_many([b"key", b"other", b"another", b"poisoned"])
        assert counted(before) == {"hit": 1, "miss": 2, "error": 1}
    async with redis_cache(redis_server.url, timeout=0.05) as cache:
        os.kill(redis_server.pid, signal.SIGSTOP)
        try:
            before = counted()
            await asyncio.gather(cache.get_many([b"key"]), cache.get_many([b"key", b"other"]))
            assert counted(before) == {"error": 3}
            while cache.in_use:
                await cache.get_many([b"key"])
            rest(cache)
            before = counted()
            await cache.get_many([b"key", b"other"])
            cache.pass_over([b"another"])
            await asyncio.sleep(0)
            assert counted(before) == {"skipped": 3}
        finally:
            os.kill(redis_server.pid, signal.SIGCONT)


async def test_look_ups_that_never_have_a_result_are_not_worth_waiting_for(redis_server: RedisServer) -> None:
    """Then a few of many texts are looked up, with one command; once these have results it is worth it again."""
    async with redis_cache(redis_server.url) as cache:
        cache.put(b"key", VALUE)
        assert await eventually(cache, b"key")
        assert cache.worth_asking
        await cache.get_many([b"other"] * 999)
        assert cache.worth_asking
        await cache.get_many([b"other"])
        assert not cache.worth_asking
        with redis.Redis.from_url(redis_server.url) as client:
            for _ in range(2):
                before, commands = counted(), client.info("commandstats")["cmdstat_mget"]["calls"]
                for _ in range(128):
                    cache.pass_over([b"key"])
                await until(lambda before=before: counted(before).get("hit") == 8)
                assert counted(before) == {"hit": 8, "skipped": 120}
                assert client.info("commandstats")["cmdstat_mget"]["calls"] == commands + 1
        assert cache.worth_asking


async def test_of_many_texts_together_a_few_are_looked_up(redis_server: RedisServer) -> None:
    """A list counts as so many texts, and each text of it is counted."""
    async with redis_cache(redis_server.url) as cache:
        before = counted()
        for texts in (64, 64, 500):
            cache.pass_over([b"%d" % number for number in range(texts)])
        await until(lambda: sum(counted(before).values()) == 628)
        assert counted(before) == {"miss": 16, "skipped": 612}


async def test_writes_that_fail_are_counted_as_such() -> None:
    """Not as look-ups; once Redis is left alone, as skipped."""

    def dropped(reason: str) -> float:
        return sample("sentiment_cache_writes_dropped_total", reason=reason)

    before, failed, skipped = counted(), dropped("error"), dropped("skipped")
    async with redis_cache(f"redis://127.0.0.1:{free_port()}/0") as cache:
        deadline = time.monotonic() + LIMIT
        while not cache._writes.breaker.is_open:
            assert time.monotonic() < deadline, "never left alone"
            cache.put(b"key", VALUE)
            await asyncio.sleep(0.01)
        await until(lambda: dropped("error") >= failed + 3)
        rest(cache)
        cache.put(b"key", VALUE)
        assert dropped("skipped") >= skipped + 1
    assert counted(before) == {}


async def test_pending_writes_are_bounded() -> None:
    """Writes beyond the bound are dropped, and counted, instead of piling up."""
    dropped = sample("sentiment_cache_writes_dropped_total", reason="queue_full")
    cache = RedisCache(f"redis://127.0.0.1:{free_port()}/0", classes=2, timeout=0.05, ttl=60)
    for _ in range(20_000):
        cache.put(b"key", VALUE)
    assert len(cache._unwritten) == 10_000
    assert sample("sentiment_cache_writes_dropped_total", reason="queue_full") == dropped + 10_000
    await cache.close()


async def test_what_comes_after_the_end_opens_no_connection() -> None:
    """A text may be computed a moment after its cache was closed."""
    cache = RedisCache(f"redis://127.0.0.1:{free_port()}/0", classes=2, timeout=0.05, ttl=60)
    await cache.close()
    cache.put(b"key", VALUE)
    for _ in range(10):
        await asyncio.sleep(0)
    assert cache._writes._connecting is None
