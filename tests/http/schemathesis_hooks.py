"""What the OpenAPI document cannot say: that a text must have a word in it, that an answer takes its time, which model
is served and what its labels are, that a tensor's shape goes with its data, and a file with the parameters that
describe it.

Loaded by schemathesis. Only what the document allows is touched, so nothing wrong becomes right; and schemathesis looks
again at what was changed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import schemathesis
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from schemathesis.core import NOT_SET

from app.files.layout import Format
from app.http.feedback import FEEDBACK_PATH
from app.http.routing import route_of
from app.http.uploads.file_request import COLUMNS_PATH, FILES_PATH, MEDIA_TYPES
from tests.files.tables import workbook

_DEADLINE = "X-Timeout-Seconds"
_UNKNOWN = "x-schemathesis-unknown-property"
_LENGTH = "Inference-Header-Content-Length"
_PATIENT = 60
_WORD = " film"
_LONGEST = 100


@schemathesis.hook
def map_body(_: Any, body: Any) -> Any:
    """A word more in a text that has any character and room for the word; nothing else of a body is touched."""
    if isinstance(body, dict) and isinstance(text := body.get("text"), str) and 0 < len(text) < 1000:
        return {**body, "text": f"{text}> film"}
    return body


@schemathesis.hook
def map_headers(_: Any, headers: Any) -> Any:
    """No deadline of less than a minute, for which 504 would be the right answer; nothing else is touched."""
    with suppress(KeyError, TypeError, ValueError):
        if 0 < float(headers[_DEADLINE]) < _PATIENT:
            return {**headers, _DEADLINE: str(_PATIENT)}
    return headers


@schemathesis.hook
def before_call(_: Any, case: Any, **__: Any) -> None:
    """The rest, for requests that are as the document wants them."""
    if case.headers and _UNKNOWN in case.headers:
        # Any header may be sent that no document knows (RFC 9110, section 5.1), so this one makes nothing wrong.
        case.headers = {name: value for name, value in case.headers.items() if name.lower() != _UNKNOWN}
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    patient = map_headers(None, case.headers)
    if patient is not case.headers:
        case.headers = patient
    path = route_of(case.operation.path)
    if "{name}" in path:
        case.path_parameters = {**case.path_parameters, "name": "tiny"}
        if "{version}" in path:
            case.path_parameters["version"] = "1"
    if path in (FILES_PATH, COLUMNS_PATH) and case.query:
        # Which encodings there are no document can list; and the table is written in the usual way.
        usual = {"encoding": "utf-8", "no_header": "false", "quoting": "standard", "model": "tiny"}
        if case.query.get("format") == "lines":
            usual["text_column"] = "text"
        # A report is on a file that was scored before, which no document can describe.
        usual |= {"output": "csv"} if case.query.get("output") in ("html", "report-xlsx") else {}
        case.query = {name: usual.get(name, value) for name, value in case.query.items() if name not in _OF_REPORTS}
    if case.body is not NOT_SET and path in _BODIES:
        case.body = _BODIES[path](case)
    elif case.body is not NOT_SET and path.endswith("/infer"):
        case.body = _tensors(case)


_OF_REPORTS = {"group_by", "time_column", "time_format", "name", "scored_by"}
"""Parameters that only go with a report."""


def _worded(value: Any) -> Any:
    """Texts with a word in each."""
    if isinstance(value, list):
        return [_worded(item) for item in value]
    return value[: _LONGEST - len(_WORD)] + _WORD if isinstance(value, str) else value


def _hugging_face(case: Any) -> Any:
    return {**case.body, "inputs": _worded(case.body["inputs"])}


def _predict(case: Any) -> Any:
    body = _hugging_face(case)
    if body.get("truncate") is False:
        # The document counts characters, and this limit is one of words.
        body["inputs"] = _short(body["inputs"])
    return body


def _short(value: Any) -> Any:
    return [_short(item) for item in value] if isinstance(value, list) else "film"


def _tensors(case: Any) -> Any:
    """Data in the JSON, as nothing can follow it here, and the shape that it has."""
    if case.headers is not None and _LENGTH in case.headers:
        case.headers = {name: value for name, value in case.headers.items() if name != _LENGTH}
    [tensor] = case.body["inputs"]
    data = _worded(tensor.get("data") or ["film"])
    shape = [len(data), *([1] if len(tensor["shape"]) == 2 else [])]
    parameters = {name: value for name, value in (tensor.get("parameters") or {}).items() if name != "binary_data_size"}
    body = {**case.body, "inputs": [{**tensor, "data": data, "shape": shape, "parameters": parameters}]}
    if isinstance(given := body.get("parameters"), dict) and given.get("timeout"):
        body["parameters"] = {**given, "timeout": max(given["timeout"], _PATIENT * 1_000_000)}
    return body


def _file(case: Any) -> bytes:
    """A table in the format, with the delimiter and the column, that the request names."""
    query = case.query or {}
    form = Format(query["format"]) if query.get("format") else MEDIA_TYPES[case.media_type]
    column, rows = query.get("text_column", "text"), ["good film", "bad film", ""]
    written = io.StringIO(newline="")
    if form is Format.PARQUET:
        sink = io.BytesIO()
        parquet.write_table(pa.table({column: rows}), sink)
        return sink.getvalue()
    if form is Format.XLSX:
        # Excel knows no control characters, so no column can be named with them either; and an empty cell names none.
        if not column.strip() or ILLEGAL_CHARACTERS_RE.search(column):
            column = "text"
            case.query = {**query, "text_column": column}
        return workbook([[column], *([row] for row in rows)])
    if form is Format.JSONL:
        return "".join(json.dumps({column: row}) + "\n" for row in rows).encode()
    if form is Format.JSON:
        return json.dumps([{column: row} for row in rows]).encode()
    if form is Format.LINES:
        return "\n".join(rows).encode()
    delimiter = query.get("delimiter") or ("\t" if form is Format.TSV else ",")
    table = csv.writer(written, delimiter="\t" if delimiter == "\\t" else delimiter, quoting=csv.QUOTE_ALL)
    table.writerows([[column], *([row] for row in rows)])
    return written.getvalue().encode()


def _classify(case: Any) -> Any:
    body = {**case.body, "model": "tiny"} if "model" in case.body else case.body
    if "aspects" in body:
        body = {**body, "explain": list(dict.fromkeys([*body.get("explain", []), "aspects"]))}
    return body


def _feedback(case: Any) -> Any:
    """Labels that the model has, and the version that is in the store."""
    known = {"label": "positive", "answered": "negative", "model": "tiny", "version": 1}
    body = {name: known.get(name, value) for name, value in case.body.items()}
    return {**body, "text": _worded(body["text"])}


_BODIES: dict[str, Callable[[Any], Any]] = {
    "/": _hugging_face,
    "/classify": _classify,
    "/predict": _predict,
    "/models/{name}": _hugging_face,
    "/models/{name}/{version}": _hugging_face,
    "/models/{name}/predict": _predict,
    "/models/{name}/{version}/predict": _predict,
    FEEDBACK_PATH: _feedback,
}


@schemathesis.serializer(*MEDIA_TYPES)
def serialize_file(context: Any, value: Any) -> bytes:
    """A file that goes with its parameters, where these are as the document wants them; else what was made up."""
    case = context.case
    if case.meta is not None and case.meta.generation.mode.is_positive:
        return _file(case)
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
