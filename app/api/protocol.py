"""The HTTP/1.1 protocol: uvicorn's, with a bound on the size of a request's head, and a fast path past ASGI."""

from __future__ import annotations

import logging
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from app.api.fast_path import FastPath
from app.api.problems import Problem

MAX_HEAD = 65_536
"""Longest request line and headers together, in bytes."""

logger = logging.getLogger(__name__)


class ServiceProtocol(HttpToolsProtocol):
    """Answers 431 and closes where a head does not end within ``MAX_HEAD`` bytes; offers requests to the fast path.

    The parser keeps an unfinished header in memory and copies it with every piece that arrives, so a single endless
    one would cost quadratic time.

    Args:
        fast_path: asked before the application.
        arguments: uvicorn's.
    """

    def __init__(self, *arguments: Any, fast_path: FastPath, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._fast_path = fast_path
        self._plain = False
        self._body = b""
        self._stopping = False
        self._head = 0
        self._reading_head = False

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._reading_head:
            self._head += len(data)
            if self._head > MAX_HEAD:
                self._refuse()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._reading_head, self._head = True, 0

    def on_headers_complete(self) -> None:
        self._reading_head = False
        # A client that does not read its answers is the application's business too: it waits for it.
        busy = self.flow.write_paused or (self.cycle is not None and not self.cycle.response_complete)
        # The server's own headers, such as that the connection will be closed, are written by uvicorn alone.
        plain = not busy and not self.server_state.default_headers
        self._plain = plain and self._fast_path.takes(self.parser.get_method(), self.url, self.headers)
        self._body = b""
        if not self._plain:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self._plain:
            self._body = self._body + body if self._body else body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._plain:
            self._plain = False
            if self.parser.get_http_version() == "1.1" and self.parser.should_keep_alive():
                request = self._fast_path.begin(self, self.headers, self._body)
                if request is not None:
                    if not request.response_complete:
                        self.cycle = cast("RequestResponseCycle", request)
                    return
            # Nothing has happened yet: the application gets the request as it would have come.
            super().on_headers_complete()
            super().on_body(self._body)
            self.cycle.keep_alive &= not self._stopping
        super().on_message_complete()

    def shutdown(self) -> None:
        self._stopping = True
        # A request that is half here will be answered.
        if not self._plain:
            super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        # Its body was being collected, and no cycle of uvicorn's knows of it.
        self._plain = False
        super().connection_lost(exc)

    def respond(self, head: bytes, body: bytes) -> None:
        """See ``fast_path.Connection``."""
        if self.transport.is_closing():
            return
        self.transport.write(b"%b%b\r\n%b" % (head, b"connection: close\r\n" if self._stopping else b"", body))
        if self._stopping and not self.pipeline:
            self.transport.close()
        self.on_response_complete()

    def _refuse(self) -> None:
        logger.debug("refused a request head over %d bytes", MAX_HEAD)
        if self.transport.is_closing():
            return
        problem = Problem(431, "header_too_large", f"request line and headers must not exceed {MAX_HEAD} bytes")
        body = bytes(problem.response().body)
        head = (
            "HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: application/problem+json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
