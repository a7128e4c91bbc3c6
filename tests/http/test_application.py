"""What surrounds ``POST /classify``: framework errors, request ids, metrics, health, models, documentation."""

from __future__ import annotations

import errno
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import httpx
import pytest

from app.errors import CheckpointError, OverloadedError
from app.http.problems import problem_of
from app.http.schemas import BatchResponse, ModelsResponse, SingleResponse
from app.store import METRICS_FILE, ModelStore, StoredModel
from tests.fakes import FakeClassifier, application, client_of, versions_of
from tests.http.shapes import assert_problem, sample


async def send(method: str, path: str, **options: Any) -> httpx.Response:
    async with client_of(application()) as client:
        return await client.request(method, path, **options)


@pytest.mark.parametrize("path", ["/nothing", "/classify/1", "/health", "/models/tiny/1/2", "/%ff", "/models/"])
async def test_unknown_paths(path: str) -> None:
    """404 of the common shape; counted under one name, whatever the path."""
    before = sample("sentiment_requests_total", route="unmatched", method="GET", status="404")
    assert_problem(await send("GET", path), 404, "not_found")
    assert sample("sentiment_requests_total", route="unmatched", method="GET", status="404") == before + 1


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/classify", "POST"),
        ("HEAD", "/classify", "POST"),
        ("PUT", "/classify", "POST"),
        ("DELETE", "/models", "GET, HEAD"),
        ("POST", "/health/live", "GET, HEAD"),
        ("BREW", "/metrics", "GET, HEAD"),
    ],
)
async def test_other_methods(method: str, path: str, allow: str) -> None:
    """405 of the common shape, with what is allowed."""
    response = await send(method, path)
    if method != "HEAD":
        assert_problem(response, 405, "method_not_allowed")
    assert (response.status_code, response.headers["allow"]) == (405, allow)


async def test_head_is_counted_by_route() -> None:
    """As itself: who asks for headers is not who reads the answer."""
    before = sample("sentiment_requests_total", route="/models", method="HEAD", status="200")
    assert (await send("HEAD", "/models")).content == b""
    assert sample("sentiment_requests_total", route="/models", method="HEAD", status="200") == before + 1


async def test_methods_are_bounded_in_metrics() -> None:
    """An invented method cannot make a new time series."""
    await send("BREW", "/invented")
    assert sample("sentiment_requests_total", route="unmatched", method="other", status="404") >= 1
    assert sample("sentiment_requests_total", route="unmatched", method="BREW", status="404") == 0


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("POST", "/classify", "text"),
        ("GET", "/health/live", "other"),
        ("GET", "/models", "other"),
        ("GET", "/openapi.json", "other"),
    ],
)
async def test_requests_are_counted_by_route(method: str, path: str, kind: str) -> None:
    """Each operation has its own series of counts and durations."""

    def counted() -> list[float]:
        return [
            sample("sentiment_requests_total", route=path, method=method, status="200"),
            sample("sentiment_request_duration_seconds_count", route=path, kind=kind, code="2xx"),
        ]

    before, in_flight = counted(), sample("sentiment_requests_in_flight")
    response = await send(method, path, json={"text": "a"} if method == "POST" else None)
    assert response.status_code == 200
    assert counted() == [number + 1 for number in before]
    assert sample("sentiment_requests_in_flight") == in_flight


@pytest.mark.parametrize("sent", ["a", "A-b_c.9", "x" * 128])
async def test_a_sane_request_id_is_kept(sent: str) -> None:
    """The caller's id comes back in header and error."""
    response = await send("GET", "/nothing", headers={"X-Request-ID": sent})
    assert assert_problem(response, 404, "not_found")["request_id"] == sent


@pytest.mark.parametrize("sent", ["", "x" * 129, "a b", "a;b", '"', "é".encode()])
async def test_other_request_ids_are_replaced(sent: str | bytes) -> None:
    """What could break a log line or a header is not repeated; every request has an id of its own."""
    responses = [await send("GET", "/health/live", headers=[("X-Request-ID", sent)]) for _ in range(2)]
    found = [response.headers["x-request-id"] for response in responses]
    assert all(re.fullmatch(r"[0-9a-f]{12}-[0-9a-f]+", value) for value in found)
    assert found[0] != found[1]


async def test_live_whatever_happens() -> None:
    """The process answers, also without a model."""
    async with client_of(application(lambda: None)) as client:
        assert (await client.get("/health/live")).json() == {"status": "ok"}


