"""Assembles the HTTP application out of its parts."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from app.errors import SentimentError, ServiceError
from app.http.admin import ModelSwitch
from app.http.asgi import ClassifyLayer
from app.http.feedback import FEEDBACK_PATH
from app.http.handler import ClassifyHandler
from app.http.headers import BrowserHeaders
from app.http.middleware import RequestMiddleware, RequestRecorder
from app.http.openapi.document import document_of
from app.http.openapi.texts import DESCRIPTION, TAGS, TITLE
from app.http.origins import OriginHeaders, cors_options
from app.http.page.routes import add_docs
from app.http.problems import Problem, problem_of
from app.http.routes import build_router
from app.http.routing import HeadAsGet, methods_of
from app.http.uploads.files import FilesEndpoint
from app.keys import KeyFile
from app.serving.classifier import Classifier
from app.serving.explanations import Explanations
from app.serving.versions import FurtherVersions
from app.settings import Settings
from app.version import VERSION

if TYPE_CHECKING:
    from app.http.auth.guard import Access
    from app.http.auth.rate_counters import RateCounters

_CODES = {400: "bad_request", 404: "not_found", 405: "method_not_allowed"}


def build_application(
    settings: Settings,
    lifespan: Callable[[Any], Any],
    classifier: Callable[[], Classifier | None],
    explanations: Callable[[], Explanations | None] = lambda: None,
    counters: RateCounters | None = None,
    switch: ModelSwitch | None = None,
    further: FurtherVersions | None = None,
) -> FastAPI:
    """The application.

    Args:
        settings: limits and the model store.
        lifespan: what starts and stops with it.
        classifier: gives the classifier, or None while there is none.
        explanations: gives what explains, or None while there is none.
        counters: count texts where there is a rate limit.
        switch: who can have another model served; None: nobody here.
        further: what is loaded beside what the classifier classifies with; None: nothing.

    Raises:
        DataError: the file of API keys is missing or malformed.
    """
    app = FastAPI(
        title=TITLE,
        version=VERSION,
        description=DESCRIPTION,
        openapi_tags=TAGS,
        lifespan=lifespan,
        openapi_url=None if settings.docs == "off" else "/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers={
            HTTPException: _http_error,
            RequestValidationError: _validation_error,
            ServiceError: _service_error,
        },
    )
    recorder = RequestRecorder()
    access = _access(settings, counters)
    cors = None if settings.cors_origins is None else cors_options(settings.cors_origins, settings.canary_header)
    origins = None if cors is None else OriginHeaders(cors)
    further = further or FurtherVersions()
    handler = ClassifyHandler(classifier, recorder, settings, explanations, access, origins, further)
    app.state.handler = handler
    files = FilesEndpoint(classifier, settings, further)
    router = build_router(classifier, settings, files, further, switch, _warmer(explanations))
    app.state.inference_routes = _posts_of(router)
    app.include_router(router)
    if app.openapi_url:
        add_docs(app)
    if settings.root_path:
        # The page's own links begin there.
        app.add_route(settings.root_path, _to_page, include_in_schema=False)
    app.add_middleware(HeadAsGet)
    app.add_middleware(BrowserHeaders)
    _add_access(app, cors, access)
    app.add_middleware(RequestMiddleware, recorder=recorder)
    app.add_middleware(ClassifyLayer, handler=handler)
    app.openapi = lambda: document_of(app, settings)  # type: ignore[method-assign]
    return app


def _warmer(explanations: Callable[[], Explanations | None]) -> Callable[[], None]:
    """Gets the explainer ready."""

    def warm() -> None:
        if (current := explanations()) is not None:
            current.warm()

    return warm


def _posts_of(router: APIRouter) -> list[str]:
    """Templates of the routes that take POST: those that answer texts."""
    return sorted(
        {
            route.path
            for route in router.routes
            if isinstance(route, Route)
            and "POST" in (route.methods or ())
            and not route.path.startswith("/admin/")
            and route.path != FEEDBACK_PATH
        }
    )


def _access(settings: Settings, counters: RateCounters | None) -> Access | None:
    """What decides who may call, where there are keys."""
    if settings.api_keys is None:
        return None
    from app.http.auth.guard import Access  # what limits rates takes a while to import

    return Access(settings, KeyFile(settings.api_keys), counters)


def _add_access(app: FastAPI, cors: dict[str, Any] | None, access: Access | None) -> None:
    """Keys and web origins, where there are any. A browser asks about origins without a key, so that comes first."""
    if access is not None:
        from app.http.auth.guard import Guard

        app.add_middleware(Guard, access=access)
    if cors is not None:
        app.add_middleware(CORSMiddleware, **cors)


async def _to_page(request: Request) -> Response:
    return RedirectResponse(f"{request.scope['path']}/")


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - what it is registered for
    phrase = HTTPStatus(error.status_code).phrase
    # Not made from the phrase, which changes between versions of Python.
    code = _CODES.get(error.status_code, "http_error")
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        # The framework names the methods of one route, and a path may have several.
        headers["Allow"] = ", ".join(sorted(methods_of(request.app.routes, request.scope)))
    return Problem(error.status_code, code, str(error.detail or phrase), headers=headers).response()


async def _service_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, SentimentError)  # noqa: S101 - what it is registered for
    return problem_of(error).response()


async def _validation_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - what it is registered for
    errors = [{"field": ".".join(map(str, item["loc"])), "message": str(item["msg"])} for item in error.errors()]
    return Problem(422, "invalid_request", "the request is not as it should be", errors).response()
