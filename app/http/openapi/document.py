"""The OpenAPI document: what the framework derives from the routes, the schemas it does not see, and what it says of
every operation: errors that come before it, API keys, the request id."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from app.http import feedback
from app.http.auth.scopes import Policy
from app.http.compat import huggingface, tei, tensors
from app.http.openapi.parts import REFERENCED, responses
from app.http.problems import Problem
from app.http.routing import lasting
from app.http.schemas import ClassifyRequest
from app.keys import SCOPES
from app.settings import Settings

_CHALLENGED = {"WWW-Authenticate": 'Bearer realm="sentiment"'}
_BAD_REQUEST = 400
_EVERYWHERE = responses(
    [
        Problem(400, "bad_request", "this is not a valid HTTP/1.1 request"),
        Problem(408, "request_timeout", "the request's body did not arrive within 30 s"),
        Problem(431, "header_too_large", "request line and headers must not exceed 65536 bytes"),
        Problem(500, "internal_error", "an unexpected error occurred; it has been logged"),
        Problem(501, "unsupported_transfer_coding", "Transfer-Encoding must be chunked, or absent"),
        Problem(503, "too_many_connections", "the service has as many connections as it takes; the limit is 4096"),
    ]
)
_GUARDED = {
    scope: responses(
        [
            Problem(401, "unauthorized", "this API key is not known", headers=_CHALLENGED),
            Problem(403, "forbidden", f"this key lacks the scope {scope}", headers=_CHALLENGED),
            Problem(429, "rate_limited", "1 more texts exceed this service's limit of 600 per 1 minute for this key"),
        ]
    )
    for scope in SCOPES
}
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key."},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key."},
}
_HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-ID": {
        "description": "The caller's, where it sent one, or a new one.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
        "example": "4f0c8f1d2ab3-1",
    },
}
_RATE_LIMIT: dict[str, dict[str, Any]] = {
    "RateLimit-Policy": {
        "description": "Where there is a rate limit: each one's name, texts (q) and seconds (w).",
        "schema": {"type": "string"},
        "example": '"600 per 1 minute";q=600;w=60',
    },
    "RateLimit": {
        "description": "Likewise: texts that are left (r), and seconds until there are more (t).",
        "schema": {"type": "string"},
        "example": '"600 per 1 minute";r=599;t=60',
    },
}
"""As draft-ietf-httpapi-ratelimit-headers-10 has them."""
_CHALLENGE = {"WWW-Authenticate": {"required": True, "schema": {"type": "string", "pattern": "^Bearer "}}}
_RETRY_AFTER = {
    "Retry-After": {
        "description": "Seconds.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
        "example": 1,
    }
}


def document_of(app: FastAPI, settings: Settings) -> dict[str, Any]:
    """The document; made once.

    Args:
        app: the application.
        settings: limits that the document states, and who needs a key.
    """
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, tags=app.openapi_tags, routes=app.routes
        )
        _, unseen = models_json_schema(
            [(model, "validation") for model in REFERENCED.values()], ref_template="#/components/schemas/{model}"
        )
        schemas = {**document["components"]["schemas"], **unseen["$defs"]}
        _state_limits(schemas, settings)
        document["components"]["schemas"] = dict(sorted(schemas.items()))
        _complete(document, settings)
        document["paths"] = {lasting(route): operations for route, operations in document["paths"].items()}
        if settings.root_path:
            document["servers"] = [{"url": settings.root_path}]
        app.openapi_schema = document
    return app.openapi_schema


def _state_limits(schemas: dict[str, Any], settings: Settings) -> None:
    """Bounds of the texts and their number, which the schemas' classes do not know."""
    text, count = {"minLength": 1, "maxLength": settings.max_characters}, {"maxItems": settings.max_texts}
    fields = schemas[ClassifyRequest.__name__]["properties"]
    fields["text"] |= text
    fields["texts"] |= count
    schemas[feedback.FeedbackRequest.__name__]["properties"]["text"] |= text
    # These protocols have no place for the error of one text among others, so each text must be within its bounds.
    for schema, field in (
        (huggingface.TextClassificationRequest, "inputs"),
        (tei.PredictRequest, "inputs"),
        (tensors.InputTensor, "data"),
    ):
        _bound(schemas[schema.__name__]["properties"][field], text, count)
    schemas[tensors.InputTensor.__name__]["properties"]["shape"]["items"]["maximum"] = settings.max_texts


def _bound(schema: dict[str, Any], text: dict[str, int], count: dict[str, int]) -> None:
    """Bound every text and every list in a schema."""
    for kind in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        _bound(kind, text, count)
    if schema.get("type") == "string":
        schema |= text
    elif schema.get("type") == "array":
        schema |= {"minItems": 1, **count, **schema}
        _bound(schema["items"], text, count)


def _complete(document: dict[str, Any], settings: Settings) -> None:
    """Add what every operation has in common to the document.

    Args:
        document: the OpenAPI document, changed in place.
        settings: say which operations need a key. Where no keys are configured, those that may need one say so too:
            clients made of the document are used with services that have keys.
    """
    policy = Policy(settings)
    needed: list[dict[str, list[str]]] = [{name: []} for name in _SCHEMES]
    security = needed if settings.api_keys is not None else [{}, *needed]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            scope = policy.scope_of(path, method.upper())
            found = operation["responses"]
            for status, response in (_EVERYWHERE | _GUARDED.get(scope or "", {})).items():
                own = found.setdefault(str(status), response)
                if status == _BAD_REQUEST and own is not response:
                    # A protocol with errors of its own shape gets this one before it is asked.
                    found[str(status)] = {**own, "content": {**response["content"], **own["content"]}}
            operation["responses"] = {
                status: {**response, "headers": {**_HEADERS, **_headers_of(status), **response.get("headers", {})}}
                for status, response in sorted(found.items())
            }
            if scope is not None:
                operation["security"] = security
                named = {name: {"$ref": f"#/components/headers/{name}"} for name in _RATE_LIMIT}
                for status, response in operation["responses"].items():
                    if status.startswith("2") or status == "429":
                        response["headers"] |= named
    document["components"] |= {"headers": _RATE_LIMIT, "securitySchemes": _SCHEMES}


def _headers_of(status: str) -> dict[str, Any]:
    if status in ("401", "403"):
        return _CHALLENGE
    return _RETRY_AFTER if status in ("429", "503") else {}
