"""What /openapi.json says of the other servers' protocols."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from app.http.compat.huggingface import (
    HuggingFaceEndpoint,
    HuggingFaceError,
    TextClassificationRequest,
    TextClassificationScore,
)
from app.http.compat.open_inference import (
    InferEndpoint,
    ModelMetadata,
    ModelReady,
    OpenInferenceError,
    ServerLive,
    ServerMetadata,
    ServerReady,
)
from app.http.compat.tei import PredictEndpoint, PredictError, PredictRequest, PredictScore
from app.http.compat.tensors import HEADER_LENGTH, InferRequest, InferResponse
from app.http.openapi.texts import (
    TIMEOUT_PARAMETER,
    UNKNOWN_MODEL,
    examples,
    invalid,
    problems,
    reference,
    responses,
)
from app.http.problems import Problem
from app.http.schemas import LONG_REVIEW, REVIEW
from app.version import VERSION

_JSON = "application/json"
_BINARY = "application/octet-stream"
_WRONG = "Input should be a valid string"
_RANKED = [{"label": "positive", "score": 0.996}, {"label": "negative", "score": 0.004}]
_RANKED_LONG = [{"label": "negative", "score": 0.854}, {"label": "positive", "score": 0.146}]
_RAW = [{"label": "positive", "score": -0.004}, {"label": "negative", "score": -5.643}]


def _body(schema: type[BaseModel], named: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {_JSON: {"schema": reference(schema), "examples": named}}}


def _answers(schema: dict[str, Any], named: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    # Not the framework's response_model: that would build, for every application, what no answer passes through.
    return {200: {"content": {_JSON: {"schema": schema, "examples": named}}}}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


HUGGING_FACE: dict[str, Any] = {
    "tags": ["hugging face"],
    "operation_id": "text_classification",
    "summary": "Text classification as of an Inference Endpoint",
    "response_description": "A list of classes per text, the most probable first.",
    "responses": {
        **_answers(
            _list(_list(reference(TextClassificationScore))),
            examples(
                text=("One text", [_RANKED]),
                texts=("Several texts, only the most probable class", [_RANKED[:1], _RANKED_LONG[:1]]),
            ),
        ),
        **responses(
            problems("inputs", invalid("invalid_request", "inputs.texts.1", _WRONG)),
            HuggingFaceEndpoint.refuse,
            HuggingFaceError,
            _JSON,
        ),
    },
    "openapi_extra": {
        "parameters": [TIMEOUT_PARAMETER],
        "requestBody": _body(
            TextClassificationRequest,
            examples(
                text=("One text", {"inputs": REVIEW}),
                texts=(
                    "Several texts, only the most probable class",
                    {"inputs": [REVIEW, LONG_REVIEW], "parameters": {"top_k": 1}},
                ),
            ),
        ),
    },
}

PREDICT: dict[str, Any] = {
    "tags": ["text-embeddings-inference"],
    "operation_id": "predict",
    "summary": "Text classification as of text-embeddings-inference",
    "response_description": "The classes of the text, the most probable first; a list of such lists for a batch.",
    "responses": {
        **_answers(
            {"anyOf": [_list(reference(PredictScore)), _list(_list(reference(PredictScore)))]},
            examples(
                text=("One text", _RANKED),
                batch=("A batch", [_RANKED, _RANKED_LONG]),
                raw_scores=("One text, raw scores", _RAW),
            ),
        ),
        **responses(
            problems("inputs", invalid("invalid_request", "inputs.sequence.0", _WRONG)),
            PredictEndpoint.refuse,
            PredictError,
            _JSON,
        ),
    },
    "openapi_extra": {
        "parameters": [TIMEOUT_PARAMETER],
        "requestBody": _body(
            PredictRequest,
            examples(
                text=("One text", {"inputs": REVIEW}),
                batch=("A batch", {"inputs": [[REVIEW], [LONG_REVIEW]]}),
                raw_scores=("One text, raw scores", {"inputs": REVIEW, "raw_scores": True, "truncate": True}),
            ),
        ),
    },
}

_NOT_READY = Problem(503, "engine_unavailable", "the engine is not ready", headers={"Retry-After": "1"})
_INFER = {
    "model_name": "imdb-gru",
    "model_version": "4",
    "id": "42",
    "outputs": [
        {"name": "label", "datatype": "BYTES", "shape": [1], "data": ["positive"]},
        {"name": "score", "datatype": "FP32", "shape": [1], "data": [0.996]},
        {"name": "scores", "datatype": "FP32", "shape": [1, 2], "data": [0.004, 0.996]},
        {"name": "unknown", "datatype": "FP32", "shape": [1], "data": [0.0]},
        {"name": "judgement", "datatype": "BYTES", "shape": [1], "data": ["ok"]},
    ],
}
_METADATA = {
    "name": "imdb-gru",
    "versions": ["4"],
    "platform": "pytorch_safetensors",
    "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1]}],
    "outputs": [
        {"name": "label", "datatype": "BYTES", "shape": [-1]},
        {"name": "score", "datatype": "FP32", "shape": [-1]},
        {"name": "scores", "datatype": "FP32", "shape": [-1, 2]},
        {"name": "unknown", "datatype": "FP32", "shape": [-1]},
        {"name": "judgement", "datatype": "BYTES", "shape": [-1]},
    ],
}
_TENSOR = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [REVIEW]}
_LENGTH_PARAMETER = {
    "name": HEADER_LENGTH,
    "in": "header",
    "required": False,
    "description": "Bytes of the JSON, where binary data follows it.",
    "schema": {"type": "integer", "minimum": 1},
    "example": 141,
}


def _operation(
    operation_id: str,
    summary: str,
    schema: type[BaseModel],
    answer: Any,
    errors: list[Problem],
    extra: dict[str, Any] | None = None,
) -> dict[str, Any]:
    return {
        "tags": ["open inference protocol"],
        "operation_id": operation_id,
        "summary": summary,
        "responses": {
            200: {"content": {_JSON: {"schema": reference(schema), "example": answer}}},
            **responses(errors, InferEndpoint.refuse, OpenInferenceError, _JSON),
        },
        "openapi_extra": extra or {},
    }


def _path_parameters(versioned: bool) -> list[dict[str, Any]]:
    named = [("name", "imdb-gru"), ("version", "4")][: 2 if versioned else 1]
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, "example": value}
        for name, value in named
    ]


def of_model(operation: dict[str, Any], versioned: bool) -> dict[str, Any]:
    """An operation of a protocol that knows one model, of a model that the path names."""
    refuse, schema = (
        (PredictEndpoint.refuse, PredictError)
        if operation is PREDICT
        else (HuggingFaceEndpoint.refuse, HuggingFaceError)
    )
    extra = operation["openapi_extra"]
    return {
        **operation,
        "operation_id": f"{operation['operation_id']}_model{'_version' if versioned else ''}",
        "summary": f"{operation['summary']}, of a model by its name",
        "responses": {**operation["responses"], **responses([UNKNOWN_MODEL], refuse, schema, _JSON)},
        "openapi_extra": {**extra, "parameters": [*_path_parameters(versioned), *extra["parameters"]]},
    }


SERVER_LIVE = _operation("v2_live", "Whether the process answers", ServerLive, {"live": True}, [])
SERVER_READY = _operation("v2_ready", "Whether texts would be answered", ServerReady, {"ready": True}, [_NOT_READY])
SERVER = _operation(
    "v2_server",
    "What the server is",
    ServerMetadata,
    {"name": "sentiment-service", "version": VERSION, "extensions": ["binary_tensor_data"]},
    [],
)


def model_operation(versioned: bool) -> dict[str, Any]:
    """The metadata of the model."""
    return _operation(
        "v2_model_version" if versioned else "v2_model",
        "What the model takes and gives",
        ModelMetadata,
        _METADATA,
        [UNKNOWN_MODEL, _NOT_READY],
        {"parameters": _path_parameters(versioned)},
    )


def model_ready_operation(versioned: bool) -> dict[str, Any]:
    """The readiness of the model."""
    return _operation(
        "v2_model_version_ready" if versioned else "v2_model_ready",
        "Whether the model answers",
        ModelReady,
        {"name": "imdb-gru", "ready": True},
        [UNKNOWN_MODEL, _NOT_READY],
        {"parameters": _path_parameters(versioned)},
    )


def infer_operation(versioned: bool) -> dict[str, Any]:
    """Inference."""
    invalid_tensor = invalid("invalid_request", "inputs.0.shape", "must be [N] or [N, 1]")
    operation = _operation(
        "v2_infer_version" if versioned else "v2_infer",
        "Sentiment of one text or of several, as tensors",
        InferResponse,
        _INFER,
        [UNKNOWN_MODEL, *problems("inputs.0", invalid_tensor)],
        {
            "parameters": [*_path_parameters(versioned), TIMEOUT_PARAMETER, _LENGTH_PARAMETER],
            "requestBody": _body(
                InferRequest,
                examples(
                    json=("As JSON", {"id": "42", "inputs": [_TENSOR]}),
                    label=("Only the label", {"inputs": [_TENSOR], "outputs": [{"name": "label"}]}),
                ),
            ),
        },
    )
    operation["responses"][200]["content"][_BINARY] = {
        "schema": {"type": "string", "format": "binary"},
        "example": "the JSON, then the data of the outputs that were asked for as binary_data",
    }
    return {**operation, "description": "Tensors may follow the JSON as binary data, in both directions."}
