"""How a connection ends with the service: nothing that has arrived is lost, read or not."""

from __future__ import annotations

import asyncio
import socket

import pytest
import uvicorn
from starlette.responses import PlainTextResponse
from uvicorn.protocols.http.flow_control import CLOSE_HEADER
from uvicorn.server import ServerState

from app.http.handler import ClassifyHandler
from app.http.middleware import RequestRecorder
from app.http.server.protocol import ServiceProtocol
from app.settings import Settings
from tests.http.wire import request

GET = request(start=b"GET /models HTTP/1.1")


@pytest.mark.parametrize("arrived", [GET, GET[:10], b""], ids=["a request", "half a request", "nothing"])
async def test_a_request_that_arrives_at_the_last_moment_is_answered(arrived: bytes) -> None:
    """It is in the kernel's hands when the connection, idle until then, is to be closed."""
    loop, config = asyncio.get_running_loop(), uvicorn.Config(PlainTextResponse("done"), log_config=None)
    config.load()
    state, path = ServerState(), ClassifyHandler(lambda: None, RequestRecorder(), Settings())
    server = await loop.create_server(lambda: ServiceProtocol(config, state, {}, handler=path), "127.0.0.1", 0)
    async with server:
        with socket.create_connection(server.sockets[0].getsockname()) as client:
            client.setblocking(False)
            await loop.sock_sendall(client, GET)
            assert (await loop.sock_recv(client, 65_536)).startswith(b"HTTP/1.1 200 ")
            [protocol] = state.connections
            if arrived:
                client.send(arrived)
            state.default_headers = [*state.default_headers, CLOSE_HEADER]
            protocol.shutdown()  # before the event loop has seen what arrived
            if arrived:
                await loop.sock_sendall(client, GET[len(arrived) :])
            answer = await loop.sock_recv(client, 65_536)
            if arrived:
                assert answer.startswith(b"HTTP/1.1 200 ")
                assert b"connection: close" in answer
                answer = await loop.sock_recv(client, 65_536)
            assert answer == b""
