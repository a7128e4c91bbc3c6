"""The routes that answer texts, as the OpenAPI document has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def inference_routes(document: Mapping[str, Any]) -> set[str]:
    """Paths of all POST operations but an operator's and feedback."""
    return {path for path, operations in document["paths"].items() if "post" in operations} - {
        path for path in document["paths"] if path.startswith("/admin/") or path == "/feedback"
    }
