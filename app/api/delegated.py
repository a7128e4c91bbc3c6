"""Routes: those whose answer another ASGI application gives, and which methods a path has."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")


class Delegated(Response):
    """A response that is produced by another ASGI application."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__()
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def methods_of(routes: Iterable[BaseRoute], scope: Scope) -> set[str]:
    """Methods that the path of a request has among these routes.

    They are asked, not looked into: a router that was included shows nothing of its own routes.
    """
    return {
        method
        for method in _METHODS
        if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in routes)
    }
