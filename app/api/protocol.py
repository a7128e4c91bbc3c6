"""The HTTP/1.1 protocol with a bound on the size of a request's head, which uvicorn's does not have."""

from __future__ import annotations

import logging

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.api.problems import Problem

MAX_HEAD = 65_536
"""Longest request line and headers together, in bytes."""

logger = logging.getLogger(__name__)


class BoundedHttpProtocol(HttpToolsProtocol):
    """Answers 431 and closes where a head does not end within ``MAX_HEAD`` bytes.

    The parser keeps an unfinished header in memory and copies it with every piece that arrives, so a single endless
    one would cost quadratic time.
    """

    _head = 0
    _reading_head = False

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
        super().on_headers_complete()

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
