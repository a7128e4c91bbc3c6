"""``POST /files/columns``: what the start of a file tells of its columns, so that a page can offer them before it sends
the whole file."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app import metrics
from app.errors import DataError
from app.files.layout import WHOLE_FILES
from app.files.reading import open_table
from app.files.table import NoTextColumnError
from app.http.body import ClientGoneError, respond_and_discard
from app.http.problems import Problem
from app.http.uploads.file_request import FileRequest, invalid_file, parse_file_request
from app.http.uploads.files import NAME
from app.http.uploads.spool import SlowClient, Upload, spool_body
from app.settings import Settings

MOST_BYTES = 1 << 20


class FileColumnsEndpoint:
    """Answers ``POST /files/columns``.

    Args:
        settings: limits.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        upload = Upload(receive)
        body, client = io.BytesIO(), SlowClient(self._settings.body_timeout, self._settings.body_timeout, "sent")
        try:
            request = parse_file_request(scope)
            if request.layout.format in WHOLE_FILES:
                message = f"the start of a file in {request.layout.format} does not tell"
                raise Problem(422, "invalid_request", f"format: {message}", [{"field": "format", "message": message}])
            await spool_body(scope, upload, body, MOST_BYTES, client)
            try:
                document = await asyncio.to_thread(_columns, body, request)
            except DataError as error:
                raise invalid_file(error) from error
        except Problem as problem:
            metrics.REJECTED.labels(problem.code).inc()
            if upload.complete:
                await problem.response()(scope, receive, send)
            else:
                await respond_and_discard(problem.response(), scope, upload, send)
        except ClientGoneError:
            pass
        else:
            await Response(orjson.dumps(document), media_type="application/json")(scope, receive, send)


def _columns(body: io.BytesIO, request: FileRequest) -> dict[str, Any]:
    try:
        table = open_table(body, NAME, request.layout, request.options)
    except NoTextColumnError as error:
        return {"columns": list(error.columns), "text_column": None, "layout": None}
    names = getattr(table, "header", None) or list(table.columns)
    return {"columns": list(names), "text_column": table.text_column, "layout": table.found}
