"""Results in Redis, shared between processes and kept over restarts.

Redis never decides an answer and never holds one up: every wait has a timeout of tens of milliseconds, after a few
failures in a row a circuit breaker leaves Redis alone for a while, whatever comes back is checked before it is
believed, and writes leave on a bounded queue behind the response.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Literal, get_args

from redis.exceptions import ResponseError

from app import metrics
from app.sentiment import Prediction
from app.serving.cache import KEY_PREFIX, decode_value, encode_value
from app.serving.redis_link import RedisLink, Replies, make_pool

_MAX_UNWRITTEN = 10_000
_MAX_KEYS_PER_COMMAND = 1_000
_HOPELESS = 1_000
"""After so many look-ups in a row without a result, texts wait for none until one has a result again."""
_PROBES, _PROBED_OF = 8, 128
"""Meanwhile so many texts of so many are looked up. They are neighbours, so that one command asks for all."""

Fault = Literal["miss", "error", "skipped"]
"""Why Redis has no result for a text: it holds none; it failed, or what it holds will not do; it was not asked, because
it is left alone after failures or never has one."""
Answer = Prediction | Fault
Found = Sequence[Prediction | None]
"""A result for each key that was asked for, None where there is none."""


class _LookUp:
    """Keys that somebody waits for, until ``tell`` was called."""

    __slots__ = ("deadline", "keys", "tell")

    def __init__(self, keys: Sequence[bytes], deadline: float, tell: Callable[[Found], None]) -> None:
        self.keys = keys
        self.deadline = deadline
        self.tell: Callable[[Found], None] | None = tell


class RedisCache:
    """A shared cache.

    A look-up costs neither a task nor a timer nor a round trip of its own: all keys that are asked for while an answer
    is on its way go out together as the next MGET, and one timer watches over all that wait. While no look-up
    has a result, few are made, and no text waits for them (``worth_asking``).

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        classes: number of probabilities a value must have.
        timeout: seconds for a look-up, connecting included.
        ttl: seconds a value is kept.

    Raises:
        SettingsError: the URL will not do.
    """

    def __init__(self, url: str, classes: int, timeout: float, ttl: int) -> None:
        self._classes = classes
        self._timeout = timeout
        self._ttl = ttl
        pool = make_pool(url, timeout)
        self._reads = RedisLink(pool, timeout, "read")
        self._writes = RedisLink(pool, timeout, "write")
        self._results = {name: metrics.CACHE_LOOKUPS.labels("redis", name) for name in ("hit", *get_args(Fault))}
        # Those that wait, oldest first: all of them, and of these the ones whose keys are not sent yet.
        self._asked: deque[_LookUp] = deque()
        self._unsent: deque[_LookUp] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._reading = False
        self._misses = self._passed_over = 0
        self._unwritten: deque[tuple[bytes, Prediction]] = deque()
        self._written = asyncio.Event()
        self._written.set()

    @property
    def in_use(self) -> bool:
        """Whether it can be asked; not while Redis is left alone after failures."""
        return not self._reads.breaker.rests(time.monotonic())

    @property
    def worth_asking(self) -> bool:
        """Whether texts should wait for a look-up; if not, they are ``passed_over``."""
        return self.in_use and self._misses < _HOPELESS

    async def close(self) -> None:
        """Write what is pending, within the timeout, and close the connections."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._written.wait(), self._timeout)
        self._written.clear()  # what comes now opens no connection any more
        await self._reads.close()
        await self._writes.close()
        if self._timer is not None:
            self._timer.cancel()
        self._unsent.clear()
        while self._asked:
            self._tell(self._asked[0], "error")

    async def get_many(self, keys: Sequence[bytes]) -> Found:
        """Results under the keys. Never raises; see ``look_up``."""
        future: asyncio.Future[Found] = asyncio.get_running_loop().create_future()

        def tell(found: Found) -> None:
            if not future.done():
                future.set_result(found)

        self.look_up(keys, tell)
        return await future

    def look_up(self, keys: Sequence[bytes], tell: Callable[[Found], None]) -> None:
        """Have ``tell`` called once, with the results under the keys; at once where Redis is left alone.

        It is called within the timeout, also where other look-ups are waited for first. Each key is counted once, by
        its result.
        """
        now = time.monotonic()
        if not self._reads.breaker.allows(now):
            self._results["skipped"].inc(len(keys))
            tell([None] * len(keys))
            return
        look_up = _LookUp(keys, now + self._timeout, tell)
        self._asked.append(look_up)
        self._unsent.append(look_up)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._timeout, self._expire)
        if not self._reading:
            self._reading = True
            asyncio.get_running_loop().call_soon(self._read)

    def pass_over(self, keys: Sequence[bytes]) -> None:
        """Texts are computed without asking. A few are looked up all the same, to learn when it is worth it again."""
        rounds, self._passed_over = divmod(self._passed_over + len(keys), _PROBED_OF)
        if (rounds or self._passed_over < _PROBES) and self.in_use:
            self.look_up(keys[:_PROBES], _tell_nobody)
            keys = keys[_PROBES:]
        metrics.buffered.count(self._results["skipped"], len(keys))

    def put(self, key: bytes, value: Prediction) -> None:
        """Keep a result, later. Dropped, and counted, where too many writes are pending or Redis is left alone."""
        if self._writes.breaker.rests(time.monotonic()):
            metrics.CACHE_WRITES_DROPPED.labels("skipped").inc()
        elif len(self._unwritten) >= _MAX_UNWRITTEN:
            metrics.CACHE_WRITES_DROPPED.labels("queue_full").inc()
        else:
            self._unwritten.append((key, value))
            if self._written.is_set():
                self._written.clear()
                asyncio.get_running_loop().call_soon(self._write)

    def _tell(self, look_up: _LookUp, answers: Sequence[Answer] | Fault) -> None:
        """Answer a look-up, unless it was answered before."""
        tell, look_up.tell = look_up.tell, None
        if tell is None:
            return
        found: list[Prediction | None] = []
        for answer in [answers] * len(look_up.keys) if isinstance(answers, str) else answers:
            if isinstance(answer, str):
                found.append(None)
                metrics.buffered.count(self._results[answer])
                self._misses += answer == "miss"
            else:
                found.append(answer)
                metrics.buffered.count(self._results["hit"])
                self._misses = 0
        # Those answered leave in the order in which they came, so that the first is always the next to expire.
        while self._asked and self._asked[0].tell is None:
            self._asked.popleft()
        tell(found)

    def _expire(self) -> None:
        now, self._timer = time.monotonic(), None
        while self._asked and self._asked[0].deadline <= now:
            self._tell(self._asked[0], "error")
        if self._asked:
            self._timer = asyncio.get_running_loop().call_later(self._asked[0].deadline - now, self._expire)

    def _read(self) -> None:
        """Send the keys of all who wait, but for what is too much for one command."""
        if not self._unsent:
            self._reading = False
            return
        sent = [self._unsent.popleft()]
        keys = list(sent[0].keys)
        while self._unsent and len(keys) + len(self._unsent[0].keys) <= _MAX_KEYS_PER_COMMAND:
            sent.append(self._unsent.popleft())
            keys += sent[-1].keys

        def valid(reply: object) -> bool:
            return isinstance(reply, list) and len(reply) == len(keys)

        self._reads.call([("MGET", *map(_redis_key, keys))], valid, partial(self._read_replies, sent, keys))

    def _read_replies(self, sent: Sequence[_LookUp], keys: Sequence[bytes], replies: Replies) -> None:
        answers = iter(self._answers(keys, replies))
        try:
            for look_up in sent:
                self._tell(look_up, list(islice(answers, len(look_up.keys))))
            if self._reads.breaker.is_open:
                while self._unsent:
                    self._tell(self._unsent.popleft(), "skipped")
        finally:
            self._read()

    def _answers(self, keys: Sequence[bytes], replies: Replies) -> list[Answer]:
        if replies is None or isinstance(replies[0], ResponseError):
            return ["error"] * len(keys)
        answers: list[Answer] = [
            "miss" if value is None else decode_value(key, value, self._classes) or "error"
            for key, value in zip(keys, replies[0], strict=True)
        ]
        if "error" in answers:
            # Should answers ever be shifted against their questions, a new connection puts them right.
            self._reads.drop()
        return answers

    def _write(self) -> None:
        """Send what is to be written, but for what is too much at once."""
        if not self._unwritten:
            self._written.set()
            return
        batch = [self._unwritten.popleft() for _ in range(min(len(self._unwritten), _MAX_KEYS_PER_COMMAND))]
        if not self._writes.breaker.allows(time.monotonic()):
            metrics.CACHE_WRITES_DROPPED.labels("skipped").inc(len(batch))
            asyncio.get_running_loop().call_soon(self._write)
            return
        commands = [("SET", _redis_key(key), encode_value(key, value), "EX", self._ttl) for key, value in batch]
        self._writes.call(commands, lambda reply: reply == b"OK", partial(self._write_replies, len(batch)))

    def _write_replies(self, written: int, replies: Replies) -> None:
        lost = written if replies is None else sum(isinstance(reply, ResponseError) for reply in replies)
        if lost:
            metrics.CACHE_WRITES_DROPPED.labels("error").inc(lost)
        self._write()


def _tell_nobody(found: Found) -> None:
    """What was found has been counted."""


def _redis_key(key: bytes) -> str:
    return KEY_PREFIX + key.hex()
