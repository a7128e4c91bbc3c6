"""Bytes to a real server and responses back, for requests that no client library would send."""

from __future__ import annotations

import socket
from contextlib import suppress
from urllib.parse import urlsplit

import httpx

HOST = b"Host: t"
CLOSE = b"Connection: close"


def request(
    *headers: bytes, start: bytes = b"POST /classify HTTP/1.1", body: bytes = b"", length: bool = True
) -> bytes:
    """The bytes of one request; ``length`` announces the body's true length."""
    announced = [b"Content-Length: %d" % len(body)] if length else []
    return b"\r\n".join([start, HOST, *headers, *announced]) + b"\r\n\r\n" + body


def chunks(*pieces: bytes) -> bytes:
    """A body in chunked transfer coding."""
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (*pieces, b""))


def exchange(url: str, data: bytes, *, leave: bool = False) -> list[httpx.Response]:
    """Send bytes on a connection of their own; the responses until the server closes it.

    Args:
        url: address of the service.
        data: what to send.
        leave: close the sending side after that.
    """
    address = urlsplit(url)
    assert address.hostname
    assert address.port
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        connection.sendall(data)
        if leave:
            connection.shutdown(socket.SHUT_WR)
        return read_responses(connection, without_body=data.startswith(b"HEAD "))


def read_responses(
    connection: socket.socket, received: bytes = b"", *, without_body: bool = False
) -> list[httpx.Response]:
    """The responses on a connection until the server closes it, of which some may have been ``received`` already."""
    found = bytearray(received)
    # What was refused before it was read may be answered by a reset after the answer.
    with suppress(ConnectionResetError):
        while received_now := connection.recv(65_536):
            found += received_now
    return _responses(bytes(found), without_body=without_body)


def _responses(received: bytes, *, without_body: bool) -> list[httpx.Response]:
    responses = []
    while received:
        head, separator, received = received.partition(b"\r\n\r\n")
        assert separator, f"not a whole response: {head!r}"
        status, *lines = head.split(b"\r\n")
        headers = httpx.Headers([(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)])
        if "content-length" in headers and not without_body:
            size = int(headers["content-length"])
            content, received = received[:size], received[size:]
            assert len(content) == size
        elif headers.get("connection") == "close" and not without_body:
            content, received = received, b""
        else:
            content = b""
        responses.append(httpx.Response(int(status.split()[1]), headers=headers, content=content))
    return responses
