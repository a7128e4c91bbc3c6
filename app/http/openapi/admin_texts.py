"""What /openapi.json says of the operations under ``/admin``."""

from __future__ import annotations

from typing import Any

from app.http.openapi.texts import example, responses
from app.http.problems import Problem
from app.http.schemas import AdminModels

_SERVED = {
    "model": "reviews-gru",
    "version": 2,
    "digest": "5f3c1e0b9a7d42861c0f5be2a9d47e13",
    "label": "champion",
    "since": "2026-01-05T09:30:00Z",
}
_EXAMPLE = {
    "served": _SERVED,
    "attempts": [
        {
            "asked": "reviews-gru@champion",
            "by": "operator",
            "at": "2026-01-05T09:30:00Z",
            "outcome": "served",
            "version": "reviews-gru/2",
            "seconds": 4.2,
        },
        {
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
LOAD: dict[str, Any] = {
    **SERVED,
    "operation_id": "load_model",
    "openapi_extra": {
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
    },
    "responses": {
        **example(_EXAMPLE),
        **responses(
            [
                NO_KEYS,
                Problem(404, "model_not_found", "reviews-gru: no version 9; there are: [1, 2]"),
                Problem(409, "load_under_way", "another model is just being loaded; GET /admin/models tells"),
                Problem(422, "model_refused", "reviews-gru/3: the scores of these weights are not finite"),
                *_UNAVAILABLE,
            ]
        ),
    },
}
