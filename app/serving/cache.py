"""Result caches: a least-recently-used one in the process, and Redis behind it.

Redis never decides an answer and never holds one up: every wait has a timeout of tens of milliseconds, after a few
failures in a row a circuit breaker leaves Redis alone for a while, whatever comes back is checked before it is
believed, and writes leave on a bounded queue behind the response.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import time
from collections import Counter, OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from typing import Literal

import msgpack
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from app import metrics
from app.sentiment import JUDGEMENTS, Prediction

logger = logging.getLogger(__name__)

VALUE_VERSION = 3
"""Version of the layout of cached values; part of every key."""

_MAX_PENDING_WRITES = 10_000
_MAX_KEYS_PER_COMMAND = 1_000
_MAX_VALUE_BYTES = 65_536

Fault = Literal["miss", "error", "skipped"]
"""Why Redis has no result for a text: it holds none; it failed, or what it holds will not do; it was not asked."""
Answer = Prediction | Fault


class KeyMaker:
    """Keys that are equal exactly when the answers must be.

    Args:
        parts: everything beside the text that decides a score: the model's digest, runtime, precision.
    """

    def __init__(self, *parts: str) -> None:
        self._base = hashlib.blake2b(digest_size=16)
        for part in (*parts, str(VALUE_VERSION)):
            encoded = part.encode()
            self._base.update(len(encoded).to_bytes(4, "big") + encoded)

    def __call__(self, text: str) -> bytes:
        """Key of a text: BLAKE2b (RFC 7693) over the parts and the text's raw UTF-8."""
        digest = self._base.copy()
        digest.update(text.encode("utf-8", "surrogatepass"))
        return digest.digest()


class MemoryCache:
    """Least-recently-used results, bounded by their number.

    Args:
        size: most results kept.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[bytes, Prediction] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: bytes) -> Prediction | None:
        """The result under ``key``, which becomes the most recently used."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: bytes, value: Prediction) -> None:
        """Keep a result; the least recently used one goes where there are too many."""
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._size:
            self._values.popitem(last=False)


class CircuitBreaker:
    """Leaves a failing dependency alone: open after some failures in a row, then one probe at a time.

    Args:
        failures: failures in a row that open it.
        shortest: seconds it stays open at first; doubles with every failed probe.
        longest: upper bound of that.
    """

    def __init__(self, failures: int = 3, shortest: float = 0.5, longest: float = 10.0) -> None:
        self._limit = failures
        self._shortest = shortest
        self._longest = longest
        self._failures = 0
        self._pause = shortest
        self._open_until = 0.0

    @property
    def is_open(self) -> bool:
        """Whether it is open, be it that a probe is due."""
        return self._failures >= self._limit

    def allows(self, now: float) -> bool:
        """Whether to try now. While open, one caller per pause is let through as a probe."""
        if not self.is_open:
            return True
        if now < self._open_until:
            return False
        self._open_until = now + self._pause
        return True

    def rests(self, now: float) -> bool:
        """Whether nobody may try now."""
        return self.is_open and now < self._open_until

    def succeeded(self) -> bool:
        """Close it; true where it was open."""
        was_open, self._failures, self._pause = self.is_open, 0, self._shortest
        return was_open

    def failed(self, now: float) -> bool:
        """Count a failure; true where this one opened it."""
        was_open = self.is_open
        self._failures += 1
        if not self.is_open:
            return False
        if was_open:
            self._pause = min(self._pause * 2, self._longest)
        self._open_until = now + self._pause
        return not was_open


