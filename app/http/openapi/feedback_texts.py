"""What /openapi.json says about ``POST /feedback``."""

from __future__ import annotations

from typing import Any

from app.http.feedback import BUSY, FULL, OFF, FeedbackKept, FeedbackRequest
from app.http.openapi.texts import example, examples, invalid, reference, responses
from app.http.problems import Problem

_TEXT = "Two hours of my life that I will not get back."
_ANSWER = {"answered": "positive", "model": "reviews-gru", "version": 2}
_MORE = {"request_id": "4f0c8f1d2ab3-1", "comment": "Irony."}
_STARTING = Problem(503, "engine_unavailable", "the service is starting", headers={"Retry-After": "1"})

FEEDBACK: dict[str, Any] = {
    "tags": ["feedback"],
    "operation_id": "feedback",
    "summary": "The right label of a text",
    "status_code": 201,
    "response_description": "It is kept, on disk.",
    "response_model": FeedbackKept,
    "responses": {
        201: example({"model": "reviews-gru", "version": 2, "label": "negative", "right": False})[200],
        **responses(
            [
                invalid("invalid_json", "body", "Invalid JSON: expected value at line 1 column 1"),
                invalid(
                    "invalid_request",
                    "label",
                    "must be one of negative, neutral, positive, the labels of reviews-gru/2",
                ),
                Problem(422, "blank_text", "text must contain at least 1 non-blank character"),
                Problem(422, "text_too_long", "text has 100001 characters; the limit is 100000"),
                Problem(413, "body_too_large", "body must not exceed 8388608 bytes"),
                Problem(415, "unsupported_media_type", "content-type must be application/json"),
                Problem(415, "unsupported_encoding", "compressed bodies are refused"),
                _STARTING,
                OFF,
                BUSY,
                FULL,
            ]
        ),
    },
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": reference(FeedbackRequest),
                    "examples": examples(
                        answer=("To an answer", {"text": _TEXT, "label": "negative", **_ANSWER, **_MORE}),
                        text=("A text alone", {"text": _TEXT, "label": "negative"}),
                    ),
                }
            },
        }
    },
}
