"""Paths that last: the same routes, by every way a request comes."""

from __future__ import annotations

from typing import Any

import pytest

from app.http.routing import LASTING, VERSION, lasting, reduced, route_of
from tests.fakes import application, client_of

CALLS: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/classify", {"json": {"text": "a good film"}}),
    ("POST", "/classify", {"json": {"texts": ["a", " "]}}),
    ("POST", "/classify", {"content": b"nothing", "headers": {"Content-Type": "application/json"}}),
    ("GET", "/classify", {}),
    ("POST", "/files?format=lines", {"content": b"a good film\n"}),
    ("POST", "/files/columns?format=csv", {"content": b"id,text\n1,a\n"}),
    ("GET", "/models", {}),
    ("HEAD", "/models", {}),
]


@pytest.mark.parametrize(("method", "target", "more"), CALLS)
async def test_both_paths_are_one_route(method: str, target: str, more: dict[str, Any]) -> None:
    """Status, headers and body are the same, also of refusals."""
    async with client_of(application()) as client:
        shown = []
        for path in (target, VERSION + target):
            answer = await client.request(
                method, path, **{**more, "headers": {**more.get("headers", {}), "X-Request-ID": "a"}}
            )
            shown.append((answer.status_code, answer.headers, answer.content))
    assert shown[0] == shown[1]


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/health/live", "/v1/v1/classify", "/v1/predict", "/v1/classify/"])
async def test_nothing_else_has_a_version(path: str) -> None:
    """What is of other servers, of operators and of probes has one path."""
    async with client_of(application()) as client:
        assert (await client.get(path)).status_code == 404


def test_metrics_know_the_route() -> None:
    """Rules and dashboards go on with the names they have: the version is taken away before anything else."""
    for route in LASTING:
        assert route_of(lasting(route)) == route_of(route) == route
        assert reduced(lasting(route).encode() + b"?a=/v1/models") == route.encode() + b"?a=/v1/models"
        assert reduced(route.encode()) == route.encode()
    assert lasting("/predict") == "/predict"
    assert reduced(b"/v1/\xff?\xff") == b"/v1/\xff?\xff"
