"""Error responses as they go over the wire, for what is answered without an ASGI call."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

import orjson
from uvicorn.protocols.http.flow_control import CLOSE_HEADER

from app.http.middleware import SECURITY_HEADERS
from app.http.problems import MEDIA_TYPE, Problem
from app.logs import request_id

_ALWAYS = b"".join(b"%b: %b\r\n" % header for header in SECURITY_HEADERS)


class ServerHeaders:
    """The server's own headers, such as ``Date``, as they go over the wire.

    uvicorn makes a new list of them every second, so they are put together once for each list.
    """

    def __init__(self) -> None:
        self._headers: Sequence[tuple[bytes, bytes]] = ()
        self._lines = b""

    def lines(self, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
        """Their lines, less ``Connection``, which is written where the connection is ended."""
        if headers is not self._headers:
            self._headers = headers
            self._lines = b"".join(b"%b: %b\r\n" % header for header in headers if header != CLOSE_HEADER)
        return self._lines


def raw_problem(problem: Problem, number: str) -> tuple[bytes, bytes]:
    """Head and body of a response; the head lacks ``Connection``, the server's own headers, and the empty line.

    Args:
        problem: what is to be said.
        number: id of the request.
    """
    token = request_id.set(number)
    try:
        body = orjson.dumps(problem.document())
    finally:
        request_id.reset(token)
    more = "".join(f"{name.lower()}: {value}\r\n" for name, value in problem.headers.items())
    head = (
        f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}\r\ncontent-type: {MEDIA_TYPE}\r\n"
        f"content-length: {len(body)}\r\nx-request-id: {number}\r\n{more}"
    )
    return head.encode("latin-1") + _ALWAYS, body
