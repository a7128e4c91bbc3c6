"""The micro-batcher: texts of all callers, merged into batches whenever the device is free.

A batch begins with the text that has waited longest and is filled within a size cap and a token budget (texts times
the longest text): with the next oldest, or, where a predictor pads, with neighbours in length, so that little of it is
padding; texts older than an age cap are taken before better neighbours. Nothing waits for a batch to fill: under load
batches grow by themselves, because texts arrive while the device computes.

Tables, the texts of long requests, are computed as they are where likeness in length is worth nothing, in turn with
batches of single texts; elsewhere they are taken apart.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

from app import metrics
from app.engine.admission import DrainRate, drain_seconds
from app.engine.core_share import CoreShare
from app.engine.forward_passes import ForwardPasses, count_failure, predict, require_finite
from app.engine.interface import EngineInfo
from app.engine.queue import BatchLimits, Entry, WaitingTexts
from app.engine.tables import TableEntry, TableLane, TimedTable, gather
from app.engine.threads import IdleTasks
from app.engine.ticket import Ticket
from app.errors import EngineUnavailableError, InferenceError
from app.sentiment import Predictor, Scores, ScoreTable, TablePredictor, TextTable, TokenIds


class MicroBatcher:
    """An ``Engine`` in this process: a queue, and as many threads as predictors, which compute batches drawn from it.

    Args:
        load: makes the predictors, in a thread. Each computes one batch at a time; tables of one may be computed in
            several threads at once.
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
        self._takes_tables = False
        self._idle = IdleTasks()
        self._batches = 0
        self._share = CoreShare(1, limits.max_batch_size)
        self._lanes: list[TableLane] = []
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
        self._waiting.predictors = len(predictors)
        self._takes_tables = all(isinstance(predictor, TablePredictor) for predictor in predictors)
        self._waiting.by_length = not self._takes_tables
        self._share = CoreShare(len(predictors), self._limits.max_batch_size, self._inline_seconds)
        self._passes.start(len(predictors))
        self._runners = [asyncio.create_task(self._run(predictor)) for predictor in predictors]
        self._accepting = True
        metrics.QUEUE_LIMIT.set(self._limits.queue.max_texts)

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

    def pause_until(self, until: float) -> None:
        """Draw no batch before ``time.monotonic()`` is ``until``, because cancellations are under way."""
        self._resume_at = until

    def submit(self, texts: Sequence[TokenIds[int]], deadline: float) -> Sequence[Ticket]:
        """Queue texts. See ``Engine.submit``."""
        if not self._accepting:
            raise EngineUnavailableError("the engine is not accepting texts", retry_after=1.0)
        entries = self._waiting.add(texts, deadline, time.monotonic())
        if self._wants_thread():
            self._idle.notify()
        return entries

    def submit_table(self, table: TextTable, deadline: float) -> Ticket[ScoreTable]:
        """Queue texts that belong together. See ``Engine.submit_table``."""
        limits = self._limits
        fits = len(table.lengths) <= limits.max_batch_size and len(table.ids) <= limits.max_batch_tokens
        if not self._takes_tables or not fits:
            whole = Ticket[ScoreTable]()
            gather(self.submit(table.texts(), deadline), whole)
            return whole
        if not self._accepting:
            raise EngineUnavailableError("the engine is not accepting texts", retry_after=1.0)
        entry = self._waiting.add_table(table, deadline, time.monotonic())
        self._idle.notify()
        if len(self._lanes) == len(self._runners):
            self._fill(min(self._lanes, key=lambda lane: len(lane.tables)))
        return entry

    async def _run(self, predictor: Predictor) -> None:
        # Results of one batch are told while the next is computed: the device does not wait for that.
        tell = _nothing
        while self._accepting or self.queued:
            pause = self._resume_at - time.monotonic()
            if pause <= 0 and (table := self._waiting.draw_table(time.monotonic())):
                tell = await self._compute_tables(cast("TablePredictor", predictor), table, tell)
                continue
            if pause <= 0 and self._wants_thread() and (batch := self._waiting.draw(time.monotonic())):
                tell = await self._compute_batch(predictor, batch, tell)
                continue
            tell()
            tell = _nothing
            if pause > 0:
                await asyncio.sleep(pause)
            elif self._accepting and self.queued == self._waiting.singles and not self._wants_thread():
                # A table that waits had to give way to single texts, which another thread takes.
                await self._idle.wait()
        tell()

    def _wants_thread(self) -> bool:
        """Whether one more thread should take of the single texts that wait; all should at the end."""
        waiting = self._waiting.singles
        return self._share.wants_thread(waiting) or (waiting > 0 and not self._accepting)

    async def _compute_batch(
        self, predictor: Predictor, batch: list[Entry], meanwhile: Callable[[], None]
    ) -> Callable[[], None]:
        """Compute a batch of single texts; see ``_compute``."""
        with self._share.at_work():
            if self._wants_thread():
                # Nobody was woken for what this batch has left.
                self._idle.notify()
            return await self._compute(predictor, batch, meanwhile)

    async def _compute(
        self, predictor: Predictor, batch: list[Entry], meanwhile: Callable[[], None]
    ) -> Callable[[], None]:
        """Compute a batch, and do something meanwhile. What is returned tells its callers."""
        started, saturated = time.monotonic(), self.queued > 0
        inline = self._takes_tables and self._share.belongs_inline(len(batch), self._waiting.singles)
        work = partial(predict, predictor, [entry.ids for entry in batch])
        try:
            scores, seconds = await self._passes.compute(work, meanwhile, inline=inline)
        except Exception as error:
            await self._split(predictor, batch, error)
            return _nothing
        self._passes.known = batch[0].ids
        self._share.observe(len(batch), seconds)
        tell = partial(self._tell, batch, scores, (started, time.monotonic()), saturated=saturated)
        if not inline:
            return tell
        tell()
        # Answers leave, and what has arrived is taken, before the next batch is drawn.
        await asyncio.sleep(0)
        return _nothing

    def _tell(self, batch: list[Entry], scores: list[Scores], times: tuple[float, float], *, saturated: bool) -> None:
        started, ended = times
        metrics.QUEUE_SECONDS.observe_all([started - entry.arrived for entry in batch])
        self._observe([entry.length for entry in batch], ended - started, saturated=saturated)
        if self._timed:
            scores = [score._replace(computed=times) for score in scores]
        for entry, score in zip(batch, scores, strict=True):
            if all(map(math.isfinite, score.probabilities)):
                entry.set_result(score)
            else:
                metrics.INFERENCE_ERRORS.labels("not_finite").inc()
                _fail([entry])

    async def _compute_tables(
        self, predictor: TablePredictor, first: TableEntry, meanwhile: Callable[[], None]
    ) -> Callable[[], None]:
        """Compute a table, and those that wait as long as no single text does. See ``_compute``.

        The next one is handed over before the last is done, so that the thread goes on without waiting for this one.
        """
        lane = TableLane(predictor)
        self._begin_table(lane, first)
        self._lanes.append(lane)
        tell = meanwhile
        try:
            while lane.tables:
                self._fill(lane)
                tell()
                tell = await self._end_table(*lane.tables[0])
                lane.tables.popleft()
        finally:
            self._lanes.remove(lane)
        return tell

    def _fill(self, lane: TableLane) -> None:
        """Hand one more table over where only one is at work and it is a table's turn."""
        now = time.monotonic()
        if len(lane.tables) == 1 and self._resume_at <= now and (entry := self._waiting.draw_table(now, alone=True)):
            self._begin_table(lane, entry)

    def _begin_table(self, lane: TableLane, entry: TableEntry) -> None:
        """Hand a table over as one batch."""
        predictor, saturated = lane.predictor, self.queued > 0

        def compute() -> TimedTable | None:
            started = time.monotonic()
            if not entry.wanted(started):
                return None
            scores = predictor.predict_table(entry.table)
            require_finite(scores.probabilities)
            return TimedTable(scores, started, time.monotonic(), saturated)

        lane.tables.append((entry, self._passes.begin(compute)))

    async def _end_table(self, entry: TableEntry, computing: asyncio.Future[TimedTable | None]) -> Callable[[], None]:
        texts = len(entry.table.lengths)
        try:
            timed = await self._passes.end(computing)
        except Exception as error:
            # Text by text it may fit, or fail alone: batches of those are split.
            count_failure(error, texts)
            gather(self._waiting.add(entry.table.texts(), entry.deadline, time.monotonic()), entry)
            return _nothing
        if timed is None:
            self._waiting.drop_table(entry)
            return _nothing
        scores, started, ended, saturated = timed

        def tell() -> None:
            metrics.QUEUE_SECONDS.observe_times(started - entry.arrived, texts)
            self._observe(entry.table.lengths, ended - started, saturated=saturated)
            if not all(map(math.isfinite, scores.probabilities)):
                metrics.INFERENCE_ERRORS.labels("not_finite").inc()
            entry.set_result(scores._replace(computed=(started, ended)) if self._timed else scores)

        return tell

    async def _split(self, predictor: Predictor, batch: list[Entry], error: Exception) -> None:
        """Retry the halves of a batch that failed; a single text fails alone.

        Raises:
            DeadPredictorError: everything fails. What was submitted is left as it is: whoever waits may ask another.
        """
        count_failure(error, len(batch))
        if len(batch) == 1:
            if not isinstance(error, MemoryError):
                await self._passes.prove(predictor)
            _fail(batch)
            return
        middle = len(batch) // 2
        tell = await self._compute(predictor, batch[:middle], _nothing)
        tell = await self._compute(predictor, batch[middle:], tell)
        tell()

    def _observe(self, lengths: list[int], seconds: float, *, saturated: bool) -> None:
        texts, tokens = len(lengths), sum(lengths)
        metrics.INFERENCE_SECONDS.observe(seconds)
        metrics.BATCH_SIZE.observe(texts)
        metrics.BATCH_TOKENS.observe(tokens)
        # What takes tables reads texts of any lengths as they are.
        metrics.PADDING_RATIO.observe(0.0 if self._takes_tables else 1 - tokens / (texts * max(lengths)))
        metrics.COMPUTED.inc(texts)
        self._rate.observe(texts * len(self._runners), seconds, saturated=saturated)


def _nothing() -> None:
    """There is nobody to tell."""


def _fail(batch: Sequence[Ticket[Any]]) -> None:
    for entry in batch:
        entry.set_exception(InferenceError("the forward pass failed for this text"))
