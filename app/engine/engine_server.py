"""The engine's side of the local socket: submissions of all workers into one micro-batcher, results back."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from pathlib import Path
from typing import cast

from app.engine import frames
from app.engine.batcher import MicroBatcher
from app.engine.interface import ServedModel
from app.engine.ticket import Ticket
from app.errors import EngineUnavailableError, InferenceError, ServiceError
from app.process.pulse import BEAT_SECONDS

logger = logging.getLogger(__name__)

_STALL_SECONDS = 0.1
_LOOKS_PER_BEAT = 5
"""How often between two beats it is noted that this process does not stand still: more often than a stall is long."""
_QUIET_SECONDS = 0.05
_MOST_QUIET_SECONDS = 0.25
_BETWEEN_QUIETS = 2.0


class EngineServer:
    """Serves a micro-batcher on a Unix socket.

    Args:
        batcher: the engine, started before ``serve``.
        model: what it computes, for the greeting.
    """

    def __init__(self, batcher: MicroBatcher, model: ServedModel) -> None:
        self.batcher = batcher
        self.model = model
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._beats: asyncio.Task[None] | None = None
        self._active = self._quiet_until = 0.0
        self._next_quiet = 0.0

    async def serve(self, path: Path) -> None:
        """Listen; workers are greeted, so the batcher must be ready."""
        path.unlink(missing_ok=True)  # noqa: ASYNC240 - one call, before anybody waits
        self._server = await asyncio.get_running_loop().create_unix_server(lambda: _Connection(self), str(path))
        self._beats = asyncio.create_task(self._beat())

    async def close(self) -> None:
        """Compute what is queued, then stop."""
        if self._beats is not None:
            self._beats.cancel()
        if self._server is not None:
            self._server.close()
        await self.batcher.close()
        await asyncio.sleep(0)

    def joined(self, connection: _Connection) -> None:
        """A worker connected."""
        self._connections.add(connection)

    def left(self, connection: _Connection) -> None:
        """A worker is gone."""
        self._connections.discard(connection)

    async def _beat(self) -> None:
        """Tell every worker how long the queue is, and that this process lives; not while a forward pass hangs."""
        while True:
            if not self.batcher.hung:
                for connection in self._connections:
                    connection.report([])
            for _ in range(_LOOKS_PER_BEAT):
                await asyncio.sleep(BEAT_SECONDS / _LOOKS_PER_BEAT)
                self._active = time.monotonic()

    def heard(self, sent: float) -> None:
        """Note that a frame came, and when it was sent.

        Where one was long under way, and this process did nothing meanwhile, it stood still. Behind that frame may be
        cancellations of the very texts it brings, so nothing is computed until the sockets have been quiet for a
        moment. Under overload frames are late too, of a worker that has too much to do, and there is no time to lose.
        """
        now = time.monotonic()
        stood_still = now - max(sent, self._active) > _STALL_SECONDS
        self._active = now
        if stood_still and now > self._next_quiet:
            self._quiet_until, self._next_quiet = now + _MOST_QUIET_SECONDS, now + _BETWEEN_QUIETS
        if now < self._quiet_until:
            self.batcher.pause_until(min(now + _QUIET_SECONDS, self._quiet_until))


def _failure(ticket: Ticket) -> str:
    """The code of what a ticket without scores came to."""
    if ticket.cancelled():
        return EngineUnavailableError.code
    error = ticket.exception()
    return error.code if isinstance(error, ServiceError) else InferenceError.code


class _Connection(asyncio.Protocol):
    """One worker."""

    def __init__(self, server: EngineServer) -> None:
        self._server = server
        self._reader = frames.FrameReader(self._handle)
        self._tickets: dict[int, Ticket] = {}
        self._outbox: list[list[object]] = []
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        info, model = self._server.batcher.info, self._server.model
        hello = frames.hello(model.reference, model.digest, info.runtime, info.precision, info.device)
        self._transport.write(hello)
        self._server.joined(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._server.left(self)
        self._cancel(list(self._tickets))

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
        except frames.FrameError as error:
            logger.error("a worker sent a malformed frame: %s", error)
            if self._transport is not None:
                self._transport.abort()

    def _handle(self, kind: int, body: memoryview) -> None:
        if kind == frames.SUBMIT:
            self._submit(frames.read_submit(body))
        elif kind == frames.CANCEL:
            self._server.heard(time.monotonic())
            self._cancel(frames.read_cancel(body))
        else:
            raise frames.FrameError(f"kind {kind}")

    def _submit(self, submission: frames.Submission) -> None:
        """Hand batches on. Admission was the workers' affair: the sum of their bounds is the bound here."""
        self._server.heard(submission.sent)
        for number, batch in zip(submission.ids, submission.batches, strict=True):
            try:
                ticket = self._server.batcher.submit(batch, submission.deadline)
            except ServiceError as error:
                self._answer([number, error.code])
                continue
            self._tickets[number] = ticket
            ticket.add_done_callback(partial(self._deliver, number))

    def _cancel(self, ids: list[int]) -> None:
        for number in ids:
            if number in self._tickets:
                self._tickets[number].cancel()

    def _deliver(self, number: int, ticket: Ticket) -> None:
        """Tell the worker what became of a batch."""
        del self._tickets[number]
        if ticket.scores is None:
            self._answer([number, _failure(ticket)])
        else:
            self._answer([number, ticket.scores])

    def _answer(self, entry: list[object]) -> None:
        """Collect the answers of one batch into one frame."""
        if not self._outbox:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outbox.append(entry)

    def _flush(self) -> None:
        entries, self._outbox = self._outbox, []
        self.report(entries)

    def report(self, entries: list[list[object]]) -> None:
        """Send answers, none perhaps, and the state of the queue."""
        if self._transport is not None:
            batcher = self._server.batcher
            self._transport.write(frames.results(batcher.queued, batcher.texts_per_second, entries))