class RedisCache:
    """Results shared between processes and kept over restarts.

    Look-ups of requests that arrive together share a round trip: all keys that wait when the previous answer has come
    go out as one MGET.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        classes: number of probabilities a value must have.
        timeout: seconds for connecting and for an answer.
        ttl: seconds a value is kept.
    """

    def __init__(self, url: str, classes: int, timeout: float, ttl: int) -> None:
        self._classes = classes
        self._timeout = timeout
        self._ttl = ttl
        self._breaker = CircuitBreaker()
        self._client = redis.asyncio.Redis.from_url(
            url,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),
            max_connections=4,
            protocol=2,
        )
        self._waiting: list[tuple[Sequence[bytes], asyncio.Future[list[Answer]]]] = []
        self._reader: asyncio.Task[None] | None = None
        self._writes: asyncio.Queue[tuple[bytes, Prediction]] = asyncio.Queue(_MAX_PENDING_WRITES)
        self._writer: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the background writer."""
        self._writer = asyncio.create_task(self._write_forever())

    @property
    def in_use(self) -> bool:
        """Whether it is worth asking; not while Redis is left alone after failures."""
        return not self._breaker.rests(time.monotonic())

    async def close(self) -> None:
        """Write what is pending, within the timeout, and close the connections."""
        if self._writer is not None:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._writes.join(), self._timeout)
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        with suppress(RedisError, OSError, TimeoutError):
            await asyncio.wait_for(self._client.aclose(), self._timeout)

    async def get_many(self, keys: Sequence[bytes]) -> list[Prediction | None]:
        """Results under the keys, None where there is none. Never raises; each key is counted once, by its result.

        Takes no longer than the timeout, also where other look-ups are waited for first.
        """
        answers = await self._look_up(keys)
        for result, texts in Counter(answer if isinstance(answer, str) else "hit" for answer in answers).items():
            metrics.CACHE_LOOKUPS.labels("redis", result).inc(texts)
        return [None if isinstance(answer, str) else answer for answer in answers]

    def skip(self) -> None:
        """Count a text that was not looked up, because Redis is not ``in_use``."""
        metrics.CACHE_LOOKUPS.labels("redis", "skipped").inc()

    async def _look_up(self, keys: Sequence[bytes]) -> Sequence[Answer]:
        if not self._breaker.allows(time.monotonic()):
            return ["skipped"] * len(keys)
        future: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
        self._waiting.append((keys, future))
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read_waiting())
        try:
            async with asyncio.timeout(self._timeout):
                return await future
        except TimeoutError:
            return ["error"] * len(keys)

    def put(self, key: bytes, value: Prediction) -> None:
        """Keep a result, later. Dropped, and counted, where too many writes are pending or Redis is left alone."""
        if self._breaker.is_open:
            metrics.CACHE_WRITES_DROPPED.labels("skipped").inc()
        elif self._writes.full():
            metrics.CACHE_WRITES_DROPPED.labels("queue_full").inc()
        else:
            self._writes.put_nowait((key, value))

    async def _read_waiting(self) -> None:
        while self._waiting:
            taken: list[tuple[Sequence[bytes], asyncio.Future[list[Answer]]]] = []
            count = 0
            while self._waiting and (not taken or count + len(self._waiting[0][0]) <= _MAX_KEYS_PER_COMMAND):
                taken.append(self._waiting.pop(0))
                count += len(taken[-1][0])
            answers: list[Answer] = ["error"] * count
            try:
                answers = await self._mget([key for keys, _ in taken for key in keys])
            finally:
                if self._breaker.is_open:
                    taken += self._waiting
                    self._waiting.clear()
                for keys, future in taken:
                    found, answers = answers[: len(keys)], answers[len(keys) :]
                    if not future.done():
                        future.set_result(found or ["skipped"] * len(keys))

    async def _mget(self, keys: list[bytes]) -> list[Answer]:
        try:
            async with asyncio.timeout(self._timeout):
                raw = await self._client.mget([_redis_key(key) for key in keys])
            if not isinstance(raw, list) or len(raw) != len(keys):
                raise RedisError("not as many values as keys")
        except Exception as error:  # what garbage makes the client raise is not to be foreseen
            self._note_failure(error)
            return ["error"] * len(keys)
        self._note_success()
        return [self._decode(key, value) for key, value in zip(keys, raw, strict=True)]

    async def _write_forever(self) -> None:
        while True:
            batch = [await self._writes.get()]
            while not self._writes.empty() and len(batch) < _MAX_KEYS_PER_COMMAND:
                batch.append(self._writes.get_nowait())
            try:
                if self._breaker.allows(time.monotonic()):
                    await self._write(batch)
                else:
                    metrics.CACHE_WRITES_DROPPED.labels("skipped").inc(len(batch))
            finally:
                for _ in batch:
                    self._writes.task_done()

    async def _write(self, batch: list[tuple[bytes, Prediction]]) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                pipeline = self._client.pipeline(transaction=False)
                for key, value in batch:
                    pipeline.set(_redis_key(key), encode_value(key, value), ex=self._ttl)
                await pipeline.execute()
        except Exception as error:  # likewise
            metrics.CACHE_WRITES_DROPPED.labels("error").inc(len(batch))
            self._note_failure(error)
        else:
            self._note_success()

    def _decode(self, key: bytes, raw: object) -> Answer:
        return "miss" if raw is None else decode_value(key, raw, self._classes) or "error"

    def _note_failure(self, error: BaseException) -> None:
        if self._breaker.failed(time.monotonic()):
            metrics.CACHE_BREAKER_OPEN.set(1)
            logger.warning("redis fails (%s), going on without it and probing", type(error).__name__)

    def _note_success(self) -> None:
        if self._breaker.succeeded():
            metrics.CACHE_BREAKER_OPEN.set(0)
            logger.info("redis answers again")


def _redis_key(key: bytes) -> str:
    return f"sentiment:{key.hex()}"


def encode_value(key: bytes, value: Prediction) -> bytes:
    """A prediction as it is kept in Redis (MessagePack)."""
    encoded: bytes = msgpack.packb(
        [
            VALUE_VERSION,
            key,
            value.probabilities,
            value.tokens,
            value.truncated,
            value.rating,
            value.unknown,
            value.judgement,
        ],
        use_bin_type=True,
    )
    return encoded


def decode_value(key: bytes, raw: object, classes: int) -> Prediction | None:
    """The prediction in a value from Redis; None where it is anything but a well-formed one that belongs to the key."""
    if not isinstance(raw, bytes) or len(raw) > _MAX_VALUE_BYTES:
        return None
    try:
        version, of, probabilities, tokens, truncated, rating, unknown, judgement = msgpack.unpackb(raw)
    except (ValueError, TypeError, msgpack.UnpackException):
        return None
    well_formed = (
        version == VALUE_VERSION
        and of == key
        and isinstance(probabilities, list)
        and len(probabilities) == classes
        and all(isinstance(value, float) and 0.0 <= value <= 1.0 for value in probabilities)
        and math.isclose(sum(probabilities), 1.0, abs_tol=1e-3)
        and type(tokens) is int
        and tokens >= 1
        and isinstance(truncated, bool)
        and (rating is None or (isinstance(rating, float) and 1.0 <= rating <= 10.0))
        and isinstance(unknown, float)
        and 0.0 <= unknown <= 1.0
        and judgement in JUDGEMENTS
    )
    return (
        Prediction(tuple(probabilities), tokens, truncated, True, rating, unknown, judgement) if well_formed else None
    )
