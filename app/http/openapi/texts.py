"""What /openapi.json says beside the schemas: titles, worked examples, errors of the operations."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import orjson
from pydantic import BaseModel
from starlette.responses import Response

from app.http.explain import EXAMPLE
from app.http.headers import MOST_TIMEOUT
from app.http.problems import MEDIA_TYPE, Problem
from app.http.schemas import (
    LONG_REVIEW,
    REVIEW,
    BatchResponse,
    ClassifyRequest,
    ModelsResponse,
    ProblemDocument,
    SingleResponse,
    StatusResponse,
)

UNKNOWN_MODEL = Problem(404, "unknown_model", "imdb-gru/9 is not loaded; loaded are: reviews-gru/2, imdb-gru/4")
TITLE = "Sentiment service"
DESCRIPTION = (
    "Sentiment of review texts, by a recurrent network. Errors are problem details (RFC 9457). Paths below `/v1` last; "
    "they are there without `/v1` too. Where the service asks for API keys, *Authorize* takes one, and every operation "
    "can be tried out with it. HEAD is answered wherever GET is, by the same headers."
)
TAGS = [
    {"name": "classify", "description": "What this service is for."},
    {"name": "feedback", "description": "What people know better. Nothing is kept unless the operator says where."},
    {"name": "models", "description": "What it answers with."},
    {"name": "health", "description": "For those who run it."},
    {"name": "page", "description": "For people."},
    {
        "name": "hugging face",
        "description": "Compatibility: for `huggingface_hub.InferenceClient`. Errors are `error`.",
    },
    {
        "name": "text-embeddings-inference",
        "description": "Compatibility: for clients of that server. Errors are `error` and `error_type`.",
    },
    {
        "name": "open inference protocol",
        "description": "Compatibility: version 2 over REST, of Triton, KServe and MLServer. Errors are `error`.",
    },
]
"""In reading order, which is the order of the routes too."""

_RETRY = {"Retry-After": "1"}
_DETAILS: tuple[Problem, ...] = (
    Problem(413, "body_too_large", "body must not exceed 8388608 bytes"),
    Problem(415, "unsupported_media_type", "content-type must be application/json"),
    Problem(415, "unsupported_encoding", "compressed bodies are refused"),
    Problem(500, "inference_failed", "the forward pass failed"),
    Problem(500, "internal_error", "an unexpected error occurred; it has been logged"),
    Problem(503, "overloaded", "5000 texts are in flight, 1 more would exceed the limit of 5000", headers=_RETRY),
    Problem(503, "engine_unavailable", "the engine is not ready", headers=_RETRY),
    Problem(504, "deadline_exceeded", "the deadline passed before the text was classified"),
)
_TEXTS: tuple[tuple[str, str], ...] = (
    ("blank_text", "text must contain at least 1 non-blank character"),
    ("no_words", "text must contain at least 1 word or number"),
    ("text_too_long", "text has 100001 characters; the limit is 100000"),
)
_DESCRIPTIONS = {
    400: "The request is not as it should be.",
    401: "No API key, or one that is not known.",
    403: "The API key lacks the scope.",
    404: "The model or version is not there, or not loaded.",
    408: "The request took too long to arrive.",
    409: "Another order is under way, or what is loaded stands against this one.",
    413: "The body is over the limit.",
    415: "The body is of another type, or compressed.",
    422: "The request is not as it should be, or a text cannot be classified.",
    424: "The forward pass failed.",
    429: "The key's rate limit is reached, or the service is full.",
    431: "Request line and headers are over the limit.",
    500: "A defect.",
    501: "The body is in a transfer coding that is not known, or this service does not do that.",
    503: "The service is full, starting, or its engine is being restarted.",
    504: "The deadline passed.",
    507: "As much is kept as may be.",
}


def invalid(code: str, field: str, message: str) -> Problem:
    """The problem of one invalid field."""
    return Problem(422, code, f"{field}: {message}", [{"field": field, "message": message}])


def problems(field: str, *more: Problem, named: bool = True) -> list[Problem]:
    """All problems of an operation that classifies.

    Args:
        field: the request's name for its texts.
        more: problems that only this operation has.
        named: whether the problem of a text names the field.
    """
    texts = [invalid(code, field, message) if named else Problem(422, code, message) for code, message in _TEXTS]
    header = invalid(
        "invalid_header", "X-Timeout-Seconds", f"must be a positive number of seconds, at most {MOST_TIMEOUT}"
    )
    count = invalid("too_many_texts", field if named else "texts", "has 1001 texts; the limit is 1000")
    json = invalid("invalid_json", "body", "Invalid JSON: expected value at line 1 column 1")
    return [json, *more, count, header, *texts, *_DETAILS]


def responses(
    found: Iterable[Problem],
    render: Callable[[Problem], Response] = Problem.response,
    schema: type[BaseModel] = ProblemDocument,
    media_type: str = MEDIA_TYPE,
) -> dict[int | str, dict[str, Any]]:
    """Error responses with an example of each problem, in the shape that ``render`` really gives them."""
    documented: dict[int | str, dict[str, Any]] = {}
    for problem in found:
        response = render(problem)
        value = orjson.loads(response.body)
        if schema is ProblemDocument:
            value["request_id"] = "4f0c8f1d2ab3-1"
        entry = documented.setdefault(
            response.status_code,
            {
                "description": _DESCRIPTIONS[response.status_code],
                "content": {media_type: {"schema": reference(schema), "examples": {}}},
            },
        )
        entry["content"][media_type]["examples"][problem.code] = {"summary": problem.detail, "value": value}
        if "Retry-After" in response.headers:
            entry["headers"] = {
                "Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}, "example": 1}
            }
    return dict(sorted(documented.items(), key=lambda item: int(item[0])))


def reference(schema: type[BaseModel]) -> dict[str, str]:
    """Where the document keeps a schema."""
    return {"$ref": f"#/components/schemas/{schema.__name__}"}


def example(value: Any, media_type: str = "application/json") -> dict[int | str, dict[str, Any]]:
    """The response 200 with one worked example."""
    return {200: {"content": {media_type: {"example": value}}}}


def examples(**named: tuple[str, Any]) -> dict[str, Any]:
    """Worked examples, each with its summary."""
    return {name: {"summary": summary, "value": value} for name, (summary, value) in named.items()}


TIMEOUT_PARAMETER = {
    "name": "X-Timeout-Seconds",
    "in": "header",
    "required": False,
    "description": "Seconds after which the answer is of no use; capped by the service.",
    "schema": {"type": "number", "exclusiveMinimum": 0, "maximum": MOST_TIMEOUT},
    "example": 2.5,
}
_PREDICTION = {
    "label": "positive",
    "score": 0.993,
    "scores": {"negative": 0.004, "neutral": 0.002, "positive": 0.993},
    "tokens": 15,
    "truncated": False,
    "cached": False,
    "rating": 9.88,
    "unknown": 0.0,
    "judgement": "ok",
}
_EXPLAINED = {
    "label": "negative",
    "score": 0.841,
    "scores": {"negative": 0.841, "neutral": 0.067, "positive": 0.092},
    "tokens": 4,
    "truncated": False,
    "cached": False,
    "rating": 3.015,
    "unknown": 0.0,
    "judgement": "ok",
    "explanation": EXAMPLE,
}
_IDENTITY = {"model": "reviews-gru", "version": 2}
_BLANK = {"code": _TEXTS[0][0], "detail": _TEXTS[0][1], "status": 422}

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
                    "examples": examples(
                        text=("One text", {**_PREDICTION, **_IDENTITY}),
                        explained=("One text, explained", {**_EXPLAINED, **_IDENTITY}),
                        texts=(
                            "Several texts, one of them blank",
                            {**_IDENTITY, "results": [_PREDICTION, {"error": _BLANK}]},
                        ),
                    )
                }
            }
        },
        **responses(
            problems(
                "text",
                invalid("invalid_request", "texts.1", "Input should be a valid string"),
                UNKNOWN_MODEL,
                Problem(503, "explainer_unavailable", "explanations are not available just now", headers=_RETRY),
                named=False,
            )
        ),
    },
    "openapi_extra": {
        "parameters": [TIMEOUT_PARAMETER],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": reference(ClassifyRequest),
                    "examples": examples(
                        text=("One text", {"text": REVIEW}),
                        explained=(
                            "One text, explained",
                            {"text": "Dull plot. Nice end.", "explain": ["sentences", "tokens", "curve"]},
                        ),
                        texts=("Several texts", {"texts": [REVIEW, LONG_REVIEW]}),
                        model=("One text, to a model by its name", {"text": REVIEW, "model": "imdb-gru"}),
                    ),
                }
            },
        },
    },
}

_MODEL = {
    "model": "reviews-gru",
    "version": 2,
    "served": True,
    "loaded": True,
    "architecture": "gru",
    "labels": ["negative", "neutral", "positive"],
    "max_tokens": 480,
    "rating": True,
    "test_accuracy": 0.92716,
    "runtime": "native",
    "precision": "bfloat16",
    "device": "cpu",
}
_DEFECT = [problem for problem in _DETAILS if problem.code == "internal_error"]

MODELS: dict[str, Any] = {
    "tags": ["models"],
    "operation_id": "models",
    "response_model": ModelsResponse,
    "responses": {**example({"models": [_MODEL], "feedback": False}), **responses(_DEFECT)},
}
LIVE: dict[str, Any] = {
    "tags": ["health"],
    "operation_id": "live",
    "response_model": StatusResponse,
    "responses": example({"status": "ok"}),
}
READY: dict[str, Any] = {
    **LIVE,
    "operation_id": "ready",
    "responses": {
        **example({"status": "ok"}),
        **responses(problem for problem in _DETAILS if problem.code == "engine_unavailable"),
    },
}
METRICS: dict[str, Any] = {
    "tags": ["health"],
    "operation_id": "metrics",
    "response_class": Response,
    "responses": {
        200: {
            "content": {
                "text/plain": {
                    "schema": {"type": "string"},
                    "example": "# HELP sentiment_queue_depth Texts waiting for an engine.\n"
                    '# TYPE sentiment_queue_depth gauge\nsentiment_queue_depth{engine="0"} 0.0\n',
                }
            }
        },
        **responses(_DEFECT),
    },
}
PAGE: dict[str, Any] = {
    "tags": ["page"],
    "operation_id": "page",
    "summary": "A page to try it",
    "response_class": Response,
    "responses": {
        200: {
            "content": {"text/html": {"schema": {"type": "string"}, "example": "<!doctype html>\n<html>...</html>\n"}}
        },
    },
}
