"""How an HTTP worker asks the supervisor: a line of JSON there, a line back, on a Unix socket in the private folder."""

from __future__ import annotations

import asyncio
import json
import logging
import socketserver
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from app.errors import ServiceError
from app.process.child import START_SECONDS
from app.process.succession import HAND_OVER_SECONDS

logger = logging.getLogger(__name__)

CONTROL_SOCKET = "control.sock"
LONGEST_LOAD = START_SECONDS + HAND_OVER_SECONDS + 30.0
"""Seconds after which an order has been carried out, or never will be."""
_LONGEST_LINE = 1_048_576
_READ_SECONDS = 5.0

Handle = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class ControlServer:
    """Answers in threads of its own, so that an order that takes minutes is in nobody's way.

    Args:
        path: of the socket.
        handle: makes an answer of a question. Called in any thread.
    """

    def __init__(self, path: Path, handle: Handle) -> None:
        class Handler(socketserver.StreamRequestHandler):
            timeout = _READ_SECONDS

            def handle(self) -> None:
                question = json.loads(self.rfile.readline(_LONGEST_LINE))
                self.wfile.write(json.dumps(handle(question)).encode() + b"\n")

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                # Of a worker that died while it waited, or of ours; the supervisor goes on.
                logger.error("a question of a worker could not be answered: %r", sys.exception())

        self._server = Server(str(path), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True, name="control").start()

    def close(self) -> None:
        """Take no more questions."""
        self._server.shutdown()
        self._server.server_close()


class ControlClient:
    """Asks the supervisor.

    Args:
        path: of its socket.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    async def served(self) -> Mapping[str, Any]:
        """What is served, and the last attempts to serve something else."""
        return await self._ask({"do": "show"}, _READ_SECONDS)

    async def load(self, reference: str, who: str) -> Mapping[str, Any]:
        """Have another model served; what is served then. Takes as long as it takes.

        Args:
            reference: which.
            who: asks for it.
        """
        return await self._ask({"do": "load", "model": reference, "who": who}, LONGEST_LOAD)

    async def _ask(self, question: Mapping[str, Any], seconds: float) -> Mapping[str, Any]:
        try:
            async with asyncio.timeout(seconds):
                reader, writer = await asyncio.open_unix_connection(str(self._path), limit=_LONGEST_LINE)
                with closing(writer):
                    writer.write(json.dumps(question).encode() + b"\n")
                    answer = json.loads(await reader.readline())
        except (OSError, ValueError) as error:
            raise ServiceError("the supervisor of this service does not answer", retry_after=5.0) from error
        return dict(answer)
