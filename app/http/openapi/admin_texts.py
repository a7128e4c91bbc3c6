"""What /openapi.json says of the operations under ``/admin``."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from app.http.admin_schemas import AdminModels, CanaryShare, ShadowShare
from app.http.openapi.texts import example, invalid, reference, responses
from app.http.problems import Problem

_SERVED = {
    "model": "reviews-gru",
    "version": 2,
    "digest": "5f3c1e0b9a7d42861c0f5be2a9d47e13",
    "label": "champion",
    "since": "2026-01-05T09:30:00Z",
}
_EXAMPLE = {
    "served": _SERVED,
    "beside": [
        {
            "model": "imdb-gru",
            "version": 4,
            "digest": "0b9a7d428615f3c1ee2a9d47e13c0f5b",
            "label": "candidate",
            "since": "2026-01-05T09:14:00Z",
            "answers": True,
        }
    ],
    "canary": {"model": "imdb-gru/4", "percent": 10.0},
    "shadow": {"model": "imdb-gru/4", "percent": 100.0, "compares": "the labels negative, positive"},
    "most": 4,
    "attempts": [
        {
            "order": "model switch",
            "asked": "reviews-gru@champion",
            "by": "operator",
            "at": "2026-01-05T09:30:00Z",
            "outcome": "served",
            "version": "reviews-gru/2",
            "seconds": 4.2,
        },
        {
            "order": "model switch",
            "asked": "reviews-gru/3",
            "by": "operator",
            "at": "2026-01-05T09:12:00Z",
            "outcome": "refused",
            "version": "reviews-gru/3",
            "reason": "reviews-gru/3: model.safetensors: the scores of these weights are not finite",
            "seconds": 2.9,
        },
    ],
}
NO_KEYS = Problem(
    403,
    "forbidden",
    "this needs a key of the scope admin, and the service has no keys",
    headers={"WWW-Authenticate": 'Bearer realm="sentiment", scope="admin"'},
)
NOT_SUPERVISED = Problem(501, "not_supervised", "this process serves alone; start it with another model instead")
_UNAVAILABLE = [
    NOT_SUPERVISED,
    Problem(503, "unavailable", "the supervisor of this service does not answer", headers={"Retry-After": "5"}),
]

SERVED: dict[str, Any] = {
    "tags": ["models"],
    "operation_id": "served_models",
    "response_model": AdminModels,
    "responses": {**example(_EXAMPLE), **responses([NO_KEYS, *_UNAVAILABLE])},
}
_REFERENCE = {
    "parameters": [
        {
            "name": "name",
            "in": "path",
            "required": True,
            "description": "The model.",
            "schema": {"type": "string"},
            "example": "reviews-gru",
        },
        {
            "name": "version",
            "in": "path",
            "required": True,
            "description": "Number of a version, or a label.",
            "schema": {"type": "string"},
            "example": "champion",
        },
    ]
}
_NOT_FOUND = Problem(404, "model_not_found", "reviews-gru: no version 9; there are: [1, 2]")
_UNDER_WAY = Problem(409, "load_under_way", "another model is just being loaded; GET /admin/models tells")
_REFUSED = Problem(422, "model_refused", "reviews-gru/3: the scores of these weights are not finite")


def _order(name: str, *refusals: Problem) -> dict[str, Any]:
    found = responses([NO_KEYS, *refusals, *_UNAVAILABLE])
    return {**SERVED, "operation_id": name, "openapi_extra": _REFERENCE, "responses": {**example(_EXAMPLE), **found}}


LOAD = _order("load_model", _NOT_FOUND, _UNDER_WAY, _REFUSED)
LOAD_BESIDE = _order(
    "load_model_beside",
    _NOT_FOUND,
    _UNDER_WAY,
    Problem(409, "too_many_models", "4 versions are loaded, and the limit is 4; unload one first"),
    _REFUSED,
)
UNLOAD = _order(
    "unload_model",
    Problem(404, "model_not_found", "reviews-gru/9 is not loaded; loaded are: reviews-gru/2, imdb-gru/4"),
    _UNDER_WAY,
    Problem(409, "model_is_served", "reviews-gru/2 is what is served; load another in its place first"),
    Problem(409, "model_has_share", "imdb-gru/4 10 % are its own, as canary or as shadow; set that to 0 first"),
)
_SHARE = (
    Problem(404, "model_not_found", "reviews-gru/1 is not loaded beside what is served; load it first"),
    _UNDER_WAY,
    Problem(413, "body_too_large", "body must not exceed 65536 bytes"),
    Problem(415, "unsupported_media_type", "content-type must be application/json"),
    Problem(415, "unsupported_encoding", "compressed bodies are refused"),
    invalid("invalid_request", "percent", "Input should be less than or equal to 100"),
    invalid("invalid_json", "body", "Invalid JSON: expected value at line 1 column 1"),
)


def _share(name: str, schema: type[BaseModel], percent: int, refused: str) -> dict[str, Any]:
    found = _order(name, *_SHARE, Problem(422, "model_refused", refused))
    found["openapi_extra"] = {
        **_REFERENCE,
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": reference(schema), "example": {"percent": percent}}},
        },
    }
    return found


CANARY = _share(
    "set_canary",
    CanaryShare,
    10,
    "imdb-gru/4 answers otherwise than reviews-gru/2, which clients may rely on: ...",
)
SHADOW = _share("set_shadow", ShadowShare, 100, "nothing that they say can be compared: ...")
