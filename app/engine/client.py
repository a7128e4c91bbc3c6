"""The engine as an HTTP worker sees it: an ``Engine`` behind a local socket, which may die and come back."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

from app import metrics
from app.engine import frames
from app.engine.admission import QueueLimits, drain_seconds
from app.engine.interface import EngineInfo, ServedModel
from app.engine.ticket import Ticket
from app.errors import EngineUnavailableError
from app.process.pulse import BEAT_SECONDS
from app.sentiment import Scores, TextBatch

logger = logging.getLogger(__name__)

_RECONNECT_SECONDS = 0.05
_REFUSED_SECONDS = 1.0
"""Between greetings of an engine with another model: it is not going to change it, but it may be started again."""
_ATTEMPTS = 2
"""How often a text is sent: once, and once more where the engine died on it."""
_SILENCE_SECONDS = 1.25
"""Without a sign of life for so long, the engine is taken for hung: several beats are missing."""
_PATIENCE_SECONDS = 5.0
"""An engine that is away for longer is not worth waiting for: new texts are refused."""
_AWAY_RETRY_SECONDS = 2.0
"""About the time a restart takes."""


class _Pending(Ticket):
    """A batch that the engine owes an answer for."""

    __slots__ = ("_release", "attempts", "batch", "deadline", "number")

    def __init__(self, number: int, batch: TextBatch, deadline: float, release: Callable[[_Pending], None]) -> None:
        super().__init__()
        self.number = number
        self.batch = batch
        self.deadline = deadline
        self.attempts = 0
        self._release = release

    def on_done(self) -> None:
        self._release(self)


class RemoteEngine:
    """An engine in another process.

    While the engine is away or hangs, ``ready`` is false and texts wait; when it is back, texts that were in flight are
    sent once more. Those that had their second chance fail with ``EngineUnavailableError``. After some seconds without
    an engine new texts are refused. An engine that greets with another model is as good as none.

    Args:
        path: the engine's Unix socket.
        limits: bounds of what this worker sends; the seconds bound the wait behind the texts of all workers.
        model: what this worker makes token ids for.
        tell: told whether the engine answers, whenever that changes.
    """

    def __init__(
        self,
        path: Path,
        limits: QueueLimits,
        model: ServedModel,
        tell: Callable[[float], None] = metrics.ENGINE_READY.set,
    ) -> None:
        self._path = path
        self._limits = limits
        self._model = model
        self._tell = tell
        self._refused: ServedModel | None = None
        self._pending: dict[int, _Pending] = {}
        self._pending_texts = self._pending_tokens = 0
        self._numbers = itertools.count(1)
        self._info: EngineInfo | None = None
        self._connection: _Connection | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._greeted = asyncio.Event()
        self._outbox: list[_Pending] = []
        self._cancelled: list[int] = []
        self._others = 0
        self._texts_per_second = 0.0
        self._ready = False
        self._heard = time.monotonic()

    @property
    def info(self) -> EngineInfo:
        """What computes, as the engine last said; an ``EngineUnavailableError`` before it ever did."""
        if self._info is None:
            raise EngineUnavailableError("the engine is starting", retry_after=_AWAY_RETRY_SECONDS)
        return self._info

    @property
    def ready(self) -> bool:
        """Whether the engine is connected and gives signs of life."""
        return self._ready

    async def start(self) -> None:
        """Connect, as soon as the engine is there, and stay connected."""
        self._tasks = [asyncio.create_task(self._keep_connected()), asyncio.create_task(self._watch())]
        await self._greeted.wait()

    async def close(self) -> None:
        """Disconnect; whatever still waits fails."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for pending in list(self._pending.values()):
            pending.set_exception(EngineUnavailableError("the service is shutting down"))

    def admit(self, texts: int, tokens: int) -> None:
        """Refuse what would exceed a bound. See ``Engine.admit``."""
        if not self._ready and time.monotonic() - self._heard > _PATIENCE_SECONDS:
            raise EngineUnavailableError("the engine is away", retry_after=_AWAY_RETRY_SECONDS)
        own = self._pending_texts
        # Numbers are bounded worker by worker; the wait is behind everybody's texts.
        self._limits.check((own, self._pending_tokens), texts, tokens, self._texts_per_second)
        self._limits.check_wait(own + self._others, texts, self._texts_per_second)

    def drain_seconds(self, texts: int) -> float:
        """See ``Engine.drain_seconds``."""
        return drain_seconds(self._pending_texts + self._others + texts, self._texts_per_second)

    def submit(self, batch: TextBatch, deadline: float) -> Ticket:
        """Queue texts. See ``Engine.submit``."""
        pending = _Pending(next(self._numbers) & 0xFFFFFFFF, batch, deadline, self._done)
        self._pending[pending.number] = pending
        self._pending_texts += len(batch.lengths)
        self._pending_tokens += len(batch.ids)
        self._send_soon([pending])
        return pending

    def _send_soon(self, batches: Sequence[_Pending]) -> None:
        """Texts of requests that arrive together leave in one frame."""
        if not self._outbox:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outbox += batches

    def _flush(self) -> None:
        outbox, self._outbox = self._outbox, []
        if self._connection is None or not self._greeted.is_set():
            return  # the next greeting sends everything that waits
        # Twice where it waited for a greeting that came before this turn.
        batches = [pending for pending in dict.fromkeys(outbox) if not pending.done()]
        if not batches:
            return
        for pending in batches:
            pending.attempts += 1
        # Tickets are cancelled when their callers give up; the engine's own deadline is only a backstop.
        deadline = max(pending.deadline for pending in batches)
        numbers = [pending.number for pending in batches]
        frame = frames.submit(numbers, [pending.batch for pending in batches], time.monotonic(), deadline)
        self._connection.write(frame)

    def _done(self, pending: _Pending) -> None:
        del self._pending[pending.number]
        self._pending_texts -= len(pending.batch.lengths)
        self._pending_tokens -= len(pending.batch.ids)
        if not pending.cancelled() or not pending.attempts:
            return
        if not self._cancelled:
            asyncio.get_running_loop().call_soon(self._flush_cancelled)
        self._cancelled.append(pending.number)

    def _flush_cancelled(self) -> None:
        cancelled, self._cancelled = self._cancelled, []
        if self._connection is not None:
            self._connection.write(frames.cancel(cancelled))

    async def _keep_connected(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection = _Connection(self)
            try:
                await loop.create_unix_connection(lambda made=connection: made, str(self._path))  # type: ignore[misc]
            except OSError:
                await asyncio.sleep(_RECONNECT_SECONDS)
                continue
            try:
                await connection.lost.wait()
            finally:
                connection.abort()
            if self._refused is None:
                logger.warning("the engine is gone, waiting for it to come back")
            await asyncio.sleep(_RECONNECT_SECONDS if self._refused is None else _REFUSED_SECONDS)

    async def _watch(self) -> None:
        """Notice an engine that is connected and silent."""
        while True:
            slept = time.monotonic()
            await asyncio.sleep(BEAT_SECONDS)
            now = time.monotonic()
            # Where this process itself was held up, signs of life are waiting to be read.
            if self._ready and now - self._heard > _SILENCE_SECONDS and now - slept < 2 * BEAT_SECONDS:
                logger.warning("the engine is silent")
                self._set_ready(ready=False)

    def _set_ready(self, *, ready: bool) -> None:
        self._ready = ready
        self._tell(ready)

    def greeted(self, connection: _Connection, body: memoryview) -> None:
        """The engine is there and ready: send whatever waits, if the model is the right one."""
        fields = frames.read_hello(body)
        model, info = ServedModel(fields.pop("model"), fields.pop("digest")), EngineInfo(**fields)
        if model.digest != self._model.digest:
            self._refuse(connection, model)
            return
        self._refused = None
        if info != self._info:
            self._info = info
        self._connection = connection
        self._greeted.set()
        self._heard = now = time.monotonic()
        self._set_ready(ready=True)
        again = []
        for pending in list(self._pending.values()):
            if pending.attempts >= _ATTEMPTS or pending.deadline <= now:
                pending.set_exception(EngineUnavailableError("the engine failed twice on this text", retry_after=1.0))
            else:
                again.append(pending)
        self._send_soon(again)

    def _refuse(self, connection: _Connection, model: ServedModel) -> None:
        metrics.MODEL_MISMATCHES.labels("engine").inc()
        if model != self._refused:
            logger.critical("the engine is refused: it serves %s, this process %s; start all again", model, self._model)
        self._refused = model
        connection.abort()

    def disconnected(self, connection: _Connection) -> None:
        """The engine is gone."""
        if self._connection is connection:
            self._connection = None
            self._greeted.clear()
            self._others = 0
            self._set_ready(ready=False)

    def results(self, body: memoryview) -> None:
        """Answers of the engine, and with them a sign of life."""
        queued, self._texts_per_second, entries = frames.read_results(body)
        self._heard = time.monotonic()
        if not self._ready:
            self._set_ready(ready=True)
        answered = sum(len(self._pending[number].batch.lengths) for number, _ in entries if number in self._pending)
        self._others = max(0, queued - self._pending_texts + answered)
        for number, answer in entries:
            pending = self._pending.get(number)
            if pending is None:
                continue
            if isinstance(answer, str):
                error = frames.ERRORS.get(answer, EngineUnavailableError)
                pending.set_exception(error("the engine could not classify this text", retry_after=1.0))
            else:
                pending.set_result([row and Scores._make(row) for row in answer])


class _Connection(asyncio.Protocol):
    def __init__(self, engine: RemoteEngine) -> None:
        self.lost = asyncio.Event()
        self._engine = engine
        self._reader = frames.FrameReader(self._handle)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._engine.disconnected(self)
        self.lost.set()

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
        except frames.FrameError as error:
            logger.error("the engine sent a malformed frame: %s", error)
            self.abort()

    def _handle(self, kind: int, body: memoryview) -> None:
        if kind == frames.HELLO:
            self._engine.greeted(self, body)
        elif kind == frames.RESULT:
            self._engine.results(body)
        else:
            raise frames.FrameError(f"kind {kind}")

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def abort(self) -> None:
        with suppress(OSError):
            if self._transport is not None:
                self._transport.abort()
