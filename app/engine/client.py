"""The engines of a model as an HTTP worker sees them: an ``Engine`` in other processes, which may die and come back."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from app import metrics
from app.engine.admission import QueueLimits, drain_seconds
from app.engine.interface import EngineInfo, ServedModel
from app.engine.link import EngineLink, Pending
from app.engine.ticket import Ticket
from app.errors import EngineClosedError, EngineUnavailableError
from app.process.pulse import BEAT_SECONDS
from app.sentiment import TextBatch

logger = logging.getLogger(__name__)

_ATTEMPTS = 2
"""How often a text is sent: once, and once more where the engine died on it."""
_SILENCE_SECONDS = 1.25
"""Without a sign of life for so long, an engine is taken for hung: several beats are missing."""
_PATIENCE_SECONDS = 5.0
"""Engines that are away for longer are not worth waiting for: new texts are refused."""
_AWAY_RETRY_SECONDS = 2.0
"""About the time a restart takes."""
_AHEAD_TEXTS, _AHEAD_SHARE = 8, 1.25
"""A worker stays with the engine of its group as long as no other has clearly less under way: fewer than that has by 8
texts, about what is computed together with little load, and by a fifth of all it has, so that what is not known of the
others' texts moves nothing."""


class Loaded(Protocol):
    """What an engine is chosen by."""

    @property
    def ready(self) -> bool: ...
    @property
    def load(self) -> int: ...


_Link = TypeVar("_Link", bound=Loaded)


def chosen(links: Sequence[_Link]) -> _Link | None:
    """The engine that gets the next texts; None where none is ready.

    Args:
        links: the one of the worker's own group first.
    """
    own, least = links[0], None
    for link in links:
        if link.ready and (least is None or link.load < least.load):
            least = link
    if least is not None and own.ready and own.load <= _AHEAD_SHARE * least.load + _AHEAD_TEXTS:
        return own
    return least


