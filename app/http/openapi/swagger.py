"""``/docs``: Swagger UI out of an installed package. Nothing is loaded from anywhere but this service. What the service
is for is open, everything else folded; the forms to try an operation out are there at once."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from importlib.resources import files

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from app.http.openapi.texts import TAGS

_PATH = "/docs"
_ASSETS = f"{_PATH}/assets"
# What the page loads it finds from where it is itself, whatever a proxy has before that.
_FROM_PAGE = "docs/assets"
_PACKAGE = "fastapi_offline"
_UNFOLD = b"<script>ui.layoutActions.show(%b, true)</script>" % json.dumps(["operations-tag", TAGS[0]["name"]]).encode()


def add_swagger(app: FastAPI) -> None:
    """Add the page and what it loads to an application that serves ``/openapi.json``."""
    page = get_swagger_ui_html(
        openapi_url=f"{app.openapi_url}".removeprefix("/"),
        title=app.title,
        swagger_js_url=f"{_FROM_PAGE}/swagger-ui-bundle.js",
        swagger_css_url=f"{_FROM_PAGE}/swagger-ui.css",
        swagger_favicon_url=f"{_FROM_PAGE}/favicon.png",
        swagger_ui_parameters={"docExpansion": "none", "tryItOutEnabled": True, "displayRequestDuration": True},
    )
    page.body = bytes(page.body).replace(b"</body>", _UNFOLD + b"</body>")
    page.headers["Content-Length"] = str(len(page.body))
    page.headers["Content-Security-Policy"] = _policy(bytes(page.body))
    app.mount(_ASSETS, StaticFiles(directory=str(files(_PACKAGE) / "static")))

    @app.get(_PATH, include_in_schema=False)
    async def docs() -> Response:
        return page


def _policy(page: bytes) -> str:
    """Allows the page's own scripts by their digests; Swagger UI sets styles and draws icons by data URLs."""
    scripts = re.findall(rb"<script>(.*?)</script>", page, re.DOTALL)
    digests = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'" for script in scripts)
    return (
        f"default-src 'none'; script-src 'self' {digests}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    )
