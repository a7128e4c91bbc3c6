"""What an operation in the OpenAPI document is put together from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import orjson
from pydantic import BaseModel
from starlette.responses import Response

from app.http.problems import MEDIA_TYPE, Problem
from app.http.schemas import ProblemDocument

JSON = "application/json"
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
    return dict(sorted(documented.items(), key=lambda item: int(item[0])))


REFERENCED: dict[str, type[BaseModel]] = {}
"""Schemas that an operation refers to, by their names; the framework does not see them all."""


def reference(schema: type[BaseModel]) -> dict[str, str]:
    """Where the document keeps a schema."""
    REFERENCED[schema.__name__] = schema
    return {"$ref": f"#/components/schemas/{schema.__name__}"}


def example(value: Any) -> dict[str, Any]:
    """One worked example."""
    return {"example": value}


def examples(**named: tuple[str, Any]) -> dict[str, Any]:
    """Worked examples, each with its summary."""
    return {"examples": {name: {"summary": summary, "value": value} for name, (summary, value) in named.items()}}


def body(shown: dict[str, Any], schema: dict[str, Any] | None = None, media_type: str = JSON) -> dict[str, Any]:
    """A body by its media type: what it may be, unless the framework derives that, and examples of it."""
    return {media_type: shown if schema is None else {"schema": schema, **shown}}


def text_body(shown: str, media_type: str) -> dict[str, Any]:
    """A body that is a text."""
    return body(example(shown), {"type": "string"}, media_type)


def parameter(name: str, description: str, schema: dict[str, Any], shown: Any, place: str = "query") -> dict[str, Any]:
    """A parameter with an example."""
    return {
        "name": name,
        "in": place,
        "required": place == "path",
        "description": description,
        "schema": schema,
        "example": shown,
    }


def operation(
    tag: str,
    name: str,
    answer: dict[str, Any],
    errors: dict[int | str, dict[str, Any]],
    *,
    summary: str | None = None,
    given: dict[str, Any] | None = None,
    about: str | None = None,
    parameters: Sequence[dict[str, Any]] = (),
    status: int = 200,
    headers: Mapping[str, dict[str, Any]] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """One operation, as the framework takes it.

    Args:
        tag: the group it belongs to.
        name: what generated clients call it.
        answer: see ``body``.
        errors: see ``responses``.
        summary: a few words; None: as its function is called.
        given: the request's body, see ``body``; None where it has none.
        about: what that body is.
        parameters: those that the framework does not see.
        status: of the answer.
        headers: of the answer.
        more: what else the framework takes.
    """
    request = {"required": True, "description": about, "content": given}
    extra = {"parameters": [*parameters], "requestBody": _given(request) if given else None}
    well = _given({"content": answer, "headers": headers})
    documented = {"summary": summary, "openapi_extra": _given(extra), "responses": {status: well, **errors}}
    return {"tags": [tag], "operation_id": name, **_given(documented), **more}


def _given(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if value}
