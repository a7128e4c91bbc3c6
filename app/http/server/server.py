"""The HTTP server, and how it ends: uvicorn's resets connections that clients have just sent a request on.

At shutdown uvicorn closes every connection without a request, and leaves to the kernel those it has not accepted yet.
Under load both hold requests that are on their way, and their clients cannot tell whether they were carried out.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

import uvicorn
from uvicorn.protocols.http.flow_control import CLOSE_HEADER

LINGER_SECONDS = 1.0
"""How long connections stay open at shutdown for a request that is on its way."""
_POLL_SECONDS = 0.02


class DrainingServer(uvicorn.Server):
    """Accepts and answers, with ``Connection: close``, what clients sent before they could know of the shutdown.

    Args:
        config: uvicorn's.
        draining: whether the end is near; clients are then told to connect anew, elsewhere if they can.
        retired: called after ``retire``, once no new connections are taken.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        draining: Callable[[], bool] = lambda: False,
        retired: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(config)
        self._draining = draining
        self._retired = retired
        self._retires = self._hurried = False

    def retire(self) -> None:
        """End because others serve in this one's place: they accept, and what is here may take its time."""
        self._retires = self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._hurried = self._retires
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        ends = await super().on_tick(counter)
        if self._draining():
            self._announce_close()
        return ends

    def _announce_close(self) -> None:
        headers = self.server_state.default_headers
        if CLOSE_HEADER not in headers:
            self.server_state.default_headers = [*headers, CLOSE_HEADER]

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        waiting = [] if self._retires else _accept_all(sockets or [])
        for server in self.servers:
            server.close()
        self._announce_close()
        if self._retires:
            for listener in sockets or []:
                listener.close()
            self._retired()
        for connection in waiting:
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)
        deadline = time.monotonic() + min(LINGER_SECONDS, self.config.timeout_graceful_shutdown or 0)
        while self.server_state.connections and time.monotonic() < deadline:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(_POLL_SECONDS)
        if self._retires:
            for open_one in list(self.server_state.connections):
                open_one.shutdown()
            while self.server_state.connections and not self._hurried:  # noqa: ASYNC110 - as above
                await asyncio.sleep(_POLL_SECONDS)
        await super().shutdown(sockets)

    def _protocol(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )


def _accept_all(listeners: list[socket.socket]) -> list[socket.socket]:
    """Connections that the kernel has queued. When the last process closes the listener, the kernel resets them."""
    accepted = []
    for listener in listeners:
        listener.setblocking(False)
        with suppress(OSError):
            while True:
                accepted.append(listener.accept()[0])
    return accepted
