"""Routes: paths that last, those whose answer another ASGI application gives, which methods a path has, and HEAD beside
GET."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

VERSION = "/v1"
"""What paths that last begin with. What is behind it is the route, under which metrics count both."""
LASTING = ("/classify", "/feedback", "/files", "/files/columns", "/models")
"""Routes that have one: those of this service's own interface for programs."""

_ROUTES = {f"{VERSION}{route}": route for route in LASTING}
_PREFIX = f"{VERSION}/".encode()
_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")


def route_of(path: str) -> str:
    """The path without its version."""
    return _ROUTES.get(path, path)


def reduced(target: bytes) -> bytes:
    """The same of a request's target as it stands in its head, which may have a query."""
    if not target.startswith(_PREFIX):
        return target
    path, mark, query = target.partition(b"?")
    return route_of(path.decode("latin-1")).encode("latin-1") + mark + query


def lasting(route: str) -> str:
    """The path of a route that programs should use."""
    return f"{VERSION}{route}" if route in LASTING else route


class HeadAsGet:
    """Answers HEAD wherever there is GET: the same status and headers, and the server sends no body. An ASGI layer.

    Args:
        app: has routes for GET alone.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        # A copy: by the method in the scope the server knows that there is no body to be sent.
        asked = {**scope, "method": "GET"}
        try:
            await self._app(asked, receive, send)
        finally:
            scope.update({**asked, "method": "HEAD"})


class _Delegated(Response):
    """A response that is produced by another ASGI application."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__()
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def delegate(router: APIRouter, methods: list[str], path: str, app: ASGIApp, **documented: Any) -> None:
    """Add a route that another ASGI application answers.

    Args:
        router: gets it.
        methods: that it takes.
        path: of the route.
        app: answers.
        documented: what the OpenAPI document says of it.
    """

    async def operation() -> Response:
        return _Delegated(app)

    router.add_api_route(path, operation, methods=methods, **{"response_model": None, **documented})


def methods_of(routes: Iterable[BaseRoute], scope: Scope) -> set[str]:
    """Methods that the path of a request has among these routes.

    HEAD is among them wherever GET is (see ``HeadAsGet``). The routes are asked, not looked into: a router that was
    included shows nothing of its own.
    """
    found = {
        method
        for method in _METHODS
        if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in routes)
    }
    return found | {"HEAD"} if "GET" in found else found
