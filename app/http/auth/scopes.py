"""Which scope of an API key each operation needs, by its route. What is not here is there for nobody."""

from __future__ import annotations

import re

from app.keys import ADMIN, CLASSIFY, FEEDBACK
from app.settings import Settings

_PUBLIC = ""
_METRICS, _DOCS = "metrics", "docs"
"""Settings that say who may read."""
_SCOPES = {
    "/admin/models": ADMIN,
    "/admin/models/{name}/{version}/load": ADMIN,
    "/admin/models/{name}/{version}/load-beside": ADMIN,
    "/admin/models/{name}/{version}/unload": ADMIN,
    "/admin/models/{name}/{version}/canary": ADMIN,
    "/admin/models/{name}/{version}/shadow": ADMIN,
    "/classify": CLASSIFY,
    "/feedback": FEEDBACK,
    "/files": CLASSIFY,
    "/files/columns": CLASSIFY,
    "/models": CLASSIFY,
    "/models/{name}": CLASSIFY,
    "/models/{name}/predict": CLASSIFY,
    "/models/{name}/{version}": CLASSIFY,
    "/models/{name}/{version}/predict": CLASSIFY,
    "/predict": CLASSIFY,
    "/v2": CLASSIFY,
    "/v2/models/{name}": CLASSIFY,
    "/v2/models/{name}/infer": CLASSIFY,
    "/v2/models/{name}/ready": CLASSIFY,
    "/v2/models/{name}/versions/{version}": CLASSIFY,
    "/v2/models/{name}/versions/{version}/infer": CLASSIFY,
    "/v2/models/{name}/versions/{version}/ready": CLASSIFY,
    # The page is read at the path where one protocol's clients post their texts.
    "/": CLASSIFY,
    # Files that are the same for everybody; what the page asks for on behalf of its reader needs a key.
    "/page/{name}": _PUBLIC,
    # Probes have no key, and the answers say nothing.
    "/health/live": _PUBLIC,
    "/health/ready": _PUBLIC,
    "/v2/health/live": _PUBLIC,
    "/v2/health/ready": _PUBLIC,
    "/metrics": _METRICS,
    "/openapi.json": _DOCS,
    # The same for everybody too; it asks for the document with its reader's key.
    "/docs": _PUBLIC,
    "/docs/assets/{name}": _PUBLIC,
}


class UnknownRouteError(LookupError):
    """No route has this path, as far as keys are concerned."""


class Policy:
    """Says which scope is needed where there are keys.

    Args:
        settings: who may read metrics and documentation, and what paths begin with.
    """

    def __init__(self, settings: Settings) -> None:
        self._scopes = {route: _scope(needed, settings) for route, needed in _SCOPES.items()}
        if settings.root_path:
            self._scopes[settings.root_path] = None
        self._patterns = [
            (re.compile(re.sub(r"{\w+}", "[^/]+", route)), scope)
            for route, scope in self._scopes.items()
            if "{" in route
        ]

    def scope_of(self, path: str, method: str) -> str | None:
        """The scope that a request needs; None where no key is asked for.

        Args:
            path: of the request, or of its route.
            method: HTTP method.

        Raises:
            UnknownRouteError: no route is known by this very path, so the request is for nothing that is there.
        """
        if path == "/" and method in ("GET", "HEAD"):
            return None
        if path in self._scopes:
            return self._scopes[path]
        for pattern, scope in self._patterns:
            if pattern.fullmatch(path):
                return scope
        raise UnknownRouteError(path)


def _scope(needed: str, settings: Settings) -> str | None:
    access = {_PUBLIC: "public", _METRICS: settings.metrics, _DOCS: settings.docs}.get(needed)
    if access is None:
        return needed
    return None if access == "public" else ADMIN
