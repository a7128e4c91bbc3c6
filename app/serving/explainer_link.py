"""Both ends of the socket between HTTP workers and the explainer's process.

One connection is one question: ``length:u32`` and a MessagePack document each way. The question says for which model it
is, and an explainer of another refuses it. A worker that closes before it was
answered has lost interest, so the work is stopped. The supervisor holds the listening socket and starts the process
when somebody connects; until it accepts, connections wait there.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgpack

from app import metrics
from app.engine.interface import ServedModel
from app.errors import DeadlineError, ExplainerUnavailableError, InferenceError, OverloadedError, ServiceError
from app.serving.explanations import ExplanationRequest, LocalExplainer, Parts

logger = logging.getLogger(__name__)

_LENGTH = struct.Struct("<I")
# From Python 3.13 on a server that closes unlinks its path; this one is the supervisor's, who goes on listening there.
_KEEP_PATH: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
_MAX_MESSAGE = 256 * 1024 * 1024
_ATTEMPTS = 2
"""How often a text is sent: once, and once more where the process died on it."""
_WARMING_SECONDS = 300.0
"""That process gives way to everybody else, so on a busy machine it starts slowly."""
_ERRORS: dict[str, type[ServiceError]] = {
    error.code: error for error in (DeadlineError, ExplainerUnavailableError, InferenceError, OverloadedError)
}


class RemoteExplainer:
    """An ``Explainer`` in another process.

    Args:
        path: its Unix socket.
        max_waiting: most texts of this worker without an answer.
        model: what this worker classifies with.
    """

    def __init__(self, path: Path, max_waiting: int, model: ServedModel) -> None:
        self._path = path
        self._model = model
        self._max_waiting = max_waiting
        self._waiting = 0
        self._warming: asyncio.Task[None] | None = None

    async def explain(self, request: ExplanationRequest) -> Parts:
        """The parts of one text. See ``Explainer.explain``."""
        if self._waiting >= self._max_waiting:
            raise OverloadedError(f"{self._waiting} texts wait for an explanation, which is the limit", 1.0)
        self._waiting += 1
        try:
            async with asyncio.timeout(max(0.0, request.deadline - time.monotonic())):
                return await self._ask_twice(request)
        except TimeoutError:
            raise DeadlineError("the deadline passed before the text was explained") from None
        finally:
            self._waiting -= 1

    def warm(self) -> None:
        """See ``Explainer.warm``. One word explained starts the process and loads all that any text needs."""
        if self._warming is None or self._warming.done():
            self._warming = asyncio.get_running_loop().create_task(self._warm())

    async def _warm(self) -> None:
        request = ExplanationRequest("good", ("tokens",), 0, time.monotonic() + _WARMING_SECONDS)
        with suppress(ServiceError):  # whoever asks next is told
            await self.explain(request)

    async def close(self) -> None:
        """Nothing stays open between questions."""
        if self._warming is not None:
            self._warming.cancel()
            await asyncio.gather(self._warming, return_exceptions=True)

    async def _ask_twice(self, request: ExplanationRequest) -> Parts:
        for _ in range(_ATTEMPTS):
            try:
                answer = await self._ask(request)
            except (OSError, EOFError) as error:
                logger.warning("the explainer is gone (%s)", type(error).__name__)
                continue
            if "error" in answer:
                kind = _ERRORS.get(answer["error"], ExplainerUnavailableError)
                raise kind(answer["message"], answer["retry_after"])
            parts: Parts = answer["parts"]
            return parts
        raise ExplainerUnavailableError("explanations are not to be had now", retry_after=5.0)

    async def _ask(self, request: ExplanationRequest) -> dict[str, Any]:
        reader, writer = await asyncio.open_unix_connection(str(self._path))
        try:
            question = [request.text, request.kinds, request.target, request.deadline, request.aspects]
            writer.write(_message([[self._model.reference, self._model.digest], *question]))
            answer: dict[str, Any] = await _read(reader)
            return answer
        finally:
            writer.close()


class ExplainerServer:
    """Answers workers out of a ``LocalExplainer``.

    Args:
        explainer: computes, one text at a time.
        model: what it explains.
    """

    def __init__(self, explainer: LocalExplainer, model: ServedModel) -> None:
        self._explainer = explainer
        self._model = model
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.last_used = time.monotonic()

    @property
    def busy(self) -> bool:
        """Whether anybody is connected."""
        return bool(self._connections)

    async def serve(self, listener: socket.socket) -> None:
        """Accept connections on a listening Unix socket."""
        self._server = await asyncio.start_unix_server(self._connected, sock=listener, **_KEEP_PATH)

    async def close(self) -> None:
        """Accept no more, answer those who wait, then stop."""
        if self._server is not None:
            self._server.close()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._explainer.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio runs this callback as a task
        self._connections.add(task)
        try:
            with suppress(OSError, EOFError):
                model, *question = await _read(reader)
                request = ExplanationRequest(*question)
                answer = self._refusal(ServedModel(*model)) or await self._answer(request, reader)
                if answer is not None:
                    writer.write(_message(answer))
                    await writer.drain()
        finally:
            self.last_used = time.monotonic()
            self._connections.discard(task)
            writer.close()

    def _refusal(self, model: ServedModel) -> dict[str, Any] | None:
        """What a question about another model is answered; None where it is the right one."""
        if model.digest == self._model.digest:
            return None
        metrics.MODEL_MISMATCHES.labels("explainer").inc()
        logger.critical(
            "a question is refused: it is about %s, this process has %s; start all again", model, self._model
        )
        return _failure(ExplainerUnavailableError("explanations are not to be had now"))

    async def _answer(self, request: ExplanationRequest, reader: asyncio.StreamReader) -> dict[str, Any] | None:
        """The answer, or None where the worker has lost interest."""
        work = asyncio.ensure_future(self._explainer.explain(request))
        # Nothing more is ever sent, so what ends this is the end of the connection.
        gone = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
            return {"parts": work.result()} if work.done() else None
        except ServiceError as error:
            return _failure(error)
        finally:
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)


def _failure(error: ServiceError) -> dict[str, Any]:
    return {"error": error.code, "message": str(error), "retry_after": error.retry_after}


def _message(document: object) -> bytes:
    body: bytes = msgpack.packb(document, unicode_errors="surrogatepass")
    return _LENGTH.pack(len(body)) + body


async def _read(reader: asyncio.StreamReader) -> Any:
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if length > _MAX_MESSAGE:
        raise EOFError(f"a message of {length} bytes")
    return msgpack.unpackb(await reader.readexactly(length), unicode_errors="surrogatepass")
