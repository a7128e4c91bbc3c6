"""How an HTTP worker asks the supervisor: a line of JSON there, a line back, on a Unix socket in the private folder."""

from __future__ import annotations

import asyncio
import json
import logging
import os
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
ROSTER_SECONDS = 10.0
"""How long a worker waits for news of the roster before it asks again."""

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
            request_queue_size = 256  # every worker asks for the roster

            def handle_error(self, request: Any, client_address: Any) -> None:
                # Workers that end while they wait are nothing unusual; whatever else it is, the supervisor goes on.
                level = logging.DEBUG if isinstance(sys.exception(), OSError) else logging.ERROR
                logger.log(level, "a question of a worker could not be answered: %r", sys.exception())

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
        """What is served and loaded, and the last orders."""
        return await self._ask({"do": "show"}, _READ_SECONDS)

    async def roster(self, seen: int, faults: Mapping[str, str]) -> Mapping[str, Any]:
        """What this process should have loaded, as soon as that is not what it has. See ``roster``.

        Args:
            seen: number of the roster that it has.
            faults: of which versions it has not, and why.
        """
        question = {"do": "roster", "seen": seen, "faults": dict(faults), "worker": os.getpid()}
        return await self._ask(question, ROSTER_SECONDS + _READ_SECONDS)

    async def load(self, reference: str, who: str) -> Mapping[str, Any]:
        """Have another model served; what is served then. Takes as long as it takes.

        Args:
            reference: which.
            who: asks for it.
        """
        return await self._order("load", reference, who)

    async def load_beside(self, reference: str, who: str) -> Mapping[str, Any]:
        """Have another model loaded beside the one that is served. See ``load``."""
        return await self._order("load_beside", reference, who)

    async def unload(self, reference: str, who: str) -> Mapping[str, Any]:
        """Have a model unloaded that is loaded beside the one that is served. See ``load``."""
        return await self._order("unload", reference, who)

    async def divide(self, reference: str, percent: float, who: str) -> Mapping[str, Any]:
        """Have a model that is loaded beside answer a share of the requests that name none. See ``load``."""
        return await self._order("divide", reference, who, percent=percent)

    async def shadow(self, reference: str, percent: float, who: str) -> Mapping[str, Any]:
        """Have a model that is loaded beside judge a share of the texts for comparison. See ``load``."""
        return await self._order("shadow", reference, who, percent=percent)

    async def _order(self, order: str, reference: str, who: str, **more: float) -> Mapping[str, Any]:
        return await self._ask({"do": order, "model": reference, "who": who, **more}, LONGEST_LOAD)

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
