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
from starlette.types import ASGIApp

from app import metrics
from app.errors import CheckpointError, EngineUnavailableError
from app.http.admin import ModelSwitch, add_admin_routes
from app.http.compat.routes import add_compat_routes
from app.http.feedback import FEEDBACK_PATH, FeedbackEndpoint, takes_feedback
from app.http.openapi.feedback_texts import FEEDBACK
from app.http.openapi.file_texts import FILE_COLUMNS, FILES
from app.http.openapi.texts import CLASSIFY, LIVE, METRICS, MODELS, READY
from app.http.page.routes import PAGE_HEADER, build_page_router
from app.http.problems import problem_of
from app.http.routing import Delegated
from app.http.schemas import ModelEntry
from app.http.uploads.file_columns import FileColumnsEndpoint
from app.http.uploads.file_request import COLUMNS_PATH, FILES_PATH
from app.serving.classifier import Classifier
from app.serving.versions import FurtherVersions
from app.settings import Settings
from app.store import CONFIG_FILE, METRICS_FILE, ModelStore, read_config


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

    @router.post("/classify", **CLASSIFY)
    async def classify_operation() -> Response:
        """Sentiment of one text or of several."""
        raise NotImplementedError  # it never comes here: see ``ClassifyLayer``

    @router.post(FILES_PATH, **FILES)
    async def files_operation() -> Response:
        """Sentiment of each row of a file."""
        return Delegated(files)

    columns = FileColumnsEndpoint(settings)

    @router.post(COLUMNS_PATH, **FILE_COLUMNS)
    async def file_columns_operation() -> Response:
        """The columns of a file, by its start."""
        return Delegated(columns)

    feedback = FeedbackEndpoint(classifier, settings)

    @router.post(FEEDBACK_PATH, **FEEDBACK)
    async def feedback_operation() -> Response:
        """The right label of a text."""
        return Delegated(feedback)

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
    entries = []
    for name, versions in ModelStore(root).models().items():
        for version in versions:
            try:
                entries.append(_describe(root, name, version))
            except CheckpointError:
                # A damaged version must not hide the others; ``python -m app models verify`` tells.
                continue
    if classifier is None:
        return entries
    served = classifier.model.reference
    loaded = {name: it.classifier for name, it in further.loaded.items()} | {served: classifier}
    told = []
    for entry in entries:
        name = f"{entry.model}/{entry.version}"
        update: dict[str, object] = {"served": name == served, "loaded": name in loaded}
        if name in loaded and loaded[name].ready:
            info = loaded[name].info
            update |= {"runtime": info.runtime, "precision": info.precision, "device": info.device}
        told.append(entry.model_copy(update=update))
    return told


@lru_cache(maxsize=1024)
def _describe(root: Path, name: str, version: int) -> ModelEntry:
    # Versions never change once written, so what was read once stays true.
    folder = root / name / str(version)
    config = read_config(folder / CONFIG_FILE)
    return ModelEntry(
        model=name,
        version=version,
        served=False,
        loaded=False,
        architecture=config.architecture,
        labels=list(config.labels),
        max_tokens=config.max_tokens,
        rating=config.rating,
        test_accuracy=_test_accuracy(folder / METRICS_FILE),
    )


def _test_accuracy(path: Path) -> float | None:
    # Figures are for information: a file that is not as training writes it costs the figure, not the list.
    try:
        return float(orjson.loads(path.read_bytes())["test"]["accuracy"])
    except (OSError, ValueError, TypeError, LookupError):
        return None
