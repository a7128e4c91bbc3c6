"""``POST /files/columns``: what the start of a file tells of its columns and rows, so that a page can show them before
the whole file is scored."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import Any

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.errors import DataError
from app.files.reading import open_table
from app.files.table import NoTextColumnError, Table, header_of, plain_text
from app.http.body import ClientGoneError, refuse
from app.http.problems import Problem
from app.http.uploads.file_request import FileRequest, invalid_file, parse_file_request
from app.http.uploads.files import NAME
from app.http.uploads.spool import SlowClient, Upload, spool_body
from app.settings import Settings

MOST_BYTES = 1 << 20
_SHOWN_ROWS = 5
_SHOWN_COLUMNS = 50
_SHOWN_CHARACTERS = 300


class FileColumnsEndpoint:
    """Answers ``POST /files/columns``.

    Args:
        settings: limits.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._one_at_a_time = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        upload = Upload(receive)
        body, client = io.BytesIO(), SlowClient(self._settings.body_timeout, self._settings.body_timeout, "sent")
        try:
            request = parse_file_request(scope)
            await spool_body(scope, upload, body, MOST_BYTES, client)
            try:
                # A small workbook may need much memory when it is unpacked.
                async with self._one_at_a_time:
                    document = await asyncio.to_thread(_columns, body, request)
            except DataError as error:
                raise invalid_file(error) from error
        except Problem as problem:
            await refuse(problem, scope, upload, send, unread=not upload.complete)
        except ClientGoneError:
            pass
        else:
            await Response(orjson.dumps(document), media_type="application/json")(scope, receive, send)


def _columns(body: io.BytesIO, request: FileRequest) -> dict[str, Any]:
    options, found = request.options, None
    try:
        table = open_table(body, NAME, request.layout, options)
        found = table.text_column
    except NoTextColumnError as error:
        table = _with_any_column(body, request, error.columns)
    names = header_of(table)
    return {
        "columns": names,
        "text_column": found,
        "layout": table.found,
        "delimiter": getattr(table, "separator", None),
        "rows": list(_first_rows(table, names)),
    }


def _with_any_column(body: io.BytesIO, request: FileRequest, columns: Sequence[str]) -> Table:
    """A table whose rows can be shown, so that a person can say which column has the texts.

    Raises:
        DataError: none of its columns can have some.
    """
    for column in columns[:_SHOWN_COLUMNS]:
        body.seek(0)
        with suppress(DataError):
            return open_table(body, NAME, request.layout, replace(request.options, text_column=column))
    raise DataError("no column has texts", "text_column", "format")


def _first_rows(table: Table, names: list[str]) -> Iterator[list[str]]:
    """Some rows as text; fewer where the start of the file ends within one, or one is not as it should be."""
    with suppress(DataError):
        for window in islice(table.windows(1), _SHOWN_ROWS):
            for row in window.values(names):
                yield [(plain_text(value) or "")[:_SHOWN_CHARACTERS] for value in row[:_SHOWN_COLUMNS]]
