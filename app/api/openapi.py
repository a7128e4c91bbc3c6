"""The OpenAPI document: what the framework derives from the routes, and the schemas it does not see."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from app.api.compat.huggingface import HuggingFaceError, TextClassificationRequest
from app.api.compat.open_inference import OpenInferenceError
from app.api.compat.tei import PredictError, PredictRequest
from app.api.compat.tensors import InferRequest
from app.api.schemas import ClassifyRequest, ProblemDocument

_UNSEEN = (
    ClassifyRequest,
    ProblemDocument,
    TextClassificationRequest,
    HuggingFaceError,
    PredictRequest,
    PredictError,
    InferRequest,
    OpenInferenceError,
)
"""Requests that are read past the framework, and errors."""


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
