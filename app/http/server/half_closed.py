"""Clients that send no more: some wait for their answer, others have gone, and the end of their data looks the same.

To a client that has gone an interim response (RFC 9110, section 15.2) is answered by a reset; who waits reads past it.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

_INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
_FIRST_SECONDS = 0.05
"""Most answers are there sooner, and then nothing has to be asked."""
_LONGEST_SECONDS = 1.0


class HalfClosedClient:
    """Watches one connection from the end of its client's data to the end of the answers.

    Args:
        transport: the connection's; aborted when the client has gone.
        may_ask: whether an answer is waited for that has not begun, by a client that knows interim responses.
    """

    def __init__(self, transport: asyncio.Transport, may_ask: Callable[[], bool]) -> None:
        self._transport = transport
        self._may_ask = may_ask
        self._asked = False
        self._seconds = _FIRST_SECONDS
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(self._seconds, self._look)

    def close(self) -> None:
        """Watch no more."""
        self._timer.cancel()

    def _look(self) -> None:
        if self._transport.is_closing():
            return
        # Nothing is read from the connection any more, so the event loop does not notice a reset.
        if self._transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._transport.abort()
            return
        if not self._asked and self._may_ask():
            self._asked = True
            self._transport.write(_INTERIM)
        self._seconds = min(2 * self._seconds, _LONGEST_SECONDS)
        self._timer = self._loop.call_later(self._seconds, self._look)
