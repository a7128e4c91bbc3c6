"""The HTTP/1.1 connection: uvicorn's protocol with bounds and deadlines on everything a client decides.

uvicorn waits for ever for the rest of a head or a body, keeps any number of connections and pipelined requests, answers
bytes that are no HTTP in plain text, and answers them before the requests that came first. Here each of these is
refused by a problem document, in its turn, and the connection ends.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import Any, Protocol

import httptools
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from app import metrics
from app.http.body import MAX_DISCARDED
from app.http.problems import Problem
from app.http.server.connection_limits import (
    ALWAYS_ANSWERED,
    CROWDED_SECONDS,
    LEAST_RATE,
    LINGER_SECONDS,
    MAX_HEAD,
    MAX_HEADERS,
    MAX_PIPELINED,
    STALL_GRACE,
    ConnectionLimits,
    head_too_large,
    too_many_connections,
    too_slow,
    why,
)
from app.http.server.half_closed import HalfClosedClient
from app.http.server.raw import ServerHeaders, raw_problem
from app.http.server.request_head import CheckedHttpProtocol
from app.http.uploads.file_request import FILES_PATH
from app.http.uploads.spool import LEAST_RATE as LEAST_FILE_RATE

_FILES = FILES_PATH.encode()
logger = logging.getLogger(__name__)


class Running(Protocol):
    """A request at work; uvicorn's cycle is one."""

    response_complete: bool
    disconnected: bool

    @property
    def message_event(self) -> Any:
        """Is set when something happened."""
        ...


