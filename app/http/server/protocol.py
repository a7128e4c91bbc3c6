"""The HTTP/1.1 protocol: uvicorn's, with bounds and deadlines (``connection``), which hands ``POST /classify`` to its
handler past ASGI wherever uvicorn's flow control has nothing to do."""

from __future__ import annotations

import fcntl
import sys
import termios
from typing import Any

from uvicorn.protocols.http.flow_control import CLOSE_HEADER

from app.errors import ServiceError
from app.http.handler import ClassifyHandler, plain_length
from app.http.http_exchange import Head
from app.http.server.connection import BoundedHttpProtocol


class ServiceProtocol(BoundedHttpProtocol):
    """Hands requests to the handler.

    Args:
        handler: of ``POST /classify``.
        arguments: of ``BoundedHttpProtocol``.
    """

    def __init__(self, *arguments: Any, handler: ClassifyHandler, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._handler = handler
        # A request that the application does not know of: collected for the handler (past it), or to be refused unread.
        self._plain = self._past = False
        self._head = Head(())
        # Length of a body whose beginning will say whether the request is refused unread, and that it is.
        self._suspected = 0
        self._refused: ServiceError | None = None
        self._body = b""
        self._stopping = False

    def take_head(self) -> None:
        self._past, self._suspected, self._body = False, 0, b""
        length = plain_length(self.parser.get_method(), self.url, self.headers)
        if length is not None and self._unhindered():
            self._past = length <= self._handler.max_plain
            suspected = self._handler.load_shedder.suspects(length)
            if self._past or suspected:
                self._head = self._handler.head(self.headers)
                # That there is no room is not said to who may not ask, nor before a request is counted.
                self._suspected = length if suspected and self._head.free else 0
        self._plain = self._past or self._suspected > 0
        if not self._plain:
            super().take_head()

    def _unhindered(self) -> bool:
        """Whether the request that was just read can be answered past uvicorn, and others can follow it."""
        # A client that does not read its answers is uvicorn's business: it waits for it.
        if self.flow.write_paused or self.busy() or self.surplus:
            return False
        # That the connection will be closed is said by uvicorn alone.
        lasts = self.parser.get_http_version() == "1.1" and self.parser.should_keep_alive()
        return lasts and CLOSE_HEADER not in self.server_state.default_headers

    def take_body(self, body: bytes) -> None:
        if self._suspected:
            length, self._suspected = self._suspected, 0
            self._refused = self._handler.load_shedder.refusal(length, body)
            if not (self._refused or self._past):
                self._give_to_application()
        if self._refused is not None:
            return  # read, so that the connection can be used again, and not kept
        if self._plain:
            self._body = self._body + body if self._body else body
        else:
            super().take_body(body)

    def take_end(self) -> None:
        if not self._plain:
            super().take_end()
            return
        self._plain = False
        refused, self._refused = self._refused, None
        exchange = self._handler.open(self, self._head)
        if refused is not None:
            exchange.refuse(refused)
            return
        self._handler.handle(exchange, self._body)
        if not exchange.response_complete:
            self.cycle = exchange  # type: ignore[assignment]  # to uvicorn it is one
            self.run(exchange)

    def withdraw(self) -> bool:
        self._suspected, self._refused = 0, None
        if self._plain:
            self._plain = False
            return True
        return super().withdraw()

    def shutdown(self) -> None:
        self._stopping = True
        # A request that is half here will be answered, and so will one that is here and was not read yet: closing the
        # connection now would reset it.
        if not (self._plain or self._unread_bytes()):
            super().shutdown()

    def _unread_bytes(self) -> int:
        waiting = fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.FIONREAD, bytes(4))
        return int.from_bytes(waiting, sys.byteorder)

    def _give_to_application(self) -> None:
        """The application gets the request as it would have come."""
        self._plain = False
        super().take_head()
        self.cycle.keep_alive &= not self._stopping

    def connection_lost(self, exc: Exception | None) -> None:
        # Its body was being collected, and no cycle of uvicorn's knows of it.
        self._plain = False
        super().connection_lost(exc)

    def respond(self, head: bytes, body: bytes) -> None:
        """See ``http_exchange.Connection``."""
        if self.transport.is_closing():
            return
        closing = b"connection: close\r\n" if self._stopping else b""
        self.transport.write(b"%b%b%b\r\n%b" % (head, self.server_headers(), closing, body))
        if self._stopping and not self.pipeline:
            self.transport.close()
        self.on_response_complete()
