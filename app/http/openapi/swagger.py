"""``/docs``: Swagger UI out of an installed package, in which what the service is for is open, everything else folded.
Nothing is loaded from anywhere but this service."""

from __future__ import annotations

from importlib.resources import files

from fastapi import FastAPI
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from app.http.page.routes import DOCS

_PATH = "/docs"
_PACKAGE = "fastapi_offline"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
"""Swagger UI sets styles and draws icons by data URLs."""


def add_swagger(app: FastAPI) -> None:
    """Add the page and what it loads to an application that serves ``/openapi.json``, which it asks for with the key
    of whoever reads it."""
    content = DOCS.read_bytes()
    app.mount(f"{_PATH}/assets", StaticFiles(directory=str(files(_PACKAGE) / "static")))

    @app.get(_PATH, include_in_schema=False)
    async def docs() -> Response:
        return Response(content, media_type="text/html", headers={"Content-Security-Policy": _POLICY})
