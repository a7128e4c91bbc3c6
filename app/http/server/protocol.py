"""The HTTP/1.1 protocol: uvicorn's, with bounds and deadlines (``connection``), and a fast path past ASGI."""

from __future__ import annotations

import fcntl
import sys
import termios
from typing import Any, cast

from uvicorn.protocols.http.flow_control import CLOSE_HEADER

from app.errors import ServiceError
from app.http.auth.meter import CALLER
from app.http.fast_path import FastPath
from app.http.fast_request import Head
from app.http.server.connection import BoundedHttpProtocol


class ServiceProtocol(BoundedHttpProtocol):
    """Offers requests to the fast path.

    Args:
        fast_path: asked before the application.
        arguments: of ``BoundedHttpProtocol``.
    """

    def __init__(self, *arguments: Any, fast_path: FastPath, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._fast_path = fast_path
        # A request that the application does not know of: collected for the fast path, or to be refused.
        self._plain = False
        self._head: Head | None = None
        # Length of a body whose beginning will say whether the request is refused unread, and that it is.
        self._suspected = 0
        self._refused: ServiceError | None = None
        self._body = b""
        self._stopping = False

    def take_head(self) -> None:
        # A client that does not read its answers is the application's business too: it waits for it.
        busy = self.flow.write_paused or self.busy() or self.surplus
        # That the connection will be closed is said by uvicorn alone.
        plain = not busy and CLOSE_HEADER not in self.server_state.default_headers
        self._head = None
        if plain:
            method = self.parser.get_method()
            self._suspected = self._suspect(method)
            self._head = self._fast_path.takes(method, self.url, self.headers)
            plain = self._suspected > 0 or self._head is not None
        self._plain = plain
        self._body = b""
        if not self._plain:
            super().take_head()

    def take_body(self, body: bytes) -> None:
        if self._suspected:
            length, self._suspected = self._suspected, 0
            self._refused = self._fast_path.load_shedder.refusal(length, body)
            if not (self._refused or self._head):
                self._give_to_application()
        if self._refused is not None:
            return  # read, so that the connection can be used again, and not kept
        if self._plain:
            self._body = self._body + body if self._body else body
        else:
            super().take_body(body)

    def take_end(self) -> None:
        refused, self._refused = self._refused, None
        if refused is not None:
            self._plain = False
            if self._fast_path.refuse(self, self._head or Head(self.headers), refused) is None:
                self.transport.close()
            return
        if self._plain:
            if self.parser.get_http_version() == "1.1" and self.parser.should_keep_alive():
                head = self._head
                request = None if head is None else self._fast_path.begin(self, head, self._body)
                if request is not None:
                    self._plain = False
                    if not request.response_complete:
                        self.cycle = request  # type: ignore[assignment]  # to uvicorn it is one
                        self.run(request)
                    return
            self._give_to_application()
            super().take_body(self._body)
        super().take_end()

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

    def _suspect(self, method: bytes) -> int:
        """See ``LoadShedder.suspects``; the last request on a connection is not worth it."""
        length = self._fast_path.load_shedder.suspects(method, self.url, self.headers)
        reusable = length and self.parser.get_http_version() == "1.1" and self.parser.should_keep_alive()
        return length if reusable else 0

    def _give_to_application(self) -> None:
        """The application gets the request as it would have come, and is told who calls, where that is known."""
        self._plain = False
        if self._head is not None and self._head.caller is not None:
            cast("dict[str, object]", self.scope)[CALLER] = self._head.caller
        super().take_head()
        self.cycle.keep_alive &= not self._stopping

    def connection_lost(self, exc: Exception | None) -> None:
        # Its body was being collected, and no cycle of uvicorn's knows of it.
        self._plain = False
        super().connection_lost(exc)

    def respond(self, head: bytes, body: bytes) -> None:
        """See ``fast_path.Connection``."""
        if self.transport.is_closing():
            return
        closing = b"connection: close\r\n" if self._stopping else b""
        self.transport.write(b"%b%b%b\r\n%b" % (head, self.server_headers(), closing, body))
        if self._stopping and not self.pipeline:
            self.transport.close()
        self.on_response_complete()
