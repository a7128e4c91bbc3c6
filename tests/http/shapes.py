"""What every error response has in common, metrics as tests read them, and a request as the server sees it."""

from __future__ import annotations

import re
from typing import Any

import httpx
from prometheus_client import REGISTRY
from starlette.types import Scope

SCOPE: Scope = {
    "type": "http",
    "asgi": {"version": "3.0"},
    "http_version": "1.1",
    "method": "POST",
    "scheme": "http",
    "path": "/classify",
    "raw_path": b"/classify",
    "query_string": b"",
    "root_path": "",
    "headers": [],
}
"""Of a request as the server would hand it over."""

FIELDS = {"type", "title", "status", "detail", "code", "request_id"}


def assert_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The response is a problem document (RFC 9457) with this status and code; gives the document."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-content-type-options"] == "nosniff"
    document: dict[str, Any] = response.json()
    assert document.keys() - {"errors"} == FIELDS
    assert (document["status"], document["code"]) == (status, code)
    assert document["type"] == f"urn:sentiment:problem:{code}"
    assert re.fullmatch(r"[a-z_]+", code)
    assert document["title"]
    assert document["detail"]
    assert document["request_id"] == response.headers["x-request-id"]
    for error in document.get("errors", [{"field": "-", "message": "-"}]):
        assert error.keys() == {"field", "message"}
        assert error["field"]
        assert error["message"]
    assert "Traceback" not in response.text
    if status == 503:
        assert int(response.headers["retry-after"]) >= 1
    return document


def sample(name: str, **labels: str) -> float:
    """Value of one sample of the metrics, 0 where there is none."""
    return REGISTRY.get_sample_value(name, labels) or 0.0
