"""The one shape of every error response: problem details (RFC 9457) with a stable code."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import orjson
from starlette.responses import Response

from app.errors import (
    DeadlineError,
    EngineUnavailableError,
    InferenceError,
    OverloadedError,
    SentimentError,
    ServiceError,
    TextError,
    UnknownModelError,
)
from app.logs import request_id

MEDIA_TYPE = "application/problem+json"

STATUS: dict[type[SentimentError], int] = {
    TextError: 422,
    UnknownModelError: 404,
    OverloadedError: 503,
    DeadlineError: 504,
    EngineUnavailableError: 503,
    InferenceError: 500,
    ServiceError: 503,
}
"""HTTP status of the errors that reach a client; the nearest class in an error's ancestry decides."""

_TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}
"""Phrases of RFC 9110 that older versions of Python do not have yet."""


@dataclass(eq=False)
class Problem(Exception):  # noqa: N818 - the term of RFC 9457
    """An error response.

    Attributes:
        status: HTTP status.
        code: stable machine-readable reason.
        detail: what is wrong, for a person; names field and limit.
        errors: field and message of each invalid field.
        headers: headers of the response.
    """

    status: int
    code: str
    detail: str
    errors: Sequence[Mapping[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The response's JSON."""
        document: dict[str, Any] = {
            "type": f"urn:sentiment:problem:{self.code}",
            "title": _TITLES.get(self.status) or HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }
        if self.errors:
            document["errors"] = list(self.errors)
        if (current := request_id.get()) is not None:
            document["request_id"] = current
        return document

    def response(self) -> Response:
        """The response itself."""
        return Response(orjson.dumps(self.document()), self.status, dict(self.headers), MEDIA_TYPE)


def invalid(code: str, field: str, message: str, headers: Mapping[str, str] = MappingProxyType({})) -> Problem:
    """The problem of one field that is not as it should be."""
    return Problem(422, code, f"{field}: {message}", [{"field": field, "message": message}], headers)


def status_of(error: SentimentError) -> int:
    """HTTP status of an error."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def problem_of(error: SentimentError) -> Problem:
    """An error as a whole response."""
    if not isinstance(error, TextError | ServiceError):
        return internal_error()
    status, headers = status_of(error), {}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        seconds = getattr(error, "retry_after", None) or 1.0
        headers["Retry-After"] = str(max(1, math.ceil(seconds)))
    return Problem(status, error.code, str(error), headers=headers)


def entry_of(error: TextError | ServiceError) -> dict[str, Any]:
    """An error as one entry among the results of a request with several texts."""
    return {"error": {"code": error.code, "detail": str(error), "status": status_of(error)}}


def internal_error() -> Problem:
    """What a client is told about a defect: nothing."""
    return Problem(500, "internal_error", "an unexpected error occurred; it has been logged")
