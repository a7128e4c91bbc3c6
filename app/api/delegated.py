"""Routes: those whose answer another ASGI application gives, and which methods a path has."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send


class Delegated(Response):
    """A response that is produced by another ASGI application."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__()
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def methods_of(routes: Iterable[BaseRoute], path: str) -> set[str]:
    """Methods that a path has among these routes."""
    found = [route for route in routes if isinstance(route, Route) and route.path_regex.match(path)]
    return {method for route in found for method in route.methods or ()}
