"""The routes that answer texts, by the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.http.routing import route_of


def inference_routes(document: Mapping[str, Any]) -> set[str]:
    """Of all POST operations but an operator's and feedback; metrics know them without the version of their paths."""
    posts = {path for path, operations in document["paths"].items() if "post" in operations}
    return {route_of(path) for path in posts if not path.startswith("/admin/")} - {"/feedback"}
