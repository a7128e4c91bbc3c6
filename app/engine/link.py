"""One engine as an HTTP worker sees it: a connection over a local socket, which may break and come back."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol, cast

from app.engine import frames
from app.engine.interface import EngineInfo, ServedModel
from app.engine.ticket import Ticket
from app.errors import EngineUnavailableError
from app.sentiment import Scores, TextBatch

logger = logging.getLogger(__name__)

_FRAME_TOKENS = 8_192
"""A frame of so many tokens is large."""
_RECONNECT_SECONDS = 0.05
_REFUSED_SECONDS = 1.0
"""Between greetings of an engine that is refused: it is not going to change, but it may be started again."""


class Pending(Ticket):
    """A batch that an engine owes an answer for.

    Attributes:
        number: its own, on every link.
        batch: the texts.
        deadline: ``time.monotonic()`` after which nobody wants them.
        attempts: how often it was sent.
        link: to the engine that has it, or will have it at the end of this turn; None while there is none to be had.
    """

    __slots__ = ("_release", "attempts", "batch", "deadline", "link", "number")

    def __init__(self, number: int, batch: TextBatch, deadline: float, release: Callable[[Pending], None]) -> None:
        super().__init__()
        self.number = number
        self.batch = batch
        self.deadline = deadline
        self.attempts = 0
        self.link: EngineLink | None = None
        self._release = release

    def on_done(self) -> None:
        self._release(self)


class LinkOwner(Protocol):
    """Who has the links to all engines of a model."""

    def refusal(self, link: EngineLink, model: ServedModel, info: EngineInfo) -> str | None:
        """Why an engine that says this of itself gets no texts; None: it does."""
        ...

    def changed(self, link: EngineLink) -> None:
        """An engine has begun to answer, or does not any more."""
        ...

    def heard(self) -> None:
        """An engine said how much waits for it."""
        ...

    def stranded(self, batches: list[Pending]) -> None:
        """An engine is gone, and these have none."""
        ...


class EngineLink:
    """Sends batches to one engine, and notes what becomes of them.

    Args:
        number: the engine's, among those of its model.
        path: its Unix socket.
        owner: has this link.

    Attributes:
        number: as given.
        ready: whether the engine is connected and gives signs of life.
        texts: texts of this worker that it has.
        others: texts of other workers that wait there, as it last said.
        texts_per_second: its drain rate, as it last said; 0 where it is not known.
        last_heard: ``time.monotonic()`` of its last sign of life.
        pending: batches that it has, by number.
    """

    def __init__(self, number: int, path: Path, owner: LinkOwner) -> None:
        self.number = number
        self.ready = False
        self.texts = self.others = 0
        self.texts_per_second = 0.0
        self.last_heard = time.monotonic()
        self.pending: dict[int, Pending] = {}
        self._path = path
        self._owner = owner
        self._connection: _Connection | None = None
        self._refused: str | None = None
        self._outbox: list[Pending] = []
        self._outbox_tokens = 0
        self._cancelled: list[int] = []

    @property
    def load(self) -> int:
        """Texts under way there, as far as this worker knows."""
        return self.texts + self.others

    def take(self, pending: Pending) -> None:
        """Send a batch; those of requests that arrive together leave in one frame, or in several large ones.

        Under load a turn of the event loop takes long, and the socket holds a few large frames: of all that a turn has,
        sent at its end, most would wait for the next turn, and the engine with it.
        """
        pending.link = self
        self.pending[pending.number] = pending
        self.texts += len(pending.batch.lengths)
        if not self._outbox:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outbox.append(pending)
        self._outbox_tokens += len(pending.batch.ids)
        if self._outbox_tokens >= _FRAME_TOKENS:
            self._flush()

    def _flush(self) -> None:
        outbox, self._outbox, self._outbox_tokens = self._outbox, [], 0
        # Twice where it went to another engine in this turn, and came back.
        batches = [pending for pending in dict.fromkeys(outbox) if pending.link is self and not pending.done()]
        if not batches or self._connection is None:
            return
        for pending in batches:
            pending.attempts += 1
        # Tickets are cancelled when their callers give up; the engine's own deadline is only a backstop.
        deadline = max(pending.deadline for pending in batches)
        numbers = [pending.number for pending in batches]
        frame = frames.submit(numbers, [pending.batch for pending in batches], time.monotonic(), deadline)
        self._connection.write(frame)

    def forget(self, pending: Pending) -> None:
        """It is known what became of a batch, or another engine gets it."""
        del self.pending[pending.number]
        self.texts -= len(pending.batch.lengths)
        pending.link = None

    def cancel(self, pending: Pending) -> None:
        """Tell the engine that nobody wants a batch from it any more, where it has been told of it."""
        if not pending.attempts:
            return
        if not self._cancelled:
            asyncio.get_running_loop().call_soon(self._flush_cancelled)
        self._cancelled.append(pending.number)

    def _flush_cancelled(self) -> None:
        cancelled, self._cancelled = self._cancelled, []
        if self._connection is not None:
            self._connection.write(frames.cancel(cancelled))

    async def keep_connected(self) -> None:
        """Connect as soon as the engine is there, again and again, for ever."""
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
                logger.warning("engine %d is gone, waiting for it to come back", self.number)
            await asyncio.sleep(_RECONNECT_SECONDS if self._refused is None else _REFUSED_SECONDS)

    def set_ready(self, *, ready: bool) -> None:
        """The engine has begun to answer, or does not any more."""
        self.ready = ready
        self._owner.changed(self)

    def greeted(self, connection: _Connection, body: memoryview) -> None:
        """The engine is there."""
        fields = frames.read_hello(body)
        model, info = ServedModel(fields.pop("model"), fields.pop("digest")), EngineInfo(**fields)
        reason = self._owner.refusal(self, model, info)
        if reason is not None and reason != self._refused:
            logger.critical("engine %d is refused: %s", self.number, reason)
        self._refused = reason
        if reason is not None:
            connection.abort()
            return
        self._connection = connection
        self.last_heard = time.monotonic()
        self.set_ready(ready=True)

    def disconnected(self, connection: _Connection) -> None:
        """The engine is gone."""
        if self._connection is not connection:
            return
        self._connection = None
        self.others = 0
        batches = list(self.pending.values())
        for pending in batches:
            self.forget(pending)
        self._owner.stranded(batches)
        self.set_ready(ready=False)

    def results(self, body: memoryview) -> None:
        """Answers of the engine, and with them a sign of life."""
        queued, rate, entries = frames.read_results(body)
        self.last_heard = time.monotonic()
        answered = sum(len(self.pending[number].batch.lengths) for number, _ in entries if number in self.pending)
        others = max(0, queued - self.texts + answered)
        if others != self.others or rate != self.texts_per_second:
            self.others, self.texts_per_second = others, rate
            self._owner.heard()
        if not self.ready:
            self.set_ready(ready=True)
        for number, answer in entries:
            pending = self.pending.get(number)
            if pending is None:
                continue
            if isinstance(answer, str):
                error = frames.ERRORS.get(answer, EngineUnavailableError)
                pending.set_exception(error("the engine could not classify this text", retry_after=1.0))
            else:
                pending.set_result([row and Scores._make(row) for row in answer])


class _Connection(asyncio.Protocol):
    def __init__(self, link: EngineLink) -> None:
        self.lost = asyncio.Event()
        self._link = link
        self._reader = frames.FrameReader(self._handle)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        # A frame leaves at once, not at the end of the turn.
        self._transport.set_write_buffer_limits(0)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._link.disconnected(self)
        self.lost.set()

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
        except frames.FrameError as error:
            logger.error("the engine sent a malformed frame: %s", error)
            self.abort()

    def _handle(self, kind: int, body: memoryview) -> None:
        if kind == frames.HELLO:
            self._link.greeted(self, body)
        elif kind == frames.RESULT:
            self._link.results(body)
        else:
            raise frames.FrameError(f"kind {kind}")

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def abort(self) -> None:
        with suppress(OSError):
            if self._transport is not None:
                self._transport.abort()