class RemoteEngine:
    """Engines in other processes, all of one model.

    Each batch goes to one of them, see ``chosen``. Where an engine dies or hangs, what it had is sent once more, to
    another one or, where there is none, to the first that is there again; what had its second chance fails with
    ``EngineUnavailableError``. While none answers, ``ready`` is false and texts wait; after some seconds of that new
    ones are refused. An engine that greets with another model is as good as none.

    Args:
        paths: the engines' Unix sockets.
        limits: bounds of what this worker sends; the seconds bound the wait behind the texts of all workers.
        model: what this worker makes token ids for.
        own: which of the engines is of this worker's group.
        spare: the Unix socket of an engine that gets texts while no other one answers; None: there is none.
        tell: told the number of an engine and whether it answers, whenever that changes.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        limits: QueueLimits,
        model: ServedModel,
        own: int = 0,
        spare: Path | None = None,
        tell: Callable[[int, bool], None] = metrics.tell_engine_ready,
    ) -> None:
        links = [EngineLink(number, path, self) for number, path in enumerate(paths)]
        # Each group begins with another neighbour where several have as much under way.
        self._regular = links[own:] + links[:own]
        self._own = links[own]
        self._spare = None if spare is None else EngineLink(len(links), spare, self)
        self._links = self._regular if self._spare is None else [*self._regular, self._spare]
        self._limits = limits
        self._model = model
        self._tell = tell
        self._waiting: dict[int, Pending] = {}
        self._texts = self._tokens = 0
        self._others = 0
        self._texts_per_second = 0.0
        self._numbers = itertools.count(1)
        self._info: EngineInfo | None = None
        self._ready = self._closed = False
        self._met = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def info(self) -> EngineInfo:
        """What computes, as the engines last said; an ``EngineUnavailableError`` before any did."""
        if self._info is None:
            raise EngineUnavailableError("the engine is starting", retry_after=_AWAY_RETRY_SECONDS)
        return self._info

    @property
    def ready(self) -> bool:
        """Whether an engine is connected and gives signs of life."""
        return self._ready

    async def start(self) -> None:
        """Connect, as soon as the engines are there, and stay connected. Returns when all have been, but for a spare
        one."""
        for link in self._links:
            self._tell(link.number, False)
        self._tasks = [asyncio.create_task(link.keep_connected()) for link in self._links]
        self._tasks.append(asyncio.create_task(self._watch()))
        await self._met.wait()

    async def close(self) -> None:
        """Disconnect; whatever still waits fails, and so does what comes."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for batches in (self._waiting, *(link.pending for link in self._links)):
            for pending in list(batches.values()):
                pending.set_exception(EngineClosedError())

    def admit(self, texts: int, tokens: int) -> None:
        """Refuse what would exceed a bound. See ``Engine.admit``."""
        if self._closed:
            raise EngineClosedError
        if not self._ready:
            heard = max(link.last_heard for link in self._links)
            if time.monotonic() - heard > _PATIENCE_SECONDS:
                raise EngineUnavailableError("the engine is away", retry_after=_AWAY_RETRY_SECONDS)
        # Numbers are bounded worker by worker; the wait is behind everybody's texts.
        self._limits.check((self._texts, self._tokens), texts, tokens, self._texts_per_second)
        self._limits.check_wait(self._texts + self._others, texts, self._texts_per_second)

    def drain_seconds(self, texts: int) -> float:
        """See ``Engine.drain_seconds``."""
        return drain_seconds(self._texts + self._others + texts, self._texts_per_second)

    def expected_wait(self) -> float:
        """See ``Engine.expected_wait``."""
        rate = self._texts_per_second
        return (self._texts + self._others) / rate if rate else 0.0

    def submit(self, batch: TextBatch, deadline: float) -> Ticket:
        """Queue texts. See ``Engine.submit``."""
        pending = Pending(next(self._numbers) & 0xFFFFFFFF, batch, deadline, self._done)
        self._texts += len(batch.lengths)
        self._tokens += len(batch.ids)
        self._send(pending)
        return pending

    def _send(self, pending: Pending) -> None:
        # What ``chosen`` comes to where little is under way, which is most of the time.
        own = self._own
        link = own if own.ready and own.texts + own.others <= _AHEAD_TEXTS else chosen(self._regular)
        if link is None and self._spare is not None and self._spare.ready:
            link = self._spare
        if link is None:
            self._waiting[pending.number] = pending
        else:
            link.take(pending)

    def _done(self, pending: Pending) -> None:
        self._texts -= len(pending.batch.lengths)
        self._tokens -= len(pending.batch.ids)
        link = pending.link
        if link is None:
            del self._waiting[pending.number]
            return
        link.forget(pending)
        if pending.cancelled():
            link.cancel(pending)

    async def _watch(self) -> None:
        """Notice engines that are connected and silent."""
        while True:
            slept = time.monotonic()
            await asyncio.sleep(BEAT_SECONDS)
            now = time.monotonic()
            if now - slept > 2 * BEAT_SECONDS:
                continue  # this process itself was held up, and signs of life are waiting to be read
            for link in self._links:
                if link.ready and now - link.last_heard > _SILENCE_SECONDS:
                    logger.warning("engine %d is silent", link.number)
                    link.set_ready(ready=False)

    def refusal(self, link: EngineLink, model: ServedModel, info: EngineInfo) -> str | None:
        """See ``LinkOwner``. One that computes with something else than the others gives other scores, if by little."""
        if model.digest != self._model.digest:
            metrics.MODEL_MISMATCHES.labels("engine").inc()
            return f"it serves {model}, this process {self._model}; start all again"
        if info != self._info:
            if any(other.ready for other in self._links if other is not link):
                return f"it computes with {info}, the others with {self._info}; start all again"
            self._info = info
        return None

    def changed(self, link: EngineLink) -> None:
        """See ``LinkOwner``."""
        self._ready = any(other.ready for other in self._links)
        if self._ready:
            self.heard()
        else:
            self._others = 0
        self._tell(link.number, link.ready)
        self._send_again()
        if all(other.ready for other in self._regular):
            self._met.set()

    def heard(self) -> None:
        """See ``LinkOwner``."""
        others, rate = 0, 0.0
        # What a spare engine computed at its turn says nothing of the present.
        answering = [link for link in self._regular if link.ready] or [link for link in self._links if link.ready]
        for link in answering:
            others += link.others
            rate += link.texts_per_second
        self._others, self._texts_per_second = others, rate

    def stranded(self, batches: list[Pending]) -> None:
        """See ``LinkOwner``."""
        self._waiting.update((pending.number, pending) for pending in batches)
        for pending in batches:
            if pending.attempts >= _ATTEMPTS:
                pending.set_exception(EngineUnavailableError("the engine failed twice on this text", retry_after=1.0))

    def _send_again(self) -> None:
        """Give what has no engine, or one that hangs, to one that answers, if any does."""
        if not self._ready:
            return
        now, again = time.monotonic(), list(self._waiting.values())
        for link in self._links:
            for pending in list(link.pending.values()) if not link.ready else ():
                if pending.attempts < _ATTEMPTS and pending.deadline > now:
                    link.forget(pending)
                    link.cancel(pending)
                    again.append(pending)
        self._waiting.clear()
        self._waiting.update((pending.number, pending) for pending in again)
        for pending in again:
            if pending.deadline <= now:
                pending.set_exception(EngineUnavailableError("the engine failed on this text", retry_after=1.0))
            elif not pending.done():
                del self._waiting[pending.number]
                self._send(pending)
