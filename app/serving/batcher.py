"""The micro-batcher: texts of all callers, merged into batches of like length whenever the device is free.

A batch begins with the text that has waited longest and is filled with its neighbours in length, so that little of it
is padding, within a size cap and a token budget (texts times the longest text). Texts older than an age cap are taken
before better neighbours. Nothing waits for a batch to fill: under load batches grow by themselves, because texts
arrive while the device computes.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from app import metrics
from app.errors import DeadlineError, EngineUnavailableError, InferenceError, OverloadedError
from app.sentiment import Predictor, Scores, TokenIds
from app.serving.engine import EngineInfo

logger = logging.getLogger(__name__)

_BUCKET_TOKENS = 8
_NICENESS = 5
_RATE_MEMORY = 0.2
"""Weight of the newest batch in the measured drain rate."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Bounds of the queue and of one micro-batch; see the settings of the same names."""

    max_batch_size: int
    max_batch_tokens: int
    max_batch_age: float
    max_queue: int
    max_queue_seconds: float


@dataclass(eq=False, slots=True)
class _Entry:
    ids: TokenIds[int]
    deadline: float
    arrived: float
    future: asyncio.Future[Scores]


class LengthQueue:
    """Waiting texts, by age and by length. Every operation is constant-time in the number of waiting texts."""

    def __init__(self) -> None:
        self._by_age: OrderedDict[int, _Entry] = OrderedDict()
        self._by_length: dict[int, OrderedDict[int, _Entry]] = {}

    def __len__(self) -> int:
        return len(self._by_age)

    def add(self, entry: _Entry) -> None:
        """Append a text."""
        self._by_age[id(entry)] = entry
        self._by_length.setdefault(_bucket(entry), OrderedDict())[id(entry)] = entry

    def remove(self, entry: _Entry) -> None:
        """Take a text out, wherever it stands; nothing happens where it is out already."""
        if self._by_age.pop(id(entry), None) is None:
            return
        bucket = self._by_length[_bucket(entry)]
        del bucket[id(entry)]
        if not bucket:
            del self._by_length[_bucket(entry)]

    def oldest(self) -> _Entry | None:
        """The text that has waited longest."""
        return next(iter(self._by_age.values()), None)

    def by_age(self) -> Iterator[_Entry]:
        """Texts, oldest first, over a snapshot of as many as are asked for."""
        return iter(list(self._by_age.values()))

    def neighbours(self, entry: _Entry) -> Iterator[_Entry]:
        """Texts, nearest in length first, oldest first among equals. Those taken meanwhile are not seen again."""
        center = _bucket(entry)
        for bucket in sorted(self._by_length, key=lambda length: (abs(length - center), length > center)):
            yield from list(self._by_length.get(bucket, {}).values())


