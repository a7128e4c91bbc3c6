"""Which scope of an API key each path needs."""

from __future__ import annotations

from app.keys import ADMIN, CLASSIFY
from app.settings import Settings

_PROBES = frozenset({"/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready"})
"""What asks for no key: probes have none, and the answers say nothing."""
_PAGE = "/page/"
"""Files that are the same for everybody; what the page asks for on behalf of its reader needs a key."""
_DOCS = frozenset({"/docs", "/openapi.json"})
_METRICS = "/metrics"


def scope_of(path: str, settings: Settings, method: str = "GET") -> str | None:
    """The scope that a path needs where there are keys; None: no key is asked for. Unknown paths need one too."""
    # The page is read at the path where one protocol's clients post their texts.
    if path in _PROBES or (path == "/" and method in ("GET", "HEAD")) or path.startswith(_PAGE):
        return None
    if path == _METRICS:
        access = settings.metrics
    elif path in _DOCS or path.startswith("/docs/"):
        access = settings.docs
    else:
        return CLASSIFY
    return None if access == "public" else ADMIN


def is_guarded(path: str, method: str, settings: Settings) -> bool:
    """Whether a request needs a key."""
    return settings.api_keys is not None and scope_of(path, settings, method) is not None
