"""What /openapi.json says about ``POST /files``."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import orjson
from starlette.responses import Response

from app.files.layout import WORKBOOK_TYPE, Format
from app.files.options import OnBadRow, Quoting
from app.http.openapi.parts import body, example, operation, parameter, responses, text_body
from app.http.openapi.texts import UNKNOWN_MODEL
from app.http.problems import Problem
from app.http.schemas import REVIEW, FileColumns
from app.http.uploads.file_request import MEDIA_TYPES

_RETRY = {"Retry-After": "5"}
_READING = (
    Problem(400, "invalid_encoding", "body: not valid gzip"),
    Problem(408, "upload_stalled", "the client sent nothing for 60 seconds"),
    Problem(413, "body_too_large", "body must not exceed 536870912 bytes"),
    Problem(415, "unsupported_media_type", "the body is the file itself, not a form"),
    Problem(415, "unsupported_encoding", "content-encoding must be gzip, once"),
    Problem(422, "invalid_request", "output: must be one of jsonl, csv, html"),
    Problem(
        422,
        "invalid_file",
        "file, line 7: 3 values in a row, but there are 4 columns",
        [{"field": "on_bad_row", "message": "this parameter may help"}],
    ),
)
_PROBLEMS = (
    *_READING,
    UNKNOWN_MODEL,
    Problem(422, "too_many_texts", "texts: has 20000 texts; the rate limit lets 10000 pass at once"),
    Problem(503, "overloaded", "8 files are being sent or scored; the limit is 8", headers=_RETRY),
    Problem(503, "engine_unavailable", "the service is starting", headers=_RETRY),
)


def _words(choices: type[StrEnum], default: str | None = None) -> dict[str, Any]:
    schema: dict[str, Any] = {"enum": [str(choice) for choice in choices]}
    return schema if default is None else {**schema, "default": default}


_ROW = {
    "id": "17",
    "review": REVIEW,
    "label": "positive",
    "score": 0.993,
    "tokens": 15,
    "truncated": False,
    "unknown": 0.0,
    "judgement": "ok",
    "error": None,
}
_DELIMITER = {"type": "string", "minLength": 1, "maxLength": 2, "pattern": r'^([^"\r\n\x00]|\\t)$'}
_TEXT = {"type": "string"}
_YES = {"type": "boolean", "default": False}
_QUERY: dict[str, tuple[str, dict[str, Any], Any]] = {
    "text_column": (
        "The texts, of JSON also a path: review.text; else the column with a usual name, or the only one.",
        _TEXT,
        "review",
    ),
    "format": ("Of the file; else as Content-Type says.", _words(Format), "csv"),
    "delimiter": ("Between the values of CSV and TSV, \\t for a tab; else as it is found.", _DELIMITER, ";"),
    "encoding": ("Of the file's text; else the charset of Content-Type, else UTF-8.", _TEXT, "cp1252"),
    "no_header": ("Whether the first row is one like the others; else as header=absent of Content-Type.", _YES, False),
    "quoting": ("none: quotation marks are characters like others.", _words(Quoting, "standard"), "standard"),
    "on_bad_row": (
        "Rows that are not as they should be: the file is refused, they are left out, or have the error bad_row.",
        _words(OnBadRow, "error"),
        "skip",
    ),
    "keep_na": ("Whether NA, NaN, None, null, N/A and - are texts; else they have the error empty_cell.", _YES, False),
    "output": (
        "Of the results; else as Accept says. html, report-xlsx: a report on what was scored before.",
        {"enum": ["jsonl", "csv", "xlsx", "html", "report-xlsx"], "default": "jsonl"},
        "csv",
    ),
    "group_by": (
        "Of a report: a column by whose values it compares; may be given up to ten times.",
        {"type": "array", "items": _TEXT, "maxItems": 10},
        ["shop"],
    ),
    "time_column": ("Of a report: the column with times; else one whose name and values say so.", _TEXT, "date"),
    "time_format": ("Of a report: how times are written, as Python's strptime has it.", _TEXT, "%d/%m/%Y"),
    "name": ("Of a report: what it calls the file.", _TEXT, "reviews.csv"),
    "scored_by": ("Of a report: the model that scored the file.", _TEXT, "reviews-gru/3"),
    "model": (
        "What is to score it, of what is loaded: NAME, NAME/VERSION or NAME@LABEL. Without it, what is served.",
        _TEXT,
        "imdb-gru",
    ),
    "escape_formulas": (
        "Whether values of CSV results that a spreadsheet would compute get an apostrophe before them.",
        _YES,
        True,
    ),
}
_BINARY = {"type": "string", "format": "binary"}
_HEADERS = {
    name: {"description": said, "schema": {"type": kind}}
    for name, kind, said in (
        ("X-Rows", "integer", "Rows that will come."),
        ("X-Bad-Rows", "integer", "Rows that are not as they should be, left out or marked as on_bad_row says."),
        ("X-Text-Column", "string", "The column that is classified, percent-encoded UTF-8."),
        ("X-Layout", "string", "What the file was found to be, for people; percent-encoded UTF-8."),
        (
            "X-Result-Columns",
            "string",
            (
                "Names of the added columns, separated by commas: label, score, rating where the model has one, "
                "tokens, truncated, unknown, judgement, error; with a prefix where the file has one of them already."
            ),
        ),
        ("X-Model", "string", "Model and version."),
    )
}
_SHOWN = {
    Format.CSV: f"id,review\n17,{REVIEW}\n",
    Format.TSV: f"id\treview\n17\t{REVIEW}\n",
    Format.JSONL: orjson.dumps({"id": "17", "review": REVIEW}).decode() + "\n",
    Format.XLSX: "PK...",
    Format.PARQUET: "PAR1...PAR1",
}


_PARAMETERS = [parameter(name, *said) for name, said in _QUERY.items()]
_FILE = {media_type: {"schema": _BINARY, "example": _SHOWN[form]} for media_type, form in MEDIA_TYPES.items()}

FILES = operation(
    "classify",
    "files",
    {
        **text_body(orjson.dumps(_ROW).decode() + "\n", "application/x-ndjson"),
        **text_body(
            "id,review,label,score,tokens,truncated,unknown,judgement,error\n"
            f"17,{REVIEW},positive,0.993,15,false,0.0,ok,\n",
            "text/csv",
        ),
        **body(example("PK..."), _BINARY, WORKBOOK_TYPE),
        **text_body("<!doctype html>\n<html>...</html>\n", "text/html"),
    },
    responses(_PROBLEMS),
    given=_FILE,
    about="The file itself, not a form; it may be compressed with gzip, as Content-Encoding.",
    parameters=_PARAMETERS,
    headers=_HEADERS,
    summary="Sentiment of each row of a file",
    response_description="The rows in order, with the results in further columns, while they are computed.",
    response_class=Response,
)
FILE_COLUMNS = operation(
    "classify",
    "file_columns",
    body(
        example(
            {
                "columns": ["id", "review"],
                "text_column": "review",
                "layout": "CSV, values between ';', 2 columns named in the first row",
                "delimiter": ";",
                "rows": [["17", REVIEW]],
            }
        )
    ),
    responses(_READING),
    given=_FILE,
    about="The first 64 KiB of the file or more, up to 1 MiB; of XLSX and Parquet the whole file.",
    parameters=_PARAMETERS,
    summary="The columns and first rows of a file, by its start",
    response_description="What the start of the file tells.",
    response_model=FileColumns,
)
