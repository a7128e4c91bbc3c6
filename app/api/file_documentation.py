"""What /openapi.json says about ``POST /files``."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.responses import Response

from app.api.documentation import responses
from app.api.file_request import MEDIA_TYPES
from app.api.problems import Problem
from app.api.schemas import REVIEW
from app.files.layout import Format

_RETRY = {"Retry-After": "5"}
_PROBLEMS = (
    Problem(408, "upload_stalled", "the client sent nothing for 60 seconds"),
    Problem(413, "body_too_large", "body must not exceed 536870912 bytes"),
    Problem(415, "unsupported_media_type", "the body is the file itself, not a form"),
    Problem(415, "unsupported_encoding", "compressed bodies are refused"),
    Problem(422, "invalid_request", "output: must be one of jsonl, csv"),
    Problem(422, "invalid_file", "file, line 7: 3 values in a row, but the header names 4 columns"),
    Problem(422, "too_many_texts", "texts: has 20000 texts; the rate limit lets 10000 pass at once"),
    Problem(500, "internal_error", "an unexpected error occurred; it has been logged"),
    Problem(503, "overloaded", "2 files are being scored; the limit is 2", headers=_RETRY),
    Problem(503, "engine_unavailable", "the service is starting", headers=_RETRY),
)
_ROW = {
    "id": "17",
    "review": REVIEW,
    "label": "positive",
    "score": 0.994,
    "tokens": 15,
    "truncated": False,
    "unknown": 0.0,
    "judgement": "ok",
    "error": None,
}
_DELIMITER = {"type": "string", "minLength": 1, "maxLength": 1, "pattern": r'^[^"\r\n]$', "default": ","}
_QUERY = {
    "text_column": ("The column with the texts; else text, or review, or the only one.", {"type": "string"}, "review"),
    "format": ("Of the file; else as Content-Type says.", {"enum": ["csv", "tsv", "jsonl", "parquet"]}, "csv"),
    "delimiter": ("Between the values of a CSV file.", _DELIMITER, ","),
    "output": ("Of the results; else as Accept says.", {"enum": ["jsonl", "csv"], "default": "jsonl"}, "csv"),
}
_BINARY = {"type": "string", "format": "binary"}
_SHOWN = {
    Format.CSV: f"id,review\n17,{REVIEW}\n",
    Format.TSV: f"id\treview\n17\t{REVIEW}\n",
    Format.JSONL: orjson.dumps({"id": "17", "review": REVIEW}).decode() + "\n",
    Format.PARQUET: "PAR1...PAR1",
}

FILES: dict[str, Any] = {
    "tags": ["classify"],
    "operation_id": "files",
    "summary": "Sentiment of each row of a file",
    "response_description": "The rows in order, with the results in further columns, while they are computed.",
    "response_class": Response,
    "responses": {
        200: {
            "headers": {
                "X-Rows": {"description": "Rows that will come.", "schema": {"type": "integer"}},
                "X-Result-Columns": {
                    "description": "Names of the added columns, separated by commas: label, score, rating where the "
                    "model has one, tokens, truncated, unknown, judgement, error; with a prefix where the file has one "
                    "of them already.",
                    "schema": {"type": "string"},
                },
                "X-Model": {"description": "Model and version.", "schema": {"type": "string"}},
            },
            "content": {
                "application/x-ndjson": {"schema": {"type": "string"}, "example": orjson.dumps(_ROW).decode() + "\n"},
                "text/csv": {
                    "schema": {"type": "string"},
                    "example": "id,review,label,score,tokens,truncated,unknown,judgement,error\n"
                    f"17,{REVIEW},positive,0.994,15,false,0.0,ok,\n",
                },
            },
        },
        **responses(_PROBLEMS),
    },
    "openapi_extra": {
        "parameters": [
            {
                "name": name,
                "in": "query",
                "required": False,
                "description": description,
                "schema": schema,
                "example": shown,
            }
            for name, (description, schema, shown) in _QUERY.items()
        ],
        "requestBody": {
            "required": True,
            "description": "The file itself, not a form.",
            "content": {
                media_type: {"schema": _BINARY, "example": _SHOWN[form]} for media_type, form in MEDIA_TYPES.items()
            },
        },
    },
}
