"""``POST /predict`` of text-embeddings-inference, and the same below ``/models/NAME``, a server for each model.

Source: ``router/src/http`` of text-embeddings-inference: a string or a list of one string is answered by a flat list, a
list of such lists by a list of lists; a list of two strings is a pair for models that compare, which this is not.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag
from starlette.responses import Response
from starlette.types import Receive, Scope

from app.http.compat.call import CompatEndpoint, json_response, judgement_header, ranked
from app.http.json_body import check_count, parse_document
from app.http.problems import Problem, invalid
from app.http.schemas import REVIEW
from app.sentiment import Prediction

ErrorType = Literal["Unhealthy", "Backend", "Overloaded", "Validation", "Tokenizer", "Empty"]

_ERRORS: dict[str, tuple[int, ErrorType]] = {
    "overloaded": (429, "Overloaded"),
    "engine_unavailable": (503, "Unhealthy"),
    "inference_failed": (424, "Backend"),
    "blank_text": (400, "Empty"),
    "no_words": (422, "Tokenizer"),
}
"""Status and type of problems by code, where status and kind of the problem do not already say it."""


def _form(value: Any) -> str | None:
    if isinstance(value, str):
        return "text"
    if not isinstance(value, list):
        return None
    return "batch" if value and isinstance(value[0], list) else "sequence"


def _capitalized(value: Any) -> Any:
    return value.capitalize() if value in ("left", "right") else value


def _one(texts: list[str]) -> list[str]:
    if len(texts) != 1:
        raise ValueError(
            "must hold exactly 1 text, because several are a pair in this protocol and this model compares none; "
            "a batch is a list of lists of 1 text"
        )
    return texts


TextList = Annotated[
    list[str],
    Field(fail_fast=True),
    AfterValidator(_one),
    Field(json_schema_extra={"minItems": 1, "maxItems": 1}),
]


class PredictRequest(BaseModel):
    """One text or a batch."""

    model_config = ConfigDict(
        strict=True, json_schema_extra={"examples": [{"inputs": REVIEW}, {"inputs": [[REVIEW]], "raw_scores": True}]}
    )

    inputs: Annotated[
        Annotated[str, Tag("text")]
        | Annotated[TextList, Tag("sequence")]
        | Annotated[list[TextList], Field(fail_fast=True), Tag("batch")],
        Discriminator(_form, "inputs", "must be a text, a list of 1 text, or a list of such lists"),
        Field(description="A text, a list of one, or a batch of such lists."),
    ]
    truncate: Annotated[
        bool | None, Field(description="False refuses texts that are longer than the network reads.")
    ] = None
    truncation_direction: Annotated[
        Literal["Left", "Right"],
        BeforeValidator(_capitalized),
        Field(description="Without effect: of a long text the network reads head and tail."),
    ] = "Right"
    raw_scores: Annotated[bool, Field(description="Natural logarithms of the probabilities instead.")] = False


class PredictScore(BaseModel):
    """One class of a text."""

    label: Annotated[str, Field(examples=["positive"])]
    score: float


class PredictError(BaseModel):
    """Why there is no answer."""

    error: str
    error_type: ErrorType


class PredictEndpoint(CompatEndpoint):
    """Answers ``POST /predict``, and the same of a model that the path names."""

    async def respond(self, scope: Scope, receive: Receive) -> Response:
        version = self.version(scope)
        request = parse_document(PredictRequest, await self.body(scope, receive))
        single = isinstance(request.inputs, str) or isinstance(request.inputs[0], str)
        items = [request.inputs] if isinstance(request.inputs, str) else request.inputs
        texts = [item if isinstance(item, str) else item[0] for item in items]
        check_count(len(texts), self.settings.max_texts, "inputs")
        model, predictions = await self.classify(texts, scope, receive, "inputs", version=version)
        if request.truncate is False:
            _refuse_truncated(predictions, model.config.max_tokens)
        labels = model.config.labels
        answers = [ranked(prediction, labels, logarithms=request.raw_scores) for prediction in predictions]
        return json_response(answers[0] if single else answers, headers=judgement_header(predictions))

    @staticmethod
    def refuse(problem: Problem) -> Response:
        fallback: ErrorType = "Validation" if problem.status < HTTPStatus.INTERNAL_SERVER_ERROR else "Backend"
        status, kind = _ERRORS.get(problem.code, (problem.status, fallback))
        return json_response({"error": problem.detail, "error_type": kind}, status, problem.headers)


def _refuse_truncated(predictions: list[Prediction], limit: int) -> None:
    for index, prediction in enumerate(predictions):
        if prediction.truncated:
            field = "inputs" if len(predictions) == 1 else f"inputs.{index}"
            message = f"has {prediction.tokens} tokens; the limit is {limit} where truncate is false"
            raise invalid("text_too_long", field, message)
