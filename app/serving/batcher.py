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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from operator import attrgetter

from app import metrics
from app.errors import DeadlineError, EngineUnavailableError, InferenceError
from app.sentiment import Predictor, Scores, TokenIds
from app.serving.admission import DrainRate, QueueLimits, drain_seconds
from app.serving.engine import EngineInfo
from app.serving.length_queue import Entry, LengthQueue
from app.serving.ticket import Ticket

logger = logging.getLogger(__name__)

_length = attrgetter("length")
_NICENESS = 5
_LEAST_SHARE = 16
"""Texts below which what waits is not worth dividing among predictors."""
_LOOKS = 4
"""Waiting texts looked at for one batch, in its largest sizes: a long queue must not make every batch slower."""
_LATE_SECONDS = 1.5
"""How much longer than the slowest so far a forward pass may take before the engine is taken for hung."""
_SLOWEST_MEMORY = 0.95
"""What is left of the slowest forward pass with every further one."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Bounds of one micro-batch, see the settings of the same names, and of the queue."""

    max_batch_size: int
    max_batch_tokens: int
    max_batch_age: float
    queue: QueueLimits


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
        self._rate = DrainRate()
        self._accepting = False
        self._resume_at = 0.0
        self._under_way: dict[int, float] = {}
        self._slowest = 0.0

    @property
    def info(self) -> EngineInfo:
        """What computes; an ``EngineUnavailableError`` before the start."""
        if self._info is None:
            raise EngineUnavailableError("the engine is starting", retry_after=1.0)
        return self._info

    @property
    def ready(self) -> bool:
        """Whether texts are accepted and all predictors are at work."""
        return self._accepting and not self.hung and not any(runner.done() for runner in self._runners)

    @property
    def queued(self) -> int:
        """Texts that wait for a batch."""
        return len(self._queue)

    @property
    def texts_per_second(self) -> float:
        """Measured drain rate; 0 where it is not known yet."""
        return self._rate.texts_per_second

    @property
    def hung(self) -> bool:
        """Whether a forward pass takes far longer than any before."""
        oldest = min(self._under_way.values(), default=math.inf)
        return time.monotonic() - oldest > self._slowest + _LATE_SECONDS

    async def start(self) -> None:
        """Load and warm up the predictors in a thread, then accept texts."""
        predictors = await asyncio.to_thread(self._load)
        self._info = EngineInfo(predictors[0].runtime, predictors[0].precision, predictors[0].device)
        self._executor = ThreadPoolExecutor(len(predictors), thread_name_prefix="forward", initializer=_yield_to_events)
        self._runners = [asyncio.create_task(self._run(predictor)) for predictor in predictors]
        self._accepting = True
        metrics.QUEUE_LIMIT.set(self._limits.queue.max_texts)

    async def close(self) -> None:
        """Compute what is queued, then stop; texts submitted from now on are refused."""
        self._accepting = False
        self._arrival.set()
        await asyncio.gather(*self._runners, return_exceptions=True)
        if self._executor is not None:
            self._executor.shutdown(wait=False)

    async def crashed(self) -> None:
        """Return when a predictor's task has ended that should run for ever: a defect, but nobody may wait for it."""
        await asyncio.wait(self._runners, return_when=asyncio.FIRST_COMPLETED)

    def admit(self, texts: int, tokens: int) -> None:
        """Refuse what would exceed a bound. See ``Engine.admit``."""
        waiting, rate = len(self._queue), self.texts_per_second
        self._limits.queue.check((waiting, self._queue.tokens), texts, tokens, rate)
        self._limits.queue.check_wait(waiting, texts, rate)

    def drain_seconds(self, texts: int) -> float:
        """See ``Engine.drain_seconds``."""
        return drain_seconds(len(self._queue) + texts, self.texts_per_second)

    def settle(self, until: float) -> None:
        """Draw no batch before ``time.monotonic()`` is ``until``, because cancellations are under way."""
        self._resume_at = until

    def submit(self, texts: Sequence[TokenIds[int]], deadline: float) -> Sequence[Ticket]:
        """Queue texts. See ``Engine.submit``."""
        if not self._accepting:
            raise EngineUnavailableError("the engine is not accepting texts", retry_after=1.0)
        now, forget = time.monotonic(), self._forget
        entries = [Entry(ids, deadline, now, forget) for ids in texts]
        for entry in entries:
            self._queue.add(entry)
        metrics.QUEUE_DEPTH.set(len(self._queue))
        self._arrival.set()
        return entries

    def _forget(self, entry: Entry) -> None:
        """Take a text whose caller is gone out of the queue before it costs anything."""
        before = len(self._queue)
        self._queue.remove(entry)
        if len(self._queue) < before:
            metrics.DROPPED.labels("cancelled").inc()
            metrics.QUEUE_DEPTH.set(len(self._queue))

    def draw(self, now: float) -> list[Entry]:
        """Take the next batch out of the queue, shortest text first; empty where nothing waits."""
        first = self._take_oldest(now)
        if first is None:
            return []
        batch, longest = [first], first.length
        # Towards the end of what waits, batches get smaller, so that all predictors finish at about the same time.
        share = max(_LEAST_SHARE, -(-len(self._queue) // max(1, len(self._runners))))
        size = min(self._limits.max_batch_size, share)
        for entry in islice(self._candidates(first, now), _LOOKS * self._limits.max_batch_size):
            # The longest only grows: where one more as long does not fit, nothing does.
            if len(batch) >= size or longest * (len(batch) + 1) > self._limits.max_batch_tokens:
                break
            if entry.done() or max(longest, entry.length) * (len(batch) + 1) > self._limits.max_batch_tokens:
                continue
            self._queue.remove(entry)
            if not self._expired(entry, now):
                batch.append(entry)
                longest = max(longest, entry.length)
        metrics.QUEUE_DEPTH.set(len(self._queue))
        return sorted(batch, key=_length)

    def _candidates(self, first: Entry, now: float) -> Iterator[Entry]:
        for entry in self._queue.by_age(_LOOKS * self._limits.max_batch_size):
            if now - entry.arrived <= self._limits.max_batch_age:
                break
            yield entry
        yield from self._queue.neighbours(first)

    def _take_oldest(self, now: float) -> Entry | None:
        while (entry := self._queue.oldest()) is not None:
            self._queue.remove(entry)
            if not entry.done() and not self._expired(entry, now):
                return entry
        return None

    def _expired(self, entry: Entry, now: float) -> bool:
        if entry.deadline > now:
            return False
        metrics.DROPPED.labels("deadline").inc()
        entry.set_exception(DeadlineError("the deadline passed while the text was waiting"))
        return True

    async def _run(self, predictor: Predictor) -> None:
        # Results of one batch are told while the next is computed: the device does not wait for that.
        tell = _nothing
        while self._accepting or len(self._queue):
            pause = self._resume_at - time.monotonic()
            if pause <= 0 and (batch := self.draw(time.monotonic())):
                tell = await self._compute(predictor, batch, tell)
                continue
            tell()
            tell = _nothing
            if pause > 0:
                await asyncio.sleep(pause)
            elif self._accepting and not len(self._queue):
                self._arrival.clear()
                await self._arrival.wait()
        tell()

    async def _compute(
        self, predictor: Predictor, batch: list[Entry], meanwhile: Callable[[], None]
    ) -> Callable[[], None]:
        """Compute a batch, and do something meanwhile. What is returned tells its callers."""
        started, saturated = time.monotonic(), len(self._queue) > 0
        try:
            scores = await self._predict(predictor, batch, meanwhile)
        except MemoryError:
            await self._split(predictor, batch)
            return _nothing
        except Exception:
            logger.exception("forward pass failed for a batch of %d texts", len(batch))
            metrics.INFERENCE_ERRORS.labels("model").inc()
            return partial(_fail, batch)
        return partial(self._tell, batch, scores, (started, time.monotonic()), saturated=saturated)

    def _tell(self, batch: list[Entry], scores: list[Scores], times: tuple[float, float], *, saturated: bool) -> None:
        started, ended = times
        metrics.QUEUE_SECONDS.observe_all([started - entry.arrived for entry in batch])
        self._observe(batch, ended - started, saturated=saturated)
        if self._timed:
            scores = [score._replace(computed=times) for score in scores]
        for entry, score in zip(batch, scores, strict=True):
            if all(map(math.isfinite, score.probabilities)):
                entry.set_result(score)
            else:
                metrics.INFERENCE_ERRORS.labels("not_finite").inc()
                _fail([entry])

    async def _predict(self, predictor: Predictor, batch: list[Entry], meanwhile: Callable[[], None]) -> list[Scores]:
        self._under_way[id(predictor)] = time.monotonic()
        computing = asyncio.get_running_loop().run_in_executor(
            self._executor, predictor.predict, [entry.ids for entry in batch]
        )
        meanwhile()
        try:
            scores = await computing
        finally:
            seconds = time.monotonic() - self._under_way.pop(id(predictor))
            self._slowest = max(seconds, self._slowest * _SLOWEST_MEMORY)
        if len(scores) != len(batch):
            raise RuntimeError(f"{len(scores)} scores for {len(batch)} texts")
        return scores

    async def _split(self, predictor: Predictor, batch: list[Entry]) -> None:
        """Retry the halves of a batch that exhausted memory; a single text that does so fails alone."""
        metrics.INFERENCE_ERRORS.labels("out_of_memory").inc()
        if len(batch) == 1:
            logger.error("out of memory for a single text of %d tokens", batch[0].length)
            _fail(batch)
            return
        logger.warning("out of memory for a batch of %d texts, splitting it", len(batch))
        middle = len(batch) // 2
        tell = await self._compute(predictor, batch[:middle], _nothing)
        tell = await self._compute(predictor, batch[middle:], tell)
        tell()

    def _observe(self, batch: list[Entry], seconds: float, *, saturated: bool) -> None:
        tokens = sum(entry.length for entry in batch)
        area = len(batch) * batch[-1].length
        metrics.INFERENCE_SECONDS.observe(seconds)
        metrics.BATCH_SIZE.observe(len(batch))
        metrics.BATCH_TOKENS.observe(tokens)
        metrics.PADDING_RATIO.observe(1 - tokens / area)
        metrics.COMPUTED.inc(len(batch))
        self._rate.observe(len(batch) * len(self._runners), seconds, saturated=saturated)


def _nothing() -> None:
    """There is nobody to tell."""


def _yield_to_events() -> None:
    """Lower the priority of a computing thread, where threads have their own (Linux).

    A batch that takes a little longer is noticed by nobody; an event loop that waits for a core delays everybody.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + _NICENESS)


def _fail(batch: list[Entry]) -> None:
    for entry in batch:
        entry.set_exception(InferenceError("the forward pass failed for this text"))
