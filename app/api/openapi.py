"""The OpenAPI document: what the framework derives from the routes, and the schemas it does not see."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from app.api.compat import huggingface, open_inference, tei, tensors
from app.api.schemas import ClassifyRequest, ProblemDocument

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


def document_of(app: FastAPI) -> dict[str, Any]:
    """The document; made once."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, tags=app.openapi_tags, routes=app.routes
        )
        _, unseen = models_json_schema(
            [(model, "validation") for model in _UNSEEN], ref_template="#/components/schemas/{model}"
        )
        schemas = {**document["components"]["schemas"], **unseen["$defs"]}
        document["components"]["schemas"] = dict(sorted(schemas.items()))
        app.openapi_schema = document
    return app.openapi_schema
