"""Serves the page at ``/``, its parts below ``/page/``, out of memory, and the documentation at ``/docs``."""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import Path

from fastapi import APIRouter, FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from app import report
from app.http.openapi.texts import PAGE

_FOLDER = Path(__file__).parent
_DOCS = _FOLDER / "docs.html"
"""The page around Swagger UI, which is answered at ``/docs``."""
_SWAGGER = "fastapi_offline"
"""The installed package with Swagger UI, which sets styles and draws icons by data URLs."""
_DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_REPORT_STYLE = "report.css"
"""Of reports, which the page shows too."""
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
PAGE_HEADER = "x-page"
"""With it the page asks which models there are, when it is opened and when it has got another API key. That needs a key
where there are keys, so that nobody without one can start what explains.
"""
_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
"""Content Security Policy Level 3: nothing but the page's own files and this service."""


def build_page_router() -> APIRouter:
    """Routes of the page; its parts are no part of the API's document."""
    router = APIRouter()
    files = {path.name: _Asset(path) for path in _FOLDER.iterdir() if path.suffix in _TYPES and path != _DOCS}
    files[_REPORT_STYLE] = _Asset(Path(str(resources.files(report) / _REPORT_STYLE)))

    @router.get("/", **PAGE)
    async def page(request: Request) -> Response:
        return files["index.html"].respond(request)

    @router.get("/page/{name}", include_in_schema=False)
    async def part(request: Request, name: str) -> Response:
        if name not in files:
            raise HTTPException(404)
        return files[name].respond(request)

    return router


def add_docs(app: FastAPI) -> None:
    """Add Swagger UI at ``/docs``, out of an installed package, to an application that serves ``/openapi.json``, which
    it asks for with the key of whoever reads it. What the service is for is open in it, everything else folded."""
    content = _DOCS.read_bytes()
    app.mount("/docs/assets", StaticFiles(directory=str(resources.files(_SWAGGER) / "static")))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return Response(content, media_type="text/html", headers={"Content-Security-Policy": _DOCS_POLICY})


class _Asset:
    """One file of the page."""

    def __init__(self, path: Path) -> None:
        self._content = path.read_bytes()
        self._type = f"{_TYPES[path.suffix]}; charset=utf-8"
        self._headers = {
            "ETag": f'"{hashlib.blake2b(self._content, digest_size=16).hexdigest()}"',
            # Asked for again every time, answered with 304: an upgraded service must not meet an old script.
            "Cache-Control": "no-cache",
            "Content-Security-Policy": _POLICY,
            "Referrer-Policy": "no-referrer",
        }

    def respond(self, request: Request) -> Response:
        """The file, or that the client has it already (RFC 9110, section 13.1.2)."""
        given = request.headers.get("if-none-match", "").split(",")
        # A proxy that compresses makes the tag a weak one.
        if self._headers["ETag"] in (tag.strip().removeprefix("W/") for tag in given):
            return Response(status_code=304, headers=self._headers)
        return Response(self._content, headers={**self._headers, "Content-Type": self._type})
