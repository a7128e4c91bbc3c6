"""Uploads and downloads of files with pauses, over real sockets: another deadline than that of other bodies."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.http.shapes import assert_problem
from tests.http.wire import CLOSE, exchange, read_responses, request
from tests.service import Service, serving

POST = b"POST /files?format=csv&text_column=text HTTP/1.1"
STALL = 4.0


@pytest.fixture(scope="module")
def service(tiny_store: Path) -> Iterator[Service]:
    """One worker with little patience for bodies and more for files."""
    with serving(tiny_store, workers="1", body_timeout="0.5", file_stall=str(STALL)) as running:
        yield running
        assert "Traceback" not in running.output.read_text()


def connect(service: Service, receive_buffer: int | None = None) -> socket.socket:
    address = urlsplit(service.url)
    connection = socket.socket()
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(60)
    connection.connect((address.hostname, address.port))
    return connection


@pytest.fixture(scope="module", autouse=True)
def stopped(service: Service) -> Iterator[socket.socket]:
    """An upload that stops early, while other tests go on."""
    with connect(service) as connection:
        connection.sendall(request(CLOSE, b"Content-Length: 80", start=POST, length=False) + b"text\n")
        yield connection


def test_an_upload_with_pauses(service: Service) -> None:
    """Longer altogether than other bodies may take, and slower than they may come."""
    pieces = [b"text\n", b"good film\n", b"bad film\n", b"good\n"]
    with connect(service) as connection:
        connection.sendall(request(CLOSE, b"Content-Length: %d" % len(b"".join(pieces)), start=POST, length=False))
        for piece in pieces:
            time.sleep(0.4)
            connection.sendall(piece)
        [response] = read_responses(connection)
    assert response.status_code == 200
    assert response.headers["x-rows"] == "3"


def test_an_upload_drop_by_drop(service: Service) -> None:
    """Is refused, though it never stops: others want the place."""
    with connect(service) as connection:
        connection.sendall(request(CLOSE, b"Content-Length: 8000", start=POST, length=False) + b"text\n")
        connection.settimeout(0.2)
        received = b""
        for _ in range(100):
            try:
                received = connection.recv(1 << 16)
                break
            except TimeoutError:
                connection.sendall(b"a")
        connection.settimeout(60)
        while piece := connection.recv(1 << 16):
            received += piece
    assert received.startswith(b"HTTP/1.1 408 ")
    assert b"the client sent less than 4096 bytes per second" in received


def test_other_bodies_keep_their_deadline(service: Service) -> None:
    """A pause that a file may have is too long for them."""
    responses = exchange(service.url, request(b"Content-Length: 80", length=False) + b"{")
    assert_problem(responses[-1], 408, "request_timeout")


def test_a_download_with_a_pause(service: Service) -> None:
    """A client that takes nothing for longer than others may gets the rest when it goes on."""
    rows = 400
    content = b"text,more\n" + b"".join(b"good film,%d%b\n" % (row, b"x" * 40_000) for row in range(rows))
    with connect(service, receive_buffer=4096) as connection:
        connection.sendall(request(CLOSE, start=POST, body=content))
        start = connection.recv(1000)
        assert start.startswith(b"HTTP/1.1 200 ")
        time.sleep(2)
        received = bytearray(start)
        while piece := connection.recv(1 << 20):
            received += piece
    assert received.endswith(b"\r\n0\r\n\r\n")
    assert received.count(b'"error":null') == rows


def test_an_upload_that_stops(stopped: socket.socket) -> None:
    """It is refused as such, whatever the deadline of other bodies."""
    [response] = read_responses(stopped)
    assert_problem(response, 408, "upload_stalled")
