"""What /openapi.json says of the operations under ``/admin``."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from app.http.admin_schemas import AdminModels, CanaryShare, ShadowShare
from app.http.openapi.parts import body, example, operation, parameter, reference, responses
from app.http.openapi.texts import unread
from app.http.problems import Problem, invalid

MOST_BYTES = 65_536
"""Of the body of an order."""
_SERVED = {
    "model": "reviews-gru",
    "version": 3,
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
            "version": "reviews-gru/3",
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


def _operation(name: str, *refusals: Problem, **more: Any) -> dict[str, Any]:
    errors = responses([NO_KEYS, *refusals, *_UNAVAILABLE])
    return operation("models", name, body(example(_EXAMPLE)), errors, response_model=AdminModels, **more)


_REFERENCE = [
    parameter("name", "The model.", {"type": "string"}, "reviews-gru", "path"),
    parameter("version", "Number of a version, or a label.", {"type": "string"}, "champion", "path"),
]
_NOT_FOUND = Problem(404, "model_not_found", "reviews-gru: no version 9; there are: [1, 2]")
_UNDER_WAY = Problem(409, "load_under_way", "another order is under way; GET /admin/models tells")
_REFUSED = Problem(422, "model_refused", "reviews-gru/3: the scores of these weights are not finite")

SERVED = _operation("served_models")
LOAD = _operation("load_model", _NOT_FOUND, _UNDER_WAY, _REFUSED, parameters=_REFERENCE)
LOAD_BESIDE = _operation(
    "load_model_beside",
    _NOT_FOUND,
    _UNDER_WAY,
    Problem(409, "too_many_models", "4 versions are loaded, and the limit is 4; unload one first"),
    _REFUSED,
    parameters=_REFERENCE,
)
UNLOAD = _operation(
    "unload_model",
    Problem(404, "model_not_found", "reviews-gru/9 is not loaded; loaded are: reviews-gru/3, imdb-gru/4"),
    _UNDER_WAY,
    Problem(409, "model_is_served", "reviews-gru/3 is what is served; load another in its place first"),
    Problem(409, "model_has_share", "imdb-gru/4 10 % are its own, as canary or as shadow; set that to 0 first"),
    parameters=_REFERENCE,
)


def _share(name: str, schema: type[BaseModel], percent: int, refused: str) -> dict[str, Any]:
    return _operation(
        name,
        Problem(404, "model_not_found", "reviews-gru/1 is not loaded beside what is served; load it first"),
        _UNDER_WAY,
        *unread(MOST_BYTES),
        invalid("invalid_request", "percent", "Input should be less than or equal to 100"),
        Problem(422, "model_refused", refused),
        parameters=_REFERENCE,
        given=body(example({"percent": percent}), reference(schema)),
    )


CANARY = _share(
    "set_canary",
    CanaryShare,
    10,
    "imdb-gru/4 answers otherwise than reviews-gru/3, which clients may rely on: ...",
)
SHADOW = _share("set_shadow", ShadowShare, 100, "nothing that they say can be compared: ...")