async def test_ready_follows_the_classifier() -> None:
    """200 when texts would be answered; 503 without a model and while the engine is down."""
    assert (await send("GET", "/health/ready")).json() == {"status": "ok"}
    for app in (application(lambda: None), application(FakeClassifier(is_ready=False))):
        async with client_of(app) as client:
            assert_problem(await client.get("/health/ready"), 503, "engine_unavailable")


async def test_metrics_are_exposed() -> None:
    """The Prometheus text format, with its content type."""
    response = await send("GET", "/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    assert "sentiment_requests_total" in response.text


async def test_models_lists_the_store(tiny_store: Path, tiny_model: StoredModel, tmp_path: Path) -> None:
    """Every readable version; the served one says what computes; a damaged version hides no other."""
    shutil.copytree(tiny_store, tmp_path, dirs_exist_ok=True)
    for version, metrics in (("2", '{"test": {"accuracy": 0.9}}'), ("3", "[]"), ("4", "not json")):
        shutil.copytree(tiny_model.path, tmp_path / "tiny" / version)
        (tmp_path / "tiny" / version / METRICS_FILE).write_text(metrics)
    (tmp_path / "tiny" / "5").mkdir()
    served = ModelStore(tmp_path).open("tiny/1")
    async with client_of(application(FakeClassifier(model=served), model_store=tmp_path)) as client:
        document = (await client.get("/models")).json()
    models = ModelsResponse.model_validate(document).models
    assert [(entry.version, entry.served, entry.test_accuracy, entry.runtime) for entry in models] == [
        (1, True, None, "torch"),
        (2, False, 0.9, None),
        (3, False, None, None),
        (4, False, None, None),
    ]
    assert (models[0].labels, models[0].architecture, models[0].max_tokens) == (["negative", "positive"], "gru", 32)


@pytest.mark.parametrize("away", ["no folder", "a folder that cannot be read", "a damaged version"])
async def test_what_is_loaded_is_listed_without_the_store(
    away: str, tiny_model: StoredModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks what answers is told, whatever became of the disk meanwhile."""
    store = tmp_path / "store"
    if away != "no folder":
        (store / "tiny" / "1").mkdir(parents=True)
    if away == "a folder that cannot be read":
        # Root may read every folder.
        monkeypatch.setattr(ModelStore, "models", Mock(side_effect=OSError(errno.EIO, os.strerror(errno.EIO))))
    other = FakeClassifier(model=replace(tiny_model, name="other", version=4))
    application_ = application(FakeClassifier(model=tiny_model), further=versions_of(other), model_store=store)
    async with client_of(application_) as client:
        for path in ("/models", "/v1/models"):
            models = ModelsResponse.model_validate((await client.get(path)).json()).models
            assert [(it.model, it.version, it.served, it.loaded, it.runtime) for it in models] == [
                ("other", 4, False, True, "torch"),
                ("tiny", 1, True, True, "torch"),
            ]
            assert (models[1].labels, models[1].max_tokens) == (["negative", "positive"], 32)


async def test_models_before_the_engine_is_ready(tiny_store: Path, tiny_model: StoredModel) -> None:
    """The list needs no engine; what computes is not known yet."""
    for classifier in (FakeClassifier(model=tiny_model, is_ready=False), lambda: None):
        async with client_of(application(classifier, model_store=tiny_store)) as client:
            [entry] = (await client.get("/models")).json()["models"]
            assert "runtime" not in entry


async def test_answers_are_as_documented() -> None:
    """Real answers fit the documented models exactly."""
    single = (await send("POST", "/classify", json={"text": "a"})).json()
    assert SingleResponse.model_validate(single).model_dump(exclude_none=True) == single
    batch = (await send("POST", "/classify", json={"texts": ["a", ""]})).json()
    assert BatchResponse.model_validate(batch).model_dump(exclude_none=True) == batch


async def test_docs() -> None:
    """The API's documentation is served."""
    assert "swagger" in (await send("GET", "/docs")).text


async def test_service_errors_of_other_operations_are_mapped_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever a service error is raised, it is the same problem."""

    def overloaded(*_: object) -> None:
        raise OverloadedError("full")

    monkeypatch.setattr("app.http.routes._list_models", overloaded)
    assert_problem(await send("GET", "/models"), 503, "overloaded")


def test_errors_that_are_nobodys_business_stay_inside() -> None:
    """A checkpoint's path is for the operator, not for the client."""
    assert "secret" not in problem_of(CheckpointError("/secret/path")).detail
