"""What /openapi.json says of the other servers' protocols."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import orjson
from pydantic import BaseModel

from app.http.compat.huggingface import (
    HuggingFaceEndpoint,
    HuggingFaceError,
    TextClassificationRequest,
    TextClassificationScore,
)
from app.http.compat.open_inference import (
    SERVER_METADATA,
    InferEndpoint,
    ModelMetadata,
    ModelReady,
    OpenInferenceError,
    ServerLive,
    ServerMetadata,
    ServerReady,
    model_metadata,
)
from app.http.compat.tei import PredictEndpoint, PredictError, PredictRequest, PredictScore
from app.http.compat.tensors import HEADER_LENGTH, InferRequest, InferResponse, answer
from app.http.openapi.parts import JSON, body, example, examples, operation, parameter, reference, responses
from app.http.openapi.texts import NOT_READY, TIMEOUT_PARAMETER, UNKNOWN_MODEL, problems
from app.http.problems import Problem, invalid
from app.http.schemas import LONG_REVIEW, REVIEW
from app.sentiment import Prediction

_BINARY = "application/octet-stream"
_WRONG = "Input should be a valid string"
_RANKED = [{"label": "positive", "score": 0.996}, {"label": "negative", "score": 0.004}]
_RANKED_LONG = [{"label": "negative", "score": 0.854}, {"label": "positive", "score": 0.146}]
_RAW = [{"label": "positive", "score": -0.004}, {"label": "negative", "score": -5.643}]
_LABELS = ("negative", "positive")
_MODEL, _VERSION = "imdb-gru", 4
_PATH_PARAMETERS = [
    parameter("name", "The model.", {"type": "string"}, _MODEL, "path"),
    parameter("version", "Number of its version.", {"type": "string"}, str(_VERSION), "path"),
]
_hugging_face = partial(responses, render=HuggingFaceEndpoint.refuse, schema=HuggingFaceError, media_type=JSON)
_tei = partial(responses, render=PredictEndpoint.refuse, schema=PredictError, media_type=JSON)
_open_inference = partial(responses, render=InferEndpoint.refuse, schema=OpenInferenceError, media_type=JSON)


def of_model(documented: dict[str, Any], versioned: bool) -> dict[str, Any]:
    """An operation of a model that the path names, and its version too where it is ``versioned``."""
    extra = documented.get("openapi_extra", {})
    return {
        **documented,
        "operation_id": documented["operation_id"].format("_version" if versioned else ""),
        "openapi_extra": {
            **extra,
            "parameters": [*_PATH_PARAMETERS[: 1 + versioned], *extra.get("parameters", ())],
        },
    }


def _by_name(documented: dict[str, Any], unknown: dict[int | str, dict[str, Any]]) -> dict[str, Any]:
    """The same of a protocol that knows one model, for ``of_model``."""
    return {
        **documented,
        "operation_id": f"{documented['operation_id']}_model{{}}",
        "summary": f"{documented['summary']}, of a model by its name",
        "responses": {**documented["responses"], **unknown},
    }


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


# No response_model in any of them: that would build, for every application, what no answer passes through.
HUGGING_FACE = operation(
    "hugging face",
    "text_classification",
    body(
        examples(
            text=("One text", [_RANKED]),
            texts=("Several texts, only the most probable class", [_RANKED[:1], _RANKED_LONG[:1]]),
        ),
        _list(_list(reference(TextClassificationScore))),
    ),
    _hugging_face(problems("inputs", invalid("invalid_request", "inputs.texts.1", _WRONG))),
    given=body(
        examples(
            text=("One text", {"inputs": REVIEW}),
            texts=(
                "Several texts, only the most probable class",
                {"inputs": [REVIEW, LONG_REVIEW], "parameters": {"top_k": 1}},
            ),
        ),
        reference(TextClassificationRequest),
    ),
    parameters=[TIMEOUT_PARAMETER],
    summary="Text classification as of an Inference Endpoint",
    response_description="A list of classes per text, the most probable first.",
)
HUGGING_FACE_MODEL = _by_name(HUGGING_FACE, _hugging_face([UNKNOWN_MODEL]))
PREDICT = operation(
    "text-embeddings-inference",
    "predict",
    body(
        examples(
            text=("One text", _RANKED),
            batch=("A batch", [_RANKED, _RANKED_LONG]),
            raw_scores=("One text, raw scores", _RAW),
        ),
        {"anyOf": [_list(reference(PredictScore)), _list(_list(reference(PredictScore)))]},
    ),
    _tei(problems("inputs", invalid("invalid_request", "inputs.sequence.0", _WRONG))),
    given=body(
        examples(
            text=("One text", {"inputs": REVIEW}),
            batch=("A batch", {"inputs": [[REVIEW], [LONG_REVIEW]]}),
            raw_scores=("One text, raw scores", {"inputs": REVIEW, "raw_scores": True, "truncate": True}),
        ),
        reference(PredictRequest),
    ),
    parameters=[TIMEOUT_PARAMETER],
    summary="Text classification as of text-embeddings-inference",
    response_description="The classes of the text, the most probable first; a list of such lists for a batch.",
)
PREDICT_MODEL = _by_name(PREDICT, _tei([UNKNOWN_MODEL]))

_INPUTS = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": [REVIEW]}]}
_IDENTIFIED = {"id": "42", **_INPUTS}
_INFERRED = answer(
    InferRequest.model_validate(_IDENTIFIED), [Prediction((0.004, 0.996), 15, False)], _LABELS, _MODEL, _VERSION
)
_LENGTH_PARAMETER = parameter(
    HEADER_LENGTH,
    "Bytes of the JSON, where binary data follows it.",
    {"type": "integer", "minimum": 1},
    141,
    "header",
)


def _v2(
    name: str, summary: str, schema: type[BaseModel], shown: Any, errors: Sequence[Problem] = (), **more: Any
) -> dict[str, Any]:
    answered = body(example(shown), reference(schema))
    return operation("open inference protocol", name, answered, _open_inference(errors), summary=summary, **more)


SERVER = _v2("v2_server", "What the server is", ServerMetadata, SERVER_METADATA)
SERVER_LIVE = _v2("v2_live", "Whether the process answers", ServerLive, {"live": True})
SERVER_READY = _v2("v2_ready", "Whether texts would be answered", ServerReady, {"ready": True}, [NOT_READY])
MODEL = _v2(
    "v2_model{}",
    "What the model takes and gives",
    ModelMetadata,
    model_metadata(_MODEL, _LABELS, [_VERSION]),
    [UNKNOWN_MODEL, NOT_READY],
)
MODEL_READY = _v2(
    "v2_model{}_ready",
    "Whether the model answers",
    ModelReady,
    {"name": _MODEL, "ready": True},
    [UNKNOWN_MODEL, NOT_READY],
)
INFER = _v2(
    "v2_infer{}",
    "Sentiment of one text or of several, as tensors",
    InferResponse,
    orjson.loads(_INFERRED.body),
    [UNKNOWN_MODEL, *problems("inputs.0", invalid("invalid_request", "inputs.0.shape", "must be [N] or [N, 1]"))],
    given=body(
        examples(
            json=("As JSON", _IDENTIFIED),
            label=("Only the label", {**_INPUTS, "outputs": [{"name": "label"}]}),
        ),
        reference(InferRequest),
    ),
    parameters=[TIMEOUT_PARAMETER, _LENGTH_PARAMETER],
    description="Tensors may follow the JSON as binary data, in both directions.",
)
INFER["responses"][200]["content"] |= body(
    example("the JSON, then the data of the outputs that were asked for as binary_data"),
    {"type": "string", "format": "binary"},
    _BINARY,
)
