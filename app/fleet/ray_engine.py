"""The engine as an HTTP worker on a Ray cluster sees it: an ``Engine`` that is many, behind a handle of Ray Serve."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from app import metrics
from app.engine.admission import QueueLimits, drain_seconds
from app.engine.interface import EngineInfo
from app.engine.ticket import Ticket
from app.errors import EngineUnavailableError, ServiceError
from app.sentiment import BatchScores, TextBatch

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

logger = logging.getLogger(__name__)

_ATTEMPTS = 2
"""How often texts are sent: once, and once more, to whichever engine Ray then chooses, where the first died on them."""
_MOST_CALLS = 8
"""Calls under way at once. A call costs far more than a text, so what comes meanwhile goes together in the next one."""
_INFO_SECONDS = 5.0
_PATIENCE_SECONDS = 5.0
"""Without any answer for so long, though some are owed, all engines are taken to be away: new texts are refused."""


class Answer(NamedTuple):
    """What an engine says to a call.

    Attributes:
        queued: texts that wait there.
        texts_per_second: its drain rate; 0 where it is not known yet.
        results: scores of each batch of the call, or the error that all of its texts have.
    """

    queued: int
    texts_per_second: float
    results: list[BatchScores | ServiceError]


class _Pending(Ticket):
    """A batch that the engines owe an answer for."""

    __slots__ = ("_release", "batch", "deadline")

    def __init__(self, batch: TextBatch, deadline: float, release: Callable[[_Pending], None]) -> None:
        super().__init__()
        self.batch = batch
        self.deadline = deadline
        self._release = release

    def on_done(self) -> None:
        self._release(self)


class RayEngine:
    """All engines of a model on the cluster as one ``Engine``. Ray chooses the least busy one for each call.

    What is submitted in one turn of the event loop, or while enough calls are under way, goes in one call. One whose
    engine dies, or that has no answer in half of its time, is sent once more; then its texts fail with
    ``EngineUnavailableError``, before their deadline.

    Args:
        handle: of the deployment of ``Engine``.
        limits: bounds of what this process has under way; each engine has the same ones for what waits there.
    """

    def __init__(self, handle: DeploymentHandle[Any], limits: QueueLimits) -> None:
        self._handle = handle
        self._limits = limits
        self._info: EngineInfo | None = None
        self._pending: set[_Pending] = set()
        self._outbox: list[_Pending] = []
        self._calls: set[asyncio.Task[None]] = set()
        self._heard = 0.0
        self._texts = self._tokens = self._queued = 0
        self._texts_per_second = 0.0

    @property
    def info(self) -> EngineInfo:
        """What computes; an ``EngineUnavailableError`` before any engine ever said so."""
        if self._info is None:
            raise EngineUnavailableError("the engine is starting", retry_after=1.0)
        return self._info

    @property
    def ready(self) -> bool:
        """Whether an engine was there at the start, and one has answered lately if it was asked."""
        silent = bool(self._calls) and time.monotonic() - self._heard > _PATIENCE_SECONDS
        return self._info is not None and not silent

    async def start(self) -> None:
        """Wait for an engine that says what it is."""
        while self._info is None:
            try:
                async with asyncio.timeout(_INFO_SECONDS):
                    self._info = await self._handle.describe.remote()
            except (RayError, RayServeException, TimeoutError) as error:
                logger.warning("no engine yet: %s", type(error).__name__)
                await asyncio.sleep(1)
        metrics.tell_engine_ready(0, True)

    def admit(self, texts: int, tokens: int) -> None:
        """Refuse what would exceed a bound. See ``Engine.admit``."""
        if self._info is not None and not self.ready:
            raise EngineUnavailableError("the engines are away", retry_after=1.0)
        self._limits.check((self._texts, self._tokens), texts, tokens, self._texts_per_second)
        self._limits.check_wait(self._queued, texts, self._texts_per_second)

    def drain_seconds(self, texts: int) -> float:
        """See ``Engine.drain_seconds``."""
        return drain_seconds(self._queued + texts, self._texts_per_second)

    def expected_wait(self) -> float:
        """See ``Engine.expected_wait``."""
        rate = self._texts_per_second
        return self._queued / rate if rate else 0.0

    def submit(self, batch: TextBatch, deadline: float) -> Ticket:
        """Queue texts. See ``Engine.submit``."""
        pending = _Pending(batch, deadline, self._done)
        self._pending.add(pending)
        self._texts += len(batch.lengths)
        self._tokens += len(batch.ids)
        if not self._outbox:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outbox.append(pending)
        return pending

    async def close(self) -> None:
        """Whatever still waits fails."""
        for task in self._calls:
            task.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
        for pending in list(self._pending):
            pending.set_exception(EngineUnavailableError("the service is shutting down"))

    def _done(self, pending: _Pending) -> None:
        self._pending.discard(pending)
        self._texts -= len(pending.batch.lengths)
        self._tokens -= len(pending.batch.ids)

    def _flush(self) -> None:
        if len(self._calls) >= _MOST_CALLS:
            return  # the end of one sends what has come
        outbox, self._outbox = self._outbox, []
        if batches := [pending for pending in outbox if not pending.done()]:
            if not self._calls:
                self._heard = time.monotonic()
            task = asyncio.create_task(self._call(batches))
            self._calls.add(task)
            task.add_done_callback(self._called)

    def _called(self, task: asyncio.Task[None]) -> None:
        self._calls.discard(task)
        self._flush()

    async def _call(self, batches: Sequence[_Pending]) -> None:
        """Have batches computed, whatever becomes of the engines."""
        deadline = max(pending.deadline for pending in batches)
        for _ in range(_ATTEMPTS):
            left = deadline - time.monotonic()
            try:
                async with asyncio.timeout(left / 2):
                    answer = await self._handle.compute.remote([pending.batch for pending in batches], left)
            except (RayError, RayServeException, TimeoutError) as error:
                logger.warning("an engine did not answer: %s", type(error).__name__)
            else:
                self._take(batches, answer)
                return
        for pending in batches:
            pending.set_exception(EngineUnavailableError("the engine failed on this text", retry_after=1.0))

    def _take(self, batches: Sequence[_Pending], answer: Answer) -> None:
        self._heard = time.monotonic()
        self._queued, self._texts_per_second = answer.queued, answer.texts_per_second
        for pending, result in zip(batches, answer.results, strict=True):
            if isinstance(result, ServiceError):
                pending.set_exception(result)
            else:
                pending.set_result(result)
