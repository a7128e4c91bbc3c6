"""The other operations: health, metrics, models."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app import metrics
from app.errors import CheckpointError, EngineUnavailableError
from app.http.admin import ModelSwitch, add_admin_routes
from app.http.compat.routes import add_compat_routes
from app.http.feedback import FEEDBACK_PATH, FeedbackEndpoint, takes_feedback
from app.http.http_exchange import CLASSIFY_PATH
from app.http.openapi.file_texts import FILE_COLUMNS, FILES
from app.http.openapi.texts import CLASSIFY, FEEDBACK, LIVE, METRICS, MODELS, READY
from app.http.page.routes import PAGE_HEADER, build_page_router
from app.http.problems import problem_of
from app.http.routing import delegate
from app.http.schemas import ModelEntry
from app.http.uploads.file_columns import FileColumnsEndpoint
from app.http.uploads.file_request import COLUMNS_PATH, FILES_PATH
from app.serving.classifier import Classifier
from app.serving.versions import FurtherVersions
from app.settings import Settings
from app.store import CONFIG_FILE, METRICS_FILE, ModelConfig, ModelStore, read_config


def build_router(
    classifier: Callable[[], Classifier | None],
    settings: Settings,
    files: ASGIApp,
    further: FurtherVersions,
    switch: ModelSwitch | None = None,
    page_opened: Callable[[], None] = lambda: None,
) -> APIRouter:
    """All routes.

    Args:
        classifier: gives the classifier, or None while there is none.
        settings: limits and the model store.
        files: the ASGI application behind ``POST /files``.
        further: what is loaded beside what the classifier classifies with.
        switch: who can have another model served; None: nobody here.
        page_opened: called when somebody opens the page who may ask.
    """
    router = APIRouter()

    # For the document and the scopes: requests are answered before they come to a route, see ``ClassifyLayer``.
    delegate(router, ["POST"], CLASSIFY_PATH, _unreachable, **CLASSIFY)
    delegate(router, ["POST"], FILES_PATH, files, **FILES)
    delegate(router, ["POST"], COLUMNS_PATH, FileColumnsEndpoint(settings), **FILE_COLUMNS)
    delegate(router, ["POST"], FEEDBACK_PATH, FeedbackEndpoint(classifier, settings, further), **FEEDBACK)
    _add_models(router, settings, lambda: _list_models(settings.model_store, classifier(), further), page_opened)
    add_admin_routes(router, switch)

    @router.get("/health/live", **LIVE)
    async def live() -> dict[str, str]:
        """Whether the process answers at all."""
        return {"status": "ok"}

    @router.get("/health/ready", **READY)
    async def ready() -> Response:
        """Whether texts sent now would be answered: 503 until warmed up and while the engine is down."""
        current = classifier()
        if current is None or not current.ready or not further.settled:
            return problem_of(EngineUnavailableError("the engine is not ready", retry_after=1.0)).response()
        return Response(b'{"status":"ok"}', media_type="application/json")

    if settings.metrics != "off":
        _add_metrics(router)
    router.include_router(build_page_router())
    add_compat_routes(router, classifier, settings, further)
    return router


def _add_models(
    router: APIRouter, settings: Settings, list_: Callable[[], list[ModelEntry]], page_opened: Callable[[], None]
) -> None:
    @router.get("/models", **MODELS)
    async def models(request: Request) -> Response:
        """All models and versions in the store, and which one answers."""
        if PAGE_HEADER in request.headers:
            page_opened()
        found = [entry.model_dump(exclude_none=True) for entry in await asyncio.to_thread(list_)]
        document = {"models": found, "feedback": takes_feedback(settings, request.scope)}
        return Response(orjson.dumps(document), media_type="application/json")


def _add_metrics(router: APIRouter) -> None:
    @router.get("/metrics", **METRICS)
    async def exposition() -> Response:
        """Metrics of all processes in the Prometheus text format."""
        return Response(await asyncio.to_thread(metrics.render), headers={"Content-Type": metrics.CONTENT_TYPE})


def _list_models(root: Path, classifier: Classifier | None, further: FurtherVersions) -> list[ModelEntry]:
    """What is in the store and what is loaded; that is listed too while the store is away."""
    loaded = {name: it.classifier for name, it in further.loaded.items()}
    served = None if classifier is None else classifier.model.reference
    if classifier is not None and served is not None:
        loaded[served] = classifier
    entries = {}
    for name, version in _stored(root):
        try:
            entries[f"{name}/{version}"] = _describe(root, name, version)
        except CheckpointError:
            # A damaged version must not hide the others; ``python -m app models verify`` tells.
            continue
    for name, it in loaded.items():
        entry = entries.get(name) or _entry(root, it.model.name, it.model.version, it.model.config)
        update: dict[str, object] = {"served": name == served, "loaded": True}
        if it.ready:
            update |= {"runtime": it.info.runtime, "precision": it.info.precision, "device": it.info.device}
        entries[name] = entry.model_copy(update=update)
    return sorted(entries.values(), key=lambda entry: (entry.model, entry.version))


def _stored(root: Path) -> list[tuple[str, int]]:
    try:
        return [(name, version) for name, versions in ModelStore(root).models().items() for version in versions]
    except OSError:
        return []  # of a disk that fails


@lru_cache(maxsize=1024)
def _describe(root: Path, name: str, version: int) -> ModelEntry:
    # Versions never change once written, so what was read once stays true.
    return _entry(root, name, version, read_config(root / name / str(version) / CONFIG_FILE))


def _entry(root: Path, name: str, version: int, config: ModelConfig) -> ModelEntry:
    return ModelEntry(
        model=name,
        version=version,
        served=False,
        loaded=False,
        architecture=config.architecture,
        labels=list(config.labels),
        max_tokens=config.max_tokens,
        rating=config.rating,
        test_accuracy=_test_accuracy(root / name / str(version) / METRICS_FILE),
    )


def _test_accuracy(path: Path) -> float | None:
    # Figures are for information: a file that is not as training writes it costs the figure, not the list.
    try:
        return float(orjson.loads(path.read_bytes())["test"]["accuracy"])
    except (OSError, ValueError, TypeError, LookupError):
        return None


async def _unreachable(scope: Scope, receive: Receive, send: Send) -> None:
    raise NotImplementedError