def _bucket(entry: _Entry) -> int:
    return -(-len(entry.ids) // _BUCKET_TOKENS)


class MicroBatcher:
    """An ``Engine`` in this process: a queue, and one thread per predictor that computes batches drawn from it.

    Args:
        load: makes the predictors, in a thread; each computes in a thread of its own.
        limits: bounds.
        timed: whether scores say when they were computed.
    """

    def __init__(self, load: Callable[[], Sequence[Predictor]], limits: BatchLimits, *, timed: bool = False) -> None:
        self._load = load
        self._limits = limits
        self._timed = timed
        self._info: EngineInfo | None = None
        self._queue = LengthQueue()
        self._arrival = asyncio.Event()
        self._runners: list[asyncio.Task[None]] = []
        self._executor: ThreadPoolExecutor | None = None
        self._texts_per_second = 0.0
        self._accepting = False

    @property
    def info(self) -> EngineInfo:
        """What computes; an ``EngineUnavailableError`` before the start."""
        if self._info is None:
            raise EngineUnavailableError("the engine is starting", retry_after=1.0)
        return self._info

    @property
    def ready(self) -> bool:
        """Whether texts are accepted and all predictors are at work."""
        return self._accepting and not any(runner.done() for runner in self._runners)

    @property
    def queued(self) -> int:
        """Texts that wait for a batch."""
        return len(self._queue)

    @property
    def texts_per_second(self) -> float:
        """Measured drain rate; 0 before the first batch."""
        return self._texts_per_second

    async def start(self) -> None:
        """Load and warm up the predictors in a thread, then accept texts."""
        predictors = await asyncio.to_thread(self._load)
        self._info = EngineInfo(predictors[0].runtime, predictors[0].precision, predictors[0].device)
        self._executor = ThreadPoolExecutor(len(predictors), thread_name_prefix="forward", initializer=_yield_to_events)
        self._runners = [asyncio.create_task(self._run(predictor)) for predictor in predictors]
        self._accepting = True
        metrics.QUEUE_LIMIT.set(self._limits.max_queue)

    async def close(self) -> None:
        """Compute what is queued, then stop; texts submitted from now on are refused."""
        self._accepting = False
        self._arrival.set()
        await asyncio.gather(*self._runners, return_exceptions=True)
        if self._executor is not None:
            self._executor.shutdown(wait=False)

    def admit(self, texts: int) -> None:
        """Refuse what would exceed a bound. See ``Engine.admit``."""
        waiting = len(self._queue) + texts
        expected = waiting / self._texts_per_second if self._texts_per_second else 0.0
        if waiting > self._limits.max_queue or expected > self._limits.max_queue_seconds:
            raise OverloadedError(
                f"{len(self._queue)} texts are waiting, {texts} more would exceed the limit",
                retry_after=max(1.0, expected - self._limits.max_queue_seconds),
            )

    def submit(self, texts: Sequence[TokenIds[int]], deadline: float) -> list[asyncio.Future[Scores]]:
        """Queue texts, all or none. See ``Engine.submit``."""
        if not self._accepting:
            raise EngineUnavailableError("the engine is not accepting texts", retry_after=1.0)
        self.admit(len(texts))
        loop, now = asyncio.get_running_loop(), time.monotonic()
        entries = [_Entry(ids, deadline, now, loop.create_future()) for ids in texts]
        for entry in entries:
            self._queue.add(entry)
            entry.future.add_done_callback(lambda _, entry=entry: self._forget(entry))  # type: ignore[misc]
        metrics.QUEUE_DEPTH.set(len(self._queue))
        self._arrival.set()
        return [entry.future for entry in entries]

    def _forget(self, entry: _Entry) -> None:
        """Take a text whose caller is gone out of the queue before it costs anything."""
        if entry.future.cancelled():
            before = len(self._queue)
            self._queue.remove(entry)
            if len(self._queue) < before:
                metrics.DROPPED.labels("cancelled").inc()
                metrics.QUEUE_DEPTH.set(len(self._queue))

    def draw(self, now: float) -> list[_Entry]:
        """Take the next batch out of the queue, shortest text first; empty where nothing waits."""
        first = self._take_oldest(now)
        if first is None:
            return []
        batch, longest = [first], len(first.ids)
        for entry in self._candidates(first, now):
            if len(batch) >= self._limits.max_batch_size:
                break
            if entry.future.done():
                continue
            fits = max(longest, len(entry.ids)) * (len(batch) + 1) <= self._limits.max_batch_tokens
            if not fits:
                continue
            self._queue.remove(entry)
            if not self._expired(entry, now):
                batch.append(entry)
                longest = max(longest, len(entry.ids))
        metrics.QUEUE_DEPTH.set(len(self._queue))
        return sorted(batch, key=lambda entry: len(entry.ids))

    def _candidates(self, first: _Entry, now: float) -> Iterator[_Entry]:
        for entry in self._queue.by_age():
            if now - entry.arrived <= self._limits.max_batch_age:
                break
            yield entry
        yield from self._queue.neighbours(first)

    def _take_oldest(self, now: float) -> _Entry | None:
        while (entry := self._queue.oldest()) is not None:
            self._queue.remove(entry)
            if not entry.future.done() and not self._expired(entry, now):
                return entry
        return None

    def _expired(self, entry: _Entry, now: float) -> bool:
        if entry.deadline > now:
            return False
        metrics.DROPPED.labels("deadline").inc()
        entry.future.set_exception(DeadlineError("the deadline passed while the text was waiting"))
        return True

    async def _run(self, predictor: Predictor) -> None:
        while self._accepting or len(self._queue):
            batch = self.draw(time.monotonic())
            if batch:
                await self._compute(predictor, batch)
            else:
                self._arrival.clear()
                await self._arrival.wait()

    async def _compute(self, predictor: Predictor, batch: list[_Entry]) -> None:
        started = time.monotonic()
        metrics.QUEUE_SECONDS.observe_all([started - entry.arrived for entry in batch])
        loop = asyncio.get_running_loop()
        try:
            scores = await loop.run_in_executor(self._executor, predictor.predict, [entry.ids for entry in batch])
            if len(scores) != len(batch):
                raise RuntimeError(f"{len(scores)} scores for {len(batch)} texts")
        except MemoryError:
            await self._split(predictor, batch)
            return
        except Exception:
            logger.exception("forward pass failed for a batch of %d texts", len(batch))
            metrics.INFERENCE_ERRORS.labels("model").inc()
            _fail(batch)
            return
        ended = time.monotonic()
        self._observe(batch, ended - started)
        if self._timed:
            scores = [replace(score, computed=(started, ended)) for score in scores]
        for entry, score in zip(batch, scores, strict=True):
            if entry.future.done():
                continue
            if all(map(math.isfinite, score.probabilities)):
                entry.future.set_result(score)
            else:
                metrics.INFERENCE_ERRORS.labels("not_finite").inc()
                _fail([entry])

    async def _split(self, predictor: Predictor, batch: list[_Entry]) -> None:
        """Retry the halves of a batch that exhausted memory; a single text that does so fails alone."""
        metrics.INFERENCE_ERRORS.labels("out_of_memory").inc()
        if len(batch) == 1:
            logger.error("out of memory for a single text of %d tokens", len(batch[0].ids))
            _fail(batch)
            return
        logger.warning("out of memory for a batch of %d texts, splitting it", len(batch))
        middle = len(batch) // 2
        await self._compute(predictor, batch[:middle])
        await self._compute(predictor, batch[middle:])

    def _observe(self, batch: list[_Entry], seconds: float) -> None:
        tokens = sum(len(entry.ids) for entry in batch)
        area = len(batch) * len(batch[-1].ids)
        metrics.INFERENCE_SECONDS.observe(seconds)
        metrics.BATCH_SIZE.observe(len(batch))
        metrics.BATCH_TOKENS.observe(tokens)
        metrics.PADDING_RATIO.observe(1 - tokens / area)
        metrics.COMPUTED.inc(len(batch))
        rate = len(batch) / max(seconds, 1e-6) * len(self._runners)
        known = self._texts_per_second
        self._texts_per_second = known + _RATE_MEMORY * (rate - known) if known else rate


def _yield_to_events() -> None:
    """Lower the priority of a computing thread, where threads have their own (Linux).

    A batch that takes a little longer is noticed by nobody; an event loop that waits for a core delays everybody.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + _NICENESS)


def _fail(batch: list[_Entry]) -> None:
    for entry in batch:
        if not entry.future.done():
            entry.future.set_exception(InferenceError("the forward pass failed for this text"))
