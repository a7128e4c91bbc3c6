"""The routes of the other servers' protocols."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter

from app.http.compat.huggingface import HuggingFaceEndpoint
from app.http.compat.open_inference import (
    InferEndpoint,
    LiveEndpoint,
    ModelEndpoint,
    ReadyEndpoint,
    ServerEndpoint,
    UnknownEndpoint,
)
from app.http.compat.tei import PredictEndpoint
from app.http.openapi import protocol_texts as docs
from app.http.routing import delegate
from app.serving.classifier import Classifier
from app.serving.versions import FurtherVersions
from app.settings import Settings

_ALL_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE"]


def add_compat_routes(
    router: APIRouter, classifier: Callable[[], Classifier | None], settings: Settings, further: FurtherVersions
) -> None:
    """Add all of them."""
    parts = classifier, settings, further
    hugging_face, predict = HuggingFaceEndpoint(*parts), PredictEndpoint(*parts)
    delegate(router, ["POST"], "/", hugging_face, **docs.HUGGING_FACE)
    delegate(router, ["POST"], "/predict", predict, **docs.PREDICT)
    # In this order, or the last part of a path would be taken for a version.
    for path, versioned in (("/models/{name}", False), ("/models/{name}/{version}", True)):
        delegate(router, ["POST"], f"{path}/predict", predict, **docs.of_model(docs.PREDICT_MODEL, versioned))
    for path, versioned in (("/models/{name}", False), ("/models/{name}/{version}", True)):
        delegate(router, ["POST"], path, hugging_face, **docs.of_model(docs.HUGGING_FACE_MODEL, versioned))
    model, ready, infer = (kind(*parts) for kind in (ModelEndpoint, ReadyEndpoint, InferEndpoint))
    for path, versioned in (("/v2/models/{name}", False), ("/v2/models/{name}/versions/{version}", True)):
        delegate(router, ["POST"], f"{path}/infer", infer, **docs.of_model(docs.INFER, versioned))
        delegate(router, ["GET"], path, model, **docs.of_model(docs.MODEL, versioned))
        delegate(router, ["GET"], f"{path}/ready", ready, **docs.of_model(docs.MODEL_READY, versioned))
    delegate(router, ["GET"], "/v2", ServerEndpoint(*parts), **docs.SERVER)
    delegate(router, ["GET"], "/v2/health/live", LiveEndpoint(*parts), **docs.SERVER_LIVE)
    delegate(router, ["GET"], "/v2/health/ready", ready, **docs.SERVER_READY)
    unknown = UnknownEndpoint(*parts, list(router.routes))
    delegate(router, _ALL_METHODS, "/v2/{rest:path}", unknown, include_in_schema=False)
