"""Whether a path may be put before all paths of the service."""

from __future__ import annotations

import re

_ROOT_PATH = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
OWN_PATHS = frozenset(
    {
        *("admin", "classify", "docs", "feedback", "files", "health", "metrics", "models", "openapi.json", "page"),
        *("predict", "v1", "v2"),
    }
)
"""First parts of the service's own paths."""


def fault_of_root_path(path: str) -> str | None:
    """What is wrong with a path that a proxy puts before all others; None where all is well."""
    if not _ROOT_PATH.fullmatch(path):
        return "must be like /sentiment: a slash first and none at the end, in letters, digits, . _ ~ -"
    if path.split("/")[1] in OWN_PATHS:
        return f"must not begin with a path of the service itself: {', '.join(sorted(OWN_PATHS))}"
    return None
