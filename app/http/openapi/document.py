"""The OpenAPI document: what the framework derives from the routes, and the schemas it does not see."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from app.http import feedback
from app.http.compat import huggingface, tei, tensors
from app.http.openapi.operations import complete
from app.http.openapi.parts import REFERENCED
from app.http.routing import lasting
from app.http.schemas import ClassifyRequest
from app.settings import Settings


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
        complete(document, settings)
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
