"""``POST /classify`` where it comes by ASGI: reads the body, and writes the handler's response."""

from __future__ import annotations

import asyncio

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.http.body import BodyTooLargeError, ClientGoneError, read_json_body, respond_and_discard, while_connected
from app.http.handler import ClassifyHandler
from app.http.http_exchange import CLASSIFY_PATH, Exchange
from app.http.problems import Problem
from app.http.routing import route_of


class ClassifyLayer:
    """The outermost layer: hands ``POST /classify`` to its handler, and all else to the layers below.

    Args:
        app: the layers below.
        handler: answers.
    """

    def __init__(self, app: ASGIApp, handler: ClassifyHandler) -> None:
        self._app = app
        self._handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or route_of(scope["path"]) != CLASSIFY_PATH:
            await self._app(scope, receive, send)
            return
        connection = _AsgiConnection()
        exchange = self._handler.open(connection, self._handler.head(scope["headers"]))
        try:
            refused = await self._begin(exchange, scope, receive)
            response = await while_connected(connection.response, receive)
        except ClientGoneError:
            return
        finally:
            exchange.leave()
        if isinstance(refused, BodyTooLargeError) and refused.unread:
            await respond_and_discard(response, scope, receive, send)
        else:
            await response(scope, receive, send)

    async def _begin(self, exchange: Exchange, scope: Scope, receive: Receive) -> Exception | None:
        """Read a body and start with it; why it is refused, if it is."""
        limits = self._handler.settings
        refused = await self._handler.admit(exchange)
        if refused is None:
            try:
                body = await read_json_body(scope, receive, limits.max_body, compressed=limits.compressed_bodies)
            except Problem as problem:
                refused = problem
            else:
                self._handler.start(exchange, body)
                return None
        exchange.refuse(refused)
        return refused


class _AsgiConnection:
    """Takes a response as it would go over the wire. See ``http_exchange.Connection``."""

    def __init__(self) -> None:
        self.response: asyncio.Future[Response] = asyncio.get_running_loop().create_future()

    def respond(self, head: bytes, body: bytes) -> None:
        """See ``http_exchange.Connection``."""
        start, *lines = head.removesuffix(b"\r\n").split(b"\r\n")
        response = Response(body, int(start.split()[1]))
        response.raw_headers = [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]
        if not self.response.done():
            self.response.set_result(response)
