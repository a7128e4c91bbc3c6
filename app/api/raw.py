"""Error responses as they go over the wire, for what is answered without an ASGI call."""

from __future__ import annotations

from http import HTTPStatus

import orjson

from app.api.middleware import SECURITY_HEADERS
from app.api.problems import MEDIA_TYPE, Problem
from app.logs import request_id

_ALWAYS = b"".join(b"%b: %b\r\n" % header for header in SECURITY_HEADERS)


def raw_problem(problem: Problem, number: str) -> tuple[bytes, bytes]:
    """Head and body of a response; the head lacks ``Connection`` and the empty line.

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
