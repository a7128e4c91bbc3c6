"""The micro-batcher: texts of all callers, merged into batches whenever the device is free.

A batch begins with the text that has waited longest and is filled within a size cap and a token budget: with the next
oldest, or, where a predictor pads (there the budget is of texts times the longest), with neighbours in length, so that
little of it is padding; texts older than an age cap are taken before better neighbours. Nothing waits for a batch to
fill: under load batches grow by themselves, because texts arrive while the device computes.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from functools import partial

from app import metrics
from app.engine.admission import DrainRate, drain_seconds
from app.engine.core_share import CoreShare
from app.engine.forward_passes import ForwardPasses, count_failure, predict
from app.engine.interface import EngineInfo
from app.engine.queue import BatchLimits, Part, WaitingTexts
from app.engine.threads import IdleTasks
from app.engine.ticket import Ticket
from app.errors import EngineUnavailableError
from app.sentiment import Predictor, Scores, TextBatch


class MicroBatcher:
    """An ``Engine`` in this process: a queue, and as many threads as predictors, which compute batches drawn from it.

    Args:
        load: makes the predictors, in a thread. One that pads computes one batch at a time.
        limits: bounds.
        timed: whether scores say when they were computed.
        inline_seconds: longest batch that the event loop computes itself, see ``CoreShare``; 0 for none.
    """

    def __init__(
        self,
        load: Callable[[], Sequence[Predictor]],
        limits: BatchLimits,
        *,
        timed: bool = False,
        inline_seconds: float = 0.0,
    ) -> None:
        self._load = load
        self._limits = limits
        self._timed = timed
        self._inline_seconds = inline_seconds
        self._info: EngineInfo | None = None
        self._waiting = WaitingTexts(limits)
        self._idle = IdleTasks()
        self._share = CoreShare(1, limits.max_batch_size)
        self._runners: list[asyncio.Task[None]] = []
        self._passes = ForwardPasses()
        self._rate = DrainRate()
        self._accepting = False
        self._resume_at = 0.0

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
        return len(self._waiting)

    @property
    def texts_per_second(self) -> float:
        """Measured drain rate; 0 where it is not known yet."""
        return self._rate.texts_per_second

    @property
    def hung(self) -> bool:
        """Whether a forward pass takes far longer than any before."""
        return self._passes.hung

    async def start(self) -> None:
        """Load and warm up the predictors in a thread, then accept texts."""
        predictors = await asyncio.to_thread(self._load)
        self._info = EngineInfo(predictors[0].runtime, predictors[0].precision, predictors[0].device)
        self._waiting = WaitingTexts(
            self._limits, len(predictors), padded=any(predictor.pads for predictor in predictors)
        )
        self._share = CoreShare(len(predictors), self._limits.max_batch_size, self._inline_seconds)
        self._passes.start(len(predictors))
        # Two for each thread, where several may compute with one predictor: the next batch is handed over before the
        # last is done, so that the thread goes on without waiting for the event loop.
        runners = predictors if self._waiting.padded else [*predictors, *predictors]
        self._runners = [asyncio.create_task(self._run(predictor)) for predictor in runners]
        self._accepting = True
        metrics.QUEUE_LIMIT.set(self._limits.queue.max_texts)
        metrics.tell_engine_ready(metrics.process.number, True)

    async def close(self) -> None:
        """Compute what is queued, then stop; texts submitted from now on are refused."""
        self._accepting = False
        self._idle.notify_all()
        await asyncio.gather(*self._runners, return_exceptions=True)
        self._passes.close()

    async def crashed(self) -> None:
        """Return when a predictor's task has ended that should run for ever, because the predictor is dead or of a
        defect: nobody may wait for it."""
        await asyncio.wait(self._runners, return_when=asyncio.FIRST_COMPLETED)

    def admit(self, texts: int, tokens: int) -> None:
        """Refuse what would exceed a bound. See ``Engine.admit``."""
        waiting, rate = self.queued, self.texts_per_second
        self._limits.queue.check((waiting, self._waiting.tokens), texts, tokens, rate)
        self._limits.queue.check_wait(waiting, texts, rate)

    def drain_seconds(self, texts: int) -> float:
        """See ``Engine.drain_seconds``."""
        return drain_seconds(self.queued + texts, self.texts_per_second)

    def expected_wait(self) -> float:
        """See ``Engine.expected_wait``."""
        rate = self.texts_per_second
        return self.queued / rate if rate else 0.0

    def pause_until(self, until: float) -> None:
        """Draw no batch before ``time.monotonic()`` is ``until``, because cancellations are under way."""
        self._resume_at = until

    def submit(self, batch: TextBatch, deadline: float) -> Ticket:
        """Queue texts. See ``Engine.submit``."""
        if not self._accepting:
            raise EngineUnavailableError("the engine is not accepting texts", retry_after=1.0)
        entry = self._waiting.add(batch, deadline, time.monotonic())
        if self._idle and self._wants_thread():
            self._idle.notify()
        return entry

    async def _run(self, predictor: Predictor) -> None:
        # Results of one batch are delivered while the next is computed: the device does not wait for that.
        deliver = _deliver_nothing
        while self._accepting or self.queued:
            pause = self._resume_at - time.monotonic()
            if pause <= 0 and self._wants_thread() and (batch := self._waiting.draw(time.monotonic())):
                deliver = await self._compute_drawn(predictor, batch, deliver)
                continue
            deliver()
            deliver = _deliver_nothing
            if pause > 0:
                await asyncio.sleep(pause)
            elif self._accepting and not self._wants_thread():
                await self._idle.wait()
        deliver()

    def _wants_thread(self) -> bool:
        """Whether one more thread should take of the texts that wait; all should of lists, and at the end."""
        waiting = self.queued
        return self._waiting.lists or self._share.wants_thread(waiting) or (waiting > 0 and not self._accepting)

    async def _compute_drawn(
        self, predictor: Predictor, batch: list[Part], meanwhile: Callable[[], None]
    ) -> Callable[[], None]:
        """Compute a batch that was just drawn; see ``_compute``."""
        with self._share.at_work():
            if self._idle and self._wants_thread():
                # Nobody was woken for what this batch has left.
                self._idle.notify()
            return await self._compute(predictor, batch, meanwhile)

    async def _compute(
        self, predictor: Predictor, batch: list[Part], meanwhile: Callable[[], None]
    ) -> Callable[[], None]:
        """Compute a batch, and do something meanwhile. What is returned delivers the scores."""
        started, saturated = time.monotonic(), self.queued > 0
        texts = [ids for part in batch for ids in part.texts]
        inline = not (self._waiting.padded or self._waiting.lists or len(texts) > len(batch))
        inline = inline and self._share.belongs_inline(len(texts), self.queued)
        try:
            scores, seconds = await self._passes.compute(partial(predict, predictor, texts), meanwhile, inline=inline)
        except Exception as error:
            await self._split(predictor, batch, error)
            return _deliver_nothing
        self._passes.known = texts[0]
        self._share.observe(len(texts), seconds)
        deliver = partial(self._deliver, batch, scores, (started, time.monotonic()), saturated=saturated)
        if not inline:
            return deliver
        deliver()
        # Answers leave, and what has arrived is taken, before the next batch is drawn.
        await asyncio.sleep(0)
        return _deliver_nothing

    def _deliver(self, batch: list[Part], scores: list[Scores], times: tuple[float, float], *, saturated: bool) -> None:
        started, ended = times
        metrics.QUEUE_SECONDS.observe_all([started - part.entry.arrived for part in batch for _ in part.texts])
        self._observe([length for part in batch for length in part.lengths], ended - started, saturated=saturated)
        finite = [all(map(math.isfinite, score.probabilities)) for score in scores]
        rows: list[Scores | None] = [score if known else None for score, known in zip(scores, finite, strict=True)]
        if failed := rows.count(None):
            metrics.INFERENCE_ERRORS.labels("not_finite").inc(failed)
        if self._timed:
            rows = [row and row._replace(computed=times) for row in rows]
        first = 0
        for part in batch:
            part.entry.computed(part.first, rows[first : first + len(part.texts)])
            first += len(part.texts)

    async def _split(self, predictor: Predictor, batch: list[Part], error: Exception) -> None:
        """Retry the halves of a batch that failed; a single text fails alone.

        Raises:
            DeadPredictorError: everything fails. What was submitted is left as it is: whoever waits may ask another.
        """
        texts = [single for part in batch for single in part.split()]
        count_failure(error, len(texts))
        if len(texts) == 1:
            if not isinstance(error, MemoryError):
                await self._passes.prove(predictor)
            texts[0].entry.computed(texts[0].first, [None])
            return
        middle = len(texts) // 2
        deliver = await self._compute(predictor, texts[:middle], _deliver_nothing)
        deliver = await self._compute(predictor, texts[middle:], deliver)
        deliver()

    def _observe(self, lengths: list[int], seconds: float, *, saturated: bool) -> None:
        texts, tokens = len(lengths), sum(lengths)
        metrics.INFERENCE_SECONDS.observe(seconds)
        metrics.BATCH_SIZE.observe(texts)
        metrics.BATCH_TOKENS.observe(tokens)
        metrics.PADDING_RATIO.observe(1 - tokens / (texts * max(lengths)) if self._waiting.padded else 0.0)
        metrics.COMPUTED.inc(texts)
        self._rate.observe(texts * self._waiting.predictors, seconds, saturated=saturated)


def _deliver_nothing() -> None:
    """There are no scores yet."""
