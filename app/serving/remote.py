"""The engine as an HTTP worker sees it: an ``Engine`` behind a local socket, which may die and come back."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from app import metrics
from app.errors import EngineUnavailableError, OverloadedError
from app.sentiment import Scores, TokenIds
from app.serving import frames
from app.serving.engine import EngineInfo
from app.serving.engine_server import ERRORS

logger = logging.getLogger(__name__)

_RECONNECT_SECONDS = 0.05
_ATTEMPTS = 2
"""How often a text is sent: once, and once more where the engine died on it."""


@dataclass(eq=False, slots=True)
class _Pending:
    ids: TokenIds[int]
    deadline: float
    future: asyncio.Future[Scores]
    attempts: int = 0


class RemoteEngine:
    """An engine in another process.

    While the engine is away, ``ready`` is false and texts wait; when it is back, texts that were in flight are sent
    once more. Those that had their second chance fail with ``EngineUnavailableError``.

    Args:
        path: the engine's Unix socket.
        max_pending: most texts of this worker without an answer.
        max_queue_seconds: longest expected wait, by the rate that the engine reports.
    """

    def __init__(self, path: Path, max_pending: int, max_queue_seconds: float) -> None:
        self._path = path
        self._max_pending = max_pending
        self._max_queue_seconds = max_queue_seconds
        self._pending: dict[int, _Pending] = {}
        self._numbers = itertools.count(1)
        self._info: EngineInfo | None = None
        self._connection: _Connection | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._greeted = asyncio.Event()
        self._outbox: dict[int, None] = {}
        self._cancelled: list[int] = []
        self._queued = 0
        self._texts_per_second = 0.0

    @property
    def info(self) -> EngineInfo:
        """What computes, as the engine last said; an ``EngineUnavailableError`` before it ever did."""
        if self._info is None:
            raise EngineUnavailableError("the engine is starting", retry_after=1.0)
        return self._info

    @property
    def ready(self) -> bool:
        """Whether the engine is connected."""
        return self._connection is not None and self._greeted.is_set()

    async def start(self) -> None:
        """Connect, as soon as the engine is there, and stay connected."""
        self._keeper = asyncio.create_task(self._keep_connected())
        await self._greeted.wait()

    async def close(self) -> None:
        """Disconnect; whatever still waits fails."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        for number in list(self._pending):
            self._fail(number, EngineUnavailableError("the service is shutting down"))

    def submit(self, texts: Sequence[TokenIds[int]], deadline: float) -> list[asyncio.Future[Scores]]:
        """Queue texts, all or none. See ``Engine.submit``."""
        self.admit(len(texts))
        loop = asyncio.get_running_loop()
        futures = []
        for ids in texts:
            number = next(self._numbers) & 0xFFFFFFFF
            pending = _Pending(ids, deadline, loop.create_future())
            pending.future.add_done_callback(lambda _, number=number: self._done(number))  # type: ignore[misc]
            self._pending[number] = pending
            self._send_soon(number)
            futures.append(pending.future)
        return futures

    def admit(self, texts: int) -> None:
        """Refuse what would exceed a bound. See ``Engine.admit``."""
        if len(self._pending) + texts > self._max_pending:
            raise OverloadedError(
                f"{len(self._pending)} texts are waiting, {texts} more would exceed the limit",
                retry_after=max(1.0, len(self._pending) / (self._texts_per_second or len(self._pending) or 1)),
            )
        if self._texts_per_second:
            expected = (max(self._queued, len(self._pending)) + texts) / self._texts_per_second
            if expected > self._max_queue_seconds:
                raise OverloadedError(
                    f"the expected wait is {expected:.1f} s, the limit {self._max_queue_seconds} s",
                    retry_after=max(1.0, expected - self._max_queue_seconds),
                )

    def _send_soon(self, number: int) -> None:
        """Texts of requests that arrive together leave in one frame."""
        if not self._outbox:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outbox[number] = None

    def _flush(self) -> None:
        outbox, self._outbox = self._outbox, {}
        if not self.ready or self._connection is None:
            return  # the next greeting sends everything that waits
        entries = [(number, self._pending[number]) for number in outbox if number in self._pending]
        for _, pending in entries:
            pending.attempts += 1
        if entries:
            # Futures are cancelled when their callers give up; the engine's own deadline is only a backstop.
            deadline = max(pending.deadline for _, pending in entries)
            numbers = [number for number, _ in entries]
            self._connection.write(frames.submit(numbers, [pending.ids for _, pending in entries], deadline))

    def _done(self, number: int) -> None:
        pending = self._pending.pop(number, None)
        if pending is None or not pending.future.cancelled() or not pending.attempts:
            return
        if not self._cancelled:
            asyncio.get_running_loop().call_soon(self._flush_cancelled)
        self._cancelled.append(number)

    def _flush_cancelled(self) -> None:
        cancelled, self._cancelled = self._cancelled, []
        if self._connection is not None:
            self._connection.write(frames.cancel(cancelled))

    def _fail(self, number: int, error: Exception) -> None:
        pending = self._pending.get(number)
        if pending is not None and not pending.future.done():
            pending.future.set_exception(error)

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
            logger.warning("the engine is gone, waiting for it to come back")
            await asyncio.sleep(_RECONNECT_SECONDS)

    def greeted(self, connection: _Connection, body: memoryview) -> None:
        """The engine is there and ready: send whatever waits."""
        hello = EngineInfo(**frames.read_hello(body))
        if hello != self._info:
            self._info = hello
        self._connection = connection
        self._greeted.set()
        metrics.ENGINE_READY.set(1)
        now = time.monotonic()
        for number, pending in list(self._pending.items()):
            if pending.attempts >= _ATTEMPTS or pending.deadline <= now:
                self._fail(number, EngineUnavailableError("the engine failed twice on this text", retry_after=1.0))
            else:
                self._send_soon(number)

    def disconnected(self, connection: _Connection) -> None:
        """The engine is gone."""
        if self._connection is connection:
            self._connection = None
            self._greeted.clear()
            metrics.ENGINE_READY.set(0)

    def results(self, body: memoryview) -> None:
        """Answers of the engine."""
        self._queued, self._texts_per_second, entries = frames.read_results(body)
        for number, *answer in entries:
            pending = self._pending.get(number)
            if pending is None or pending.future.done():
                continue
            if len(answer) == 1:
                error = ERRORS.get(answer[0], EngineUnavailableError)
                pending.future.set_exception(error("the engine could not classify this text", retry_after=1.0))
            else:
                probabilities, rating, *computed = answer
                pending.future.set_result(Scores(tuple(probabilities), rating, tuple(computed) or None))


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
