"""The OpenAPI document: what the framework derives from the routes, and the schemas it does not see."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from app.api.common import complete
from app.api.compat import huggingface, open_inference, tei, tensors
from app.api.schemas import ClassifyRequest, ProblemDocument
from app.settings import Settings

_UNSEEN = (
    ClassifyRequest,
    ProblemDocument,
    huggingface.TextClassificationRequest,
    huggingface.TextClassificationScore,
    huggingface.HuggingFaceError,
    tei.PredictRequest,
    tei.PredictScore,
    tei.PredictError,
    tensors.InferRequest,
    tensors.InferResponse,
    open_inference.ServerLive,
    open_inference.ServerReady,
    open_inference.ServerMetadata,
    open_inference.ModelReady,
    open_inference.ModelMetadata,
    open_inference.OpenInferenceError,
)
"""What is read and written past the framework."""


def document_of(app: FastAPI, settings: Settings, open_paths: frozenset[str] | None) -> dict[str, Any]:
    """The document; made once.

    Args:
        app: the application.
        settings: limits that the document states.
        open_paths: paths that need no API key; None where no path needs one.
    """
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, tags=app.openapi_tags, routes=app.routes
        )
        _, unseen = models_json_schema(
            [(model, "validation") for model in _UNSEEN], ref_template="#/components/schemas/{model}"
        )
        schemas = {**document["components"]["schemas"], **unseen["$defs"]}
        fields = schemas[ClassifyRequest.__name__]["properties"]
        fields["text"] |= {"minLength": 1, "maxLength": settings.max_characters}
        fields["texts"] |= {"maxItems": settings.max_texts}
        document["components"]["schemas"] = dict(sorted(schemas.items()))
        complete(document, open_paths)
        app.openapi_schema = document
    return app.openapi_schema
