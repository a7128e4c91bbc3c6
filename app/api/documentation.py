"""What /openapi.json says beside the schemas: worked examples and errors of the operations."""

from __future__ import annotations

from typing import Any

from app.api.problems import MEDIA_TYPE
from app.api.schemas import (
    LONG_REVIEW,
    REVIEW,
    BatchResponse,
    ClassifyRequest,
    ProblemDocument,
    SingleResponse,
)

_PREDICTION = {
    "label": "positive",
    "score": 0.994,
    "scores": {"negative": 0.006, "positive": 0.994},
    "tokens": 15,
    "truncated": False,
    "cached": False,
}
_IDENTITY = {"model": "imdb-gru", "version": 2}


def problem(description: str, status: int, title: str, code: str, detail: str) -> dict[str, Any]:
    """An error response with its example, for ``responses``."""
    example = {
        "type": f"urn:sentiment:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": "4f0c8f1d2ab3-1",
    }
    schema = {"$ref": f"#/components/schemas/{ProblemDocument.__name__}"}
    return {"description": description, "content": {MEDIA_TYPE: {"schema": schema, "example": example}}}


_UNAVAILABLE = problem(
    "The service is full, starting, or its engine is being restarted.",
    503,
    "Service Unavailable",
    "overloaded",
    "5000 texts are in flight, 1 more would exceed the limit of 5000",
)
_UNAVAILABLE["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}}

READY: dict[int | str, dict[str, Any]] = {503: _UNAVAILABLE}
MODELS: dict[int | str, dict[str, Any]] = {
    500: problem("A defect.", 500, "Internal Server Error", "internal_error", "an unexpected error occurred")
}

CLASSIFY: dict[str, Any] = {
    "tags": ["classify"],
    "operation_id": "classify",
    "summary": "Sentiment of one text or of several",
    "response_description": "A prediction, or one entry per text in order.",
    "response_model": SingleResponse | BatchResponse,
    "responses": {
        200: {
            "content": {
                "application/json": {
                    "examples": {
                        "text": {"summary": "One text", "value": {**_PREDICTION, **_IDENTITY}},
                        "texts": {
                            "summary": "Several texts, one of them blank",
                            "value": {
                                **_IDENTITY,
                                "results": [
                                    _PREDICTION,
                                    {
                                        "error": {
                                            "code": "blank_text",
                                            "detail": "text must contain at least 1 non-blank character",
                                            "status": 422,
                                        }
                                    },
                                ],
                            },
                        },
                    }
                }
            }
        },
        413: problem(
            "The body is over the limit.",
            413,
            "Content Too Large",
            "body_too_large",
            "body must not exceed 8388608 bytes",
        ),
        415: problem(
            "The body is not JSON, or compressed.",
            415,
            "Unsupported Media Type",
            "unsupported_media_type",
            "content-type must be application/json",
        ),
        422: problem(
            "The body is not as it should be, or the only text cannot be classified.",
            422,
            "Unprocessable Content",
            "text_too_long",
            "text has 100001 characters; the limit is 100000",
        ),
        500: problem("A defect.", 500, "Internal Server Error", "internal_error", "an unexpected error occurred"),
        503: _UNAVAILABLE,
        504: problem(
            "The deadline passed.",
            504,
            "Gateway Timeout",
            "deadline_exceeded",
            "the deadline passed before the text was classified",
        ),
    },
    "openapi_extra": {
        "parameters": [
            {
                "name": "X-Timeout-Seconds",
                "in": "header",
                "required": False,
                "description": "Seconds after which the answer is of no use; capped by the service.",
                "schema": {"type": "number", "exclusiveMinimum": 0},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": f"#/components/schemas/{ClassifyRequest.__name__}"},
                    "examples": {
                        "text": {"summary": "One text", "value": {"text": REVIEW}},
                        "texts": {"summary": "Several texts", "value": {"texts": [REVIEW, LONG_REVIEW]}},
                    },
                }
            },
        },
    },
}
