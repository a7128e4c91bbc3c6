"""Bodies over the limit on real connections: the client gets its answer although it was still sending. And bodies that
are compressed."""

from __future__ import annotations

import gzip
import json
import random
import socket
import threading
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import uvicorn

from tests.fakes import application, client_of
from tests.http.shapes import assert_problem

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
    response = httpx.post(f"http://{address[0]}:{address[1]}/classify", content=content)
    assert_problem(response, 413, "body_too_large")
    assert response.headers["connection"] == "close"


def test_a_client_that_sends_everything_before_it_reads(address: tuple[str, int]) -> None:
    """Its sending is not interrupted by a reset, and the refusal is still there to be read."""
    size = 300 * LIMIT
    with socket.create_connection(address, timeout=60) as connection:
        connection.sendall(b"POST /classify HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(300):
            connection.sendall(b"a" * LIMIT)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"body_too_large" in answer


def test_an_announced_large_body_is_refused_before_it_is_sent(address: tuple[str, int]) -> None:
    """The length alone is enough for the answer."""
    head = b"POST /classify HTTP/1.1\r\nHost: t\r\nContent-Length: 999999999\r\nExpect: 100-continue\r\n\r\n"
    with socket.create_connection(address, timeout=60) as connection:
        connection.sendall(head)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 413 ")


def test_a_body_in_pieces_is_put_together(address: tuple[str, int]) -> None:
    """A chunked body within the limit is answered."""
    pieces = iter([b'{"te', b'xt": "a go', b'od film"}'])
    assert httpx.post(f"http://{address[0]}:{address[1]}/classify", content=pieces).status_code == 200


async def send(body: bytes, coding: str, **limits: Any) -> httpx.Response:
    """A body that says how it is coded, to an application that takes such."""
    async with client_of(application(compressed_bodies=True, **limits)) as client:
        headers = {"content-type": "application/json", "content-encoding": coding}
        return await client.post("/classify", content=body, headers=headers)


TEXT = json.dumps({"text": "a good film"}).encode()
RANDOM = random.Random(1).randbytes(3000).hex()


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(TEXT)),
        ("X-GZIP", gzip.compress(TEXT)),
        ("deflate", zlib.compress(TEXT)),
        ("identity", TEXT),
    ],
)
async def test_compressed_bodies_where_they_are_enabled(coding: str, body: bytes) -> None:
    """gzip and deflate, whatever the case of their names."""
    assert (await send(body, coding)).status_code == 200


async def test_compressed_bodies_are_refused_unless_enabled() -> None:
    """And the refusal says what is accepted (RFC 9110, section 12.5.3)."""
    async with client_of(application()) as client:
        response = await client.post("/classify", content=gzip.compress(TEXT), headers={"content-encoding": "gzip"})
    assert_problem(response, 415, "unsupported_encoding")
    assert response.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x1f\x8b",
        gzip.compress(TEXT)[:-1],
        gzip.compress(TEXT) + b"x",
        gzip.compress(TEXT) * 2,
        zlib.compress(TEXT),
        TEXT,
        gzip.compress(TEXT)[:-8] + bytes(8),
    ],
    ids=["empty", "head", "cut", "tail", "twice", "deflate", "plain", "wrong sum"],
)
async def test_a_body_that_is_not_what_it_says(body: bytes) -> None:
    """400, and nothing of it is believed."""
    assert_problem(await send(body, "gzip"), 400, "invalid_encoding")


@pytest.mark.parametrize("coding", ["br", "gzip, gzip", "gzip,identity", "zstd"])
async def test_other_codings_stay_refused(coding: str) -> None:
    """One coding, of those that are bounded."""
    response = await send(gzip.compress(TEXT), coding)
    assert_problem(response, 415, "unsupported_encoding")
    assert response.headers["accept-encoding"] == "gzip, deflate"


@pytest.mark.parametrize(
    ("text", "limit"), [("a" * 100_000_000, 8_388_608), ("a" * 500_000, 1_000_000), (RANDOM * 2, 6_100)]
)
async def test_bombs(text: str, limit: int) -> None:
    """What unpacks to more than the limit, or to a hundred times what arrived, is refused before it is unpacked."""
    body = gzip.compress(json.dumps({"text": text}).encode())
    assert len(body) <= limit
    tracemalloc.start()
    try:
        assert_problem(await send(body, "gzip", max_body=limit), 413, "body_too_large")
        assert tracemalloc.get_traced_memory()[1] < 4 * limit + 1_000_000
    finally:
        tracemalloc.stop()
