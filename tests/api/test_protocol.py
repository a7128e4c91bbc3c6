"""The bound on a request's head, over a real socket."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.api.protocol import MAX_HEAD
from tests.service import Service, serving


@pytest.fixture(scope="module")
def service(tiny_store: Path) -> Iterator[Service]:
    """One worker."""
    with serving(tiny_store, workers="1") as running:
        yield running


def connect(service: Service) -> socket.socket:
    host, port = service.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), 10)


def test_an_endless_header_is_refused(service: Service) -> None:
    """A header that does not end gets 431 as a problem, and the connection ends."""
    with connect(service) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: a\r\nX-Long: ")
        connection.sendall(b"x" * (MAX_HEAD + 1))
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431 ")
    document = json.loads(body)
    assert (document["status"], document["code"]) == (431, "header_too_large")


def test_a_long_body_is_no_long_head(service: Service) -> None:
    """A body far beyond the bound on heads is served, also when head and body arrive in one piece."""
    body = json.dumps({"texts": ["good film " * 9000] * 9}).encode()
    assert len(body) > 4 * MAX_HEAD
    with connect(service) as connection:
        for _ in range(2):
            head = f"POST /classify HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            answer = b""
            while not answer.endswith(b"]}"):  # the head may arrive before the body
                answer += connection.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200 ")
