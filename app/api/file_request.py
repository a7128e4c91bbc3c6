"""What ``POST /files`` is asked: format and columns of the file, format of the answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from urllib.parse import parse_qsl

from starlette.types import Scope

from app.api.problems import Problem
from app.errors import DataError
from app.files.layout import Format, Layout

FILES_PATH = "/files"

MEDIA_TYPES = {
    "text/csv": Format.CSV,
    "text/tab-separated-values": Format.TSV,
    "application/x-ndjson": Format.JSONL,
    "application/jsonl": Format.JSONL,
    "application/vnd.apache.parquet": Format.PARQUET,
}
ANSWERS = {Format.JSONL: "application/x-ndjson", Format.CSV: "text/csv; charset=utf-8"}
_CLOSE = {"Connection": "close"}


@dataclass(frozen=True)
class FileRequest:
    """One request.

    Attributes:
        layout: how the file is written.
        text_column: the column to classify; None chooses.
        answer: format of the results.
    """

    layout: Layout
    text_column: str | None
    answer: Format


def parse_file_request(scope: Scope) -> FileRequest:
    """Query parameters and headers of a request.

    Raises:
        Problem: 415 for a format nobody reads here, 422 for a parameter that is off.
    """
    try:
        query = parse_qsl(scope["query_string"].decode("ascii"), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise _invalid("query", "must be percent-encoded UTF-8") from None
    fields = dict(query)
    if len(fields) < len(query):
        raise _invalid("query", "must not name a parameter twice")
    text_column, delimiter = fields.pop("text_column", None), fields.pop("delimiter", ",")
    given, answer = fields.pop("format", None), fields.pop("output", None)
    if fields:
        raise _invalid(next(iter(fields)), "unknown parameter")
    try:
        layout = Layout(_format(given, scope), delimiter=delimiter)
    except DataError as error:
        raise _invalid("delimiter", str(error)) from None
    return FileRequest(layout, text_column, _answer(answer, scope))


def _format(given: str | None, scope: Scope) -> Format:
    if given is None:
        media_type = _header(scope, b"content-type").partition(";")[0].strip().lower()
        found = MEDIA_TYPES.get(media_type)
    else:
        found = Format(given) if given in set(Format) else None
        if found is None:
            raise _invalid("format", f"must be one of {_listed(Format)}")
    if found is None:
        wanted = f"content-type must be one of {_listed(MEDIA_TYPES)}, or format one of {_listed(Format)}"
        raise _unsupported(f"the body is the file itself, not a form: {wanted}")
    if found is Format.PARQUET and find_spec("pyarrow") is None:
        raise _unsupported("this service reads no Parquet: pyarrow is not installed")
    return found


def _answer(given: str | None, scope: Scope) -> Format:
    if given is None:
        return Format.CSV if _header(scope, b"accept").partition(";")[0].strip().lower() == "text/csv" else Format.JSONL
    for found in ANSWERS:
        if given == found:
            return found
    raise _invalid("output", f"must be one of {_listed(ANSWERS)}")


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def _unsupported(detail: str) -> Problem:
    return Problem(415, "unsupported_media_type", detail, headers=_CLOSE)


def _invalid(name: str, message: str) -> Problem:
    name = name[:200]
    return Problem(422, "invalid_request", f"{name}: {message}", [{"field": name, "message": message}], _CLOSE)
