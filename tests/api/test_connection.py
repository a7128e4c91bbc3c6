"""Bodies over the limit on real connections: the client gets its answer although it was still sending."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
import uvicorn

from tests.api.shapes import assert_problem
from tests.fakes import application

LIMIT = 100_000


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    """A real server in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            application(max_body=LIMIT), http="httptools", ws="none", log_config=None, access_log=False
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listener.getsockname()
        server.should_exit = True
        thread.join(10)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body_is_refused_and_the_refusal_arrives(address: tuple[str, int], chunked: bool) -> None:
    """413 and a closed connection, not a reset one, with and without an announced length."""
    body = json.dumps({"text": "a" * 100 * LIMIT}).encode()
    content = (body[start : start + 65_536] for start in range(0, len(body), 65_536)) if chunked else body
    response = httpx.post(f"http://{address[0]}:{address[1]}/classify", content=content, timeout=10)
    assert_problem(response, 413, "body_too_large")
    assert response.headers["connection"] == "close"


def test_a_client_that_sends_everything_before_it_reads(address: tuple[str, int]) -> None:
    """Its sending is not interrupted by a reset, and the refusal is still there to be read."""
    size = 300 * LIMIT
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(b"POST /classify HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(300):
            connection.sendall(b"a" * LIMIT)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"body_too_large" in answer


def test_an_announced_large_body_is_refused_before_it_is_sent(address: tuple[str, int]) -> None:
    """The length alone is enough for the answer."""
    head = b"POST /classify HTTP/1.1\r\nHost: t\r\nContent-Length: 999999999\r\nExpect: 100-continue\r\n\r\n"
    with socket.create_connection(address, timeout=5) as connection:
        connection.sendall(head)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 413 ")


def test_a_body_in_pieces_is_put_together(address: tuple[str, int]) -> None:
    """A chunked body within the limit is answered."""
    pieces = iter([b'{"te', b'xt": "a go', b'od film"}'])
    assert httpx.post(f"http://{address[0]}:{address[1]}/classify", content=pieces).status_code == 200