class BoundedHttpProtocol(CheckedHttpProtocol):
    """One connection.

    The parser's callbacks are kept here; what is done with the parts of a request is in ``take_head``, ``take_body``
    and ``take_end``, for a subclass to change.

    Args:
        limits: bounds and deadlines.
        arguments: of ``CheckedHttpProtocol``.
    """

    _server_headers = ServerHeaders()

    def __init__(self, *arguments: Any, limits: ConnectionLimits | None = None, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.limits = limits or ConnectionLimits()
        self.surplus = False
        self._crowd = self.limits.connections * 3 // 4
        # Set when the client has said all it has to say.
        self._half_closed: HalfClosedClient | None = None
        self._discarded = 0
        # What is being read of a request ("head", "body" or nothing), and how many bytes since the parser last got on.
        self._reading = ""
        self._unread = 0
        # Size of the last piece of data, and whether it began with the end of another request.
        self._piece = 0
        self._follows = False
        self._body_bytes = 0
        self._body_since = self._last_data = 0.0
        self._is_file = False
        self._running: Running | None = None
        self._refusal: Problem | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        metrics.CONNECTIONS.inc()
        surplus = len(self.connections) - self.limits.connections
        self.surplus = surplus > 0
        if surplus > 16 + self.limits.connections // 8:
            # So many are refused already that even refusing costs too much.
            metrics.REJECTED.labels("too_many_connections").inc()
            transport.abort()
            return
        self._arm(self.limits.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        metrics.CONNECTIONS.dec()
        self._disarm()
        # uvicorn leaves this timer, and with it the connection, to those that were reset.
        self._unset_keepalive_if_required()
        if self._write_timer is not None:
            self._write_timer.cancel()
        if self._half_closed is not None:
            self._half_closed.close()
            self._half_closed = None
        if self._running is not None:
            # uvicorn tells the last request only, which is another one where requests are pipelined.
            _disconnect(self._running)
        self.pipeline.clear()
        super().connection_lost(exc)
        # Requests know their connection: without this each one that ends would be garbage in a cycle.
        self._running = None
        self.cycle = None  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            self._discard(len(data))
            return
        self._unset_keepalive_if_required()
        self._piece, self._follows = len(data), False
        self._unread += len(data)
        self._body_bytes += len(data)
        self._last_data = self.loop.time()
        try:
            self.parse(data)
        except httptools.HttpParserError as error:
            self._refuse(why(error))
            return
        if self._reading and self._unread > MAX_HEAD:
            self._refuse(head_too_large(f"exceed {MAX_HEAD} bytes"))
        elif self._timer is None and (self._reading or self._idle()):
            self._arm(self.limits.body_seconds if self._reading == "body" else self.limits.head_seconds)

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client sends no more; whether the connection stays, because there is something to be answered."""
        self._disarm()
        if self._reading == "body" and self._refusal is None:
            self.withdraw()
        self._reading = ""
        if self.transport.is_closing() or not (self.busy() or self.pipeline):
            return False
        self._half_closed = HalfClosedClient(self.transport, self._takes_interim)
        return True

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._discarded = 0
        self._reading, self._unread = "head", 0 if self._follows else self._piece

    def on_headers_complete(self) -> None:
        if len(self.headers) > MAX_HEADERS:
            raise head_too_large(f"number more than {MAX_HEADERS} headers")
        if max(self._unread, self._piece) > MAX_HEAD and self._head_bytes() > MAX_HEAD:
            raise head_too_large(f"exceed {MAX_HEAD} bytes")
        if len(self.pipeline) >= MAX_PIPELINED:
            raise Problem(429, "too_many_pipelined", f"more than {MAX_PIPELINED} requests wait on this connection")
        if not self.check_head():
            return
        self.take_head()
        self._disarm()
        self._reading, self._unread, self._body_bytes = "body", 0, 0
        self._body_since = self._last_data = self.loop.time()
        self._is_file = self.url.startswith(_FILES) and self.url[len(_FILES) : len(_FILES) + 1] in b"?"

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        self.take_body(body)

    def on_message_complete(self) -> None:
        if self.offered:
            return
        self._reading, self._follows = "", True
        self._disarm()
        self.take_end()

    def take_head(self) -> None:
        """A head is complete, and within its bounds."""
        super().on_headers_complete()
        # Trailers go into a list that nobody looks at: among the headers they could change what was checked.
        self.headers = []

    def take_body(self, body: bytes) -> None:
        """A piece of a body has arrived."""
        super().on_body(body)
        if self.cycle.response_complete:
            self._discard(len(body))

    def take_end(self) -> None:
        """A request is complete."""
        super().on_message_complete()

    def withdraw(self) -> bool:
        """Take back the request whose body is being read; whether it can still be answered by a refusal."""
        cycle = self.cycle
        if self.pipeline and self.pipeline[0][0] is cycle:
            self.pipeline.popleft()
            return True
        _disconnect(cycle)
        return not cycle.response_started

    def server_headers(self) -> bytes:
        """Lines of the server's own headers, for a response that uvicorn does not write."""
        return self._server_headers.lines(self.server_state.default_headers)

    def run(self, request: Running) -> None:
        """This request is the one at work."""
        self._running = request

    def busy(self) -> bool:
        """Whether a request is at work."""
        return self._running is not None and not self._running.response_complete and not self._running.disconnected

    def on_response_complete(self) -> None:
        seconds = self.limits.keep_alive_seconds
        # Who waits for room is not to wait for those who may have nothing more to ask.
        if len(self.connections) > self._crowd:
            seconds = min(seconds, CROWDED_SECONDS)
        self.timeout_keep_alive = seconds  # type: ignore[assignment]  # whole seconds are not needed
        super().on_response_complete()
        if self.pipeline or self.busy() or self.transport.is_closing():
            return
        if self._refusal is not None:
            self._unset_keepalive_if_required()
            self._write_refusal(self._refusal)
        elif self._half_closed is not None:
            self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        seconds, running = self.limits.body_seconds, self._running
        if isinstance(running, RequestResponseCycle) and running.scope["path"] == FILES_PATH:
            seconds = self.limits.stall_seconds + STALL_GRACE
        self._write_timer = self.loop.call_later(seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self.run(cycle)
        if self.surplus:
            cycle.keep_alive = False
            if cycle.scope["path"] not in ALWAYS_ANSWERED:
                app = too_many_connections
        super()._start_asgi_task(cycle, app)

    def _discard(self, size: int) -> None:
        """Nobody looks at so many bytes; too many of them are not even read, and the connection ends."""
        self._discarded += size
        if self._discarded > MAX_DISCARDED:
            self.transport.pause_reading()
            if self._refusal is None:
                self._disarm()
                self._timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _takes_interim(self) -> bool:
        running = self._running
        if isinstance(running, RequestResponseCycle):
            return not running.response_started and running.scope["http_version"] == "1.1"
        return self.busy()

    def _idle(self) -> bool:
        return self.timeout_keep_alive_task is None and not self.busy()

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _body_seconds(self) -> float:
        """Left for the rest of the body that is being read; of a file, for more of it."""
        now, limits = self.loop.time(), self.limits
        # What nobody reads any more is no file.
        if not self._is_file or self.cycle.response_complete:
            return self._body_since + limits.body_seconds + self._body_bytes / LEAST_RATE - now
        seconds = limits.stall_seconds + STALL_GRACE
        return min(self._last_data + seconds, self._body_since + seconds + self._body_bytes / LEAST_FILE_RATE) - now

    def _arm(self, seconds: float) -> None:
        self._timer = self.loop.call_later(seconds, self._expire)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        self._timer = None
        if self._reading == "body":
            left = self._body_seconds()
            if self.flow.read_paused:
                # It is this side that does not read.
                left = max(left, 1.0)
            if left > 0:
                # Looked at often enough to see that the response is complete.
                self._arm(min(left, self.limits.body_seconds))
            else:
                limits = self.limits
                self._refuse(too_slow("body", limits.stall_seconds if self._is_file else limits.body_seconds))
        elif self._reading == "head":
            self._refuse(too_slow("head", self.limits.head_seconds))
        elif not self.busy():
            self.transport.close()

    def _refuse(self, problem: Problem) -> None:
        """Answer the request that is being read by a problem, after those before it, and end the connection."""
        if self.transport.is_closing():
            return
        self._disarm()
        self._refusal = problem
        metrics.REJECTED.labels(problem.code).inc()
        if self._reading == "body" and not self.withdraw():
            self.transport.close()
        elif not self.busy():
            self._write_refusal(problem)

    def _write_refusal(self, problem: Problem) -> None:
        current = secrets.token_hex(8)
        logger.debug("refused: %s", problem.code, extra={"request_id": current})
        head, body = raw_problem(problem, current)
        self.transport.write(b"%b%bconnection: close\r\n\r\n%b" % (head, self.server_headers(), body))
        self.transport.write_eof()
        self._timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)


def _disconnect(request: Running) -> None:
    request.disconnected = True
    request.message_event.set()
