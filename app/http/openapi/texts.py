"""What /openapi.json says beside the schemas: titles, worked examples, errors of the operations."""

from __future__ import annotations

from starlette.responses import Response

from app.http import feedback
from app.http.explain import EXAMPLE
from app.http.headers import MOST_TIMEOUT
from app.http.openapi.parts import body, example, examples, operation, parameter, reference, responses, text_body
from app.http.problems import Problem, invalid
from app.http.schemas import (
    LONG_REVIEW,
    REVIEW,
    BatchResponse,
    ClassifyRequest,
    ModelsResponse,
    SingleResponse,
    StatusResponse,
)

UNKNOWN_MODEL = Problem(404, "unknown_model", "imdb-gru/9 is not loaded; loaded are: reviews-gru/3, imdb-gru/4")
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
NOT_READY = Problem(503, "engine_unavailable", "the engine is not ready", headers=_RETRY)
STARTING = Problem(503, "engine_unavailable", "the service is starting", headers=_RETRY)
_DETAILS: tuple[Problem, ...] = (
    Problem(500, "inference_failed", "the forward pass failed"),
    Problem(500, "internal_error", "an unexpected error occurred; it has been logged"),
    Problem(503, "overloaded", "5000 texts are in flight, 1 more would exceed the limit of 5000", headers=_RETRY),
    NOT_READY,
    Problem(504, "deadline_exceeded", "the deadline passed before the text was classified"),
)
_TEXTS: tuple[tuple[str, str], ...] = (
    ("blank_text", "text must contain at least 1 non-blank character"),
    ("no_words", "text must contain at least 1 word or number"),
    ("text_too_long", "text has 100001 characters; the limit is 100000"),
)


def unread(limit: int = 8_388_608) -> list[Problem]:
    """Problems of a JSON body that is not even read, or not understood.

    Args:
        limit: most bytes.
    """
    return [
        invalid("invalid_json", "body", "Invalid JSON: expected value at line 1 column 1"),
        Problem(413, "body_too_large", f"body must not exceed {limit} bytes"),
        Problem(415, "unsupported_media_type", "content-type must be application/json"),
        Problem(415, "unsupported_encoding", "compressed bodies are refused"),
    ]


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
    return [*unread(), *more, count, header, *texts, *_DETAILS]


TIMEOUT_PARAMETER = parameter(
    "X-Timeout-Seconds",
    "Seconds after which the answer is of no use; capped by the service.",
    {"type": "number", "exclusiveMinimum": 0, "maximum": MOST_TIMEOUT},
    2.5,
    "header",
)
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
    **_PREDICTION,
    "label": "negative",
    "score": 0.815,
    "scores": {"negative": 0.815, "neutral": 0.07, "positive": 0.115},
    "tokens": 4,
    "rating": 3.107,
    "explanation": EXAMPLE,
}
_IDENTITY = {"model": "reviews-gru", "version": 3}
_BLANK = {"code": _TEXTS[0][0], "detail": _TEXTS[0][1], "status": 422}

CLASSIFY = operation(
    "classify",
    "classify",
    body(
        examples(
            text=("One text", {**_PREDICTION, **_IDENTITY}),
            explained=("One text, explained", {**_EXPLAINED, **_IDENTITY}),
            texts=("Several texts, one of them blank", {**_IDENTITY, "results": [_PREDICTION, {"error": _BLANK}]}),
        )
    ),
    responses(
        problems(
            "text",
            invalid("invalid_request", "texts.1", "Input should be a valid string"),
            UNKNOWN_MODEL,
            Problem(503, "explainer_unavailable", "explanations are not available just now", headers=_RETRY),
            named=False,
        )
    ),
    given=body(
        examples(
            text=("One text", {"text": REVIEW}),
            explained=(
                "One text, explained",
                {"text": "Dull plot. Nice end.", "explain": ["sentences", "tokens", "curve"]},
            ),
            texts=("Several texts", {"texts": [REVIEW, LONG_REVIEW]}),
            model=("One text, to a model by its name", {"text": REVIEW, "model": "imdb-gru"}),
        ),
        reference(ClassifyRequest),
    ),
    parameters=[TIMEOUT_PARAMETER],
    summary="Sentiment of one text or of several",
    response_description="A prediction, or one entry per text in order.",
    response_model=SingleResponse | BatchResponse,
)

_JUDGED = {"text": "Two hours of my life that I will not get back.", "label": "negative"}
FEEDBACK = operation(
    "feedback",
    "feedback",
    body(example({**_IDENTITY, "label": "negative", "right": False})),
    responses(
        [
            *unread(),
            invalid(
                "invalid_request", "label", "must be one of negative, neutral, positive, the labels of reviews-gru/3"
            ),
            *(Problem(422, code, message) for code, message in _TEXTS if code != "no_words"),
            STARTING,
            feedback.OFF,
            feedback.BUSY,
            feedback.FULL,
        ]
    ),
    given=body(
        examples(
            answer=(
                "To an answer",
                {
                    **_JUDGED,
                    "answered": "positive",
                    **_IDENTITY,
                    "request_id": "4f0c8f1d2ab3-1",
                    "comment": "Irony.",
                },
            ),
            text=("A text alone", _JUDGED),
        ),
        reference(feedback.FeedbackRequest),
    ),
    status=201,
    status_code=201,
    summary="The right label of a text",
    response_description="It is kept, on disk.",
    response_model=feedback.FeedbackKept,
)

_MODEL = {
    **_IDENTITY,
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
MODELS = operation(
    "models", "models", body(example({"models": [_MODEL], "feedback": False})), {}, response_model=ModelsResponse
)
_WELL = body(example({"status": "ok"}))
LIVE = operation("health", "live", _WELL, {}, response_model=StatusResponse)
READY = operation("health", "ready", _WELL, responses([NOT_READY]), response_model=StatusResponse)
METRICS = operation(
    "health",
    "metrics",
    text_body(
        "# HELP sentiment_queue_depth Texts waiting for an engine.\n"
        '# TYPE sentiment_queue_depth gauge\nsentiment_queue_depth{engine="0"} 0.0\n',
        "text/plain",
    ),
    {},
    response_class=Response,
)
PAGE = operation(
    "page",
    "page",
    text_body("<!doctype html>\n<html>...</html>\n", "text/html"),
    {},
    summary="A page to try it",
    response_class=Response,
)
