"""What ``POST /classify`` takes and gives, checked on the way in and documented on the way out."""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from app.http.explain import ExplanationEntry
from app.http.problems import Problem
from app.sentiment import ExplanationKind, Judgement

REVIEW = "A wonderful little film. The acting is superb and I loved every minute of it."
LONG_REVIEW = "Two hours of my life that I will not get back. Dull, loud and far too long!"


Document = TypeVar("Document", bound=BaseModel)


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)
"""Of an integer, behind its bounds: JSON and its schemas know no difference between 1 and 1.0."""


def not_null(schema: dict[str, Any]) -> None:
    # Null is only how this program says that a field was not given.
    del schema["default"]
    schema |= next(kind for kind in schema.pop("anyOf") if kind != {"type": "null"})


_EITHER: list[Any] = [{"required": ["text"]}, {"required": ["texts"]}]


class ClassifyRequest(BaseModel):
    """One text or several; exactly one of the two fields."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        json_schema_extra={
            # Exactly one of the two. As oneOf it would leave generated clients without a type for the body.
            "not": {"anyOf": [{"required": ["text", "texts"]}, {"not": {"anyOf": _EITHER}}]},
            "examples": [
                {"text": REVIEW},
                {"texts": [REVIEW, LONG_REVIEW]},
                {"text": REVIEW, "explain": ["sentences", "tokens", "curve"]},
            ],
        },
    )

    text: Annotated[str | None, Field(description="One review.", json_schema_extra=not_null)] = None
    # Fails fast: millions of wrong items would otherwise become millions of errors, gigabytes of them.
    texts: Annotated[
        Annotated[list[str], Field(fail_fast=True)] | None,
        Field(description="Several reviews.", min_length=1, json_schema_extra=not_null),
    ] = None
    explain: Annotated[
        Annotated[list[ExplanationKind], Field(fail_fast=True)] | None,
        Field(
            description="What to explain: any of sentences, tokens, curve.",
            min_length=1,
            max_length=3,
            json_schema_extra=not_null,
        ),
    ] = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        # A field that is null is a field that is given.
        if len(self.model_fields_set & {"text", "texts"}) != 1 or (self.text is None) == (self.texts is None):
            raise ValueError("exactly one of text and texts must be given")
        if "explain" in self.model_fields_set and self.explain is None:
            raise ValueError("explain must be a list where it is given")
        return self


class PredictionEntry(BaseModel):
    """The answer for one text."""

    label: Annotated[str, Field(description="The most probable class.", examples=["positive"])]
    score: Annotated[float, Field(description="Probability of that class.", ge=0, le=1)]
    scores: Annotated[dict[str, float], Field(description="Probability of every class; they add up to 1.")]
    tokens: Annotated[int, Field(description="Tokens in the whole text.", ge=1)]
    truncated: Annotated[bool, Field(description="Whether only head and tail of the text were read.")]
    cached: Annotated[bool, Field(description="Whether the answer came out of a cache.")]
    rating: Annotated[float | None, Field(description="Expected stars, where the model has them.", ge=1, le=10)] = None
    unknown: Annotated[float, Field(description="Share of the words that the model does not know.", ge=0, le=1)]
    judgement: Annotated[
        Judgement,
        Field(
            description="How far to trust the label: ok; unsure, where no class is probable enough; unreadable, where "
            "the text is hardly of words that the model knows, such as another language."
        ),
    ]
    explanation: Annotated[ExplanationEntry | None, Field(description="Where the request has explain.")] = None


class ErrorDetail(BaseModel):
    """Why one text has no prediction."""

    code: Annotated[str, Field(examples=["blank_text"])]
    detail: str
    status: Annotated[int, Field(description="The HTTP status the text would have had alone.", ge=400, le=599)]


class ErrorEntry(BaseModel):
    """The answer for one text that could not be classified."""

    error: ErrorDetail


class SingleResponse(PredictionEntry):
    """The answer to ``text``."""

    model: Annotated[str, Field(examples=["reviews-gru"])]
    version: Annotated[int, Field(examples=[1])]


class BatchResponse(BaseModel):
    """The answer to ``texts``: one entry per text, in order."""

    model: Annotated[str, Field(examples=["reviews-gru"])]
    version: Annotated[int, Field(examples=[1])]
    results: list[PredictionEntry | ErrorEntry]


class FieldError(BaseModel):
    """One invalid field of a request."""

    field: Annotated[str, Field(examples=["texts.3"])]
    message: str


class ProblemDocument(BaseModel):
    """Problem details (RFC 9457); the shape of every error."""

    type: Annotated[str, Field(examples=["urn:sentiment:problem:blank_text"])]
    title: str
    status: int
    detail: str
    code: Annotated[str, Field(description="Stable, machine-readable.", examples=["blank_text"])]
    errors: list[FieldError] | None = None
    request_id: str | None = None


class ModelEntry(BaseModel):
    """One version in the model store."""

    model: str
    version: int
    served: Annotated[bool, Field(description="Whether this is the version that answers.")]
    architecture: str
    labels: list[str]
    max_tokens: int
    rating: bool
    test_accuracy: Annotated[float | None, Field(description="On the test split, where it was measured.")] = None
    runtime: Annotated[str | None, Field(description="What computes; for the served version.")] = None
    precision: str | None = None
    device: str | None = None


class ModelsResponse(BaseModel):
    """All versions in the model store."""

    models: list[ModelEntry]


class ServedVersion(BaseModel):
    """What answers."""

    model: str
    version: int
    digest: Annotated[str, Field(description="Of everything that decides a score.")]
    label: Annotated[str | None, Field(description="By which it was asked for.")]
    since: Annotated[str, Field(description="RFC 3339, UTC.")]


class LoadAttempt(BaseModel):
    """One time that another version was to be served."""

    asked: Annotated[str, Field(description="NAME/VERSION or NAME@LABEL.")]
    by: Annotated[str, Field(description="Name of the key, or `label` where a label was moved.")]
    at: str
    outcome: Literal["under way", "served", "refused"]
    version: Annotated[str | None, Field(description="NAME/VERSION, once known.")] = None
    reason: Annotated[str | None, Field(description="Why it was refused.")] = None
    seconds: Annotated[float | None, Field(description="How long it took.")] = None


class AdminModels(BaseModel):
    """What is served, and the last attempts to serve something else, newest first."""

    served: ServedVersion
    attempts: list[LoadAttempt]


class FileColumns(BaseModel):
    """What the start of a file tells."""

    columns: list[str]
    text_column: Annotated[
        str | None, Field(description="The one that is classified if none is named; null: one must be named.")
    ]
    layout: Annotated[str | None, Field(description="What the file was found to be, for people.")]


class StatusResponse(BaseModel):
    """Answer of the health checks."""

    status: Annotated[str, Field(examples=["ok"])]


def parse_request(body: bytes, max_texts: int) -> ClassifyRequest:
    """Check a request body.

    Raises:
        Problem: 422, naming every invalid field, or the limit on the number of texts.
    """
    request = parse_document(ClassifyRequest, body)
    _refuse_repeated_fields(body)
    if request.texts is not None:
        check_count(len(request.texts), max_texts, "texts")
    return request


def parse_document(model: type[Document], body: bytes) -> Document:
    """A JSON document as a model. Some programs begin what they write by a byte order mark, which may be passed over
    (RFC 8259, section 8.1).

    Raises:
        Problem: 422, naming every invalid field.
    """
    try:
        return model.model_validate_json(body.removeprefix(BOM_UTF8))
    except ValidationError as error:
        raise _invalid(error) from None


def check_count(count: int, limit: int, field: str) -> None:
    """Hold the number of texts within its limit.

    Raises:
        Problem: 422, naming field and limit.
    """
    if count > limit:
        message = f"has {count} texts; the limit is {limit}"
        raise Problem(422, "too_many_texts", f"{field}: {message}", [{"field": field, "message": message}])


_FIELD = re.compile(rb'"\s*:')
_NAMES = (b'"text', b'"explain')
_ESCAPED_LETTERS = (b"\\u006", b"\\u007")
_BACKSLASH = ord("\\")


def _refuse_repeated_fields(body: bytes) -> None:
    """A repeated field is a mistake whose outcome would depend on the parser (RFC 8259, section 4).

    Raises:
        Problem: 422, naming the field.
    """
    if _is_one_list(body):
        return
    # Known names cannot be repeated without two of these; escaped letters in names are not to be expected.
    if sum(map(body.count, _NAMES)) <= 1 and not any(letters in body for letters in _ESCAPED_LETTERS):
        return
    # A quotation mark inside a text is escaped. Where there are two fields, the slow parser decides.
    if sum(not _is_escaped(body, found.start()) for found in _FIELD.finditer(body)) > 1:
        json.loads(body, object_pairs_hook=_distinct)


_LIST_STARTS = (b'{"texts": [', b'{"texts":[')
_SPACE = b" \t\r\n"
_LOOK_AHEAD = 16


def _is_one_list(body: bytes) -> bool:
    """Whether a valid document is plainly nothing but a list of texts: no field follows any bracket.

    Most large bodies are, and looking at their brackets takes a tenth of the time of looking for names.
    """
    if not body.startswith(_LIST_STARTS):
        return False
    at = body.find(b"]")
    while at >= 0:
        follows = body[at + 1 : at + 1 + _LOOK_AHEAD].lstrip(_SPACE)
        # Of a field there would be a comma and a quotation mark; behind much white space anything may come.
        if not follows.strip(_SPACE + b",") and at + 1 + _LOOK_AHEAD < len(body):
            return False
        if follows.startswith(b",") and follows[1:].lstrip(_SPACE).startswith(b'"'):
            return False
        at = body.find(b"]", at + 1)
    return True


def _is_escaped(body: bytes, at: int) -> bool:
    """Whether an odd number of backslashes stands before this place."""
    first = at
    while first and body[first - 1] == _BACKSLASH:
        first -= 1
    return (at - first) % 2 == 1


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            message = "must not be given twice"
            raise Problem(
                422, "invalid_request", f"{name[:200]}: {message}", [{"field": name[:200], "message": message}]
            )
        fields[name] = value
    return fields


_MOST_ERRORS = 20
"""Errors that are named one by one; naming millions would cost seconds and gigabytes."""


def _invalid(error: ValidationError) -> Problem:
    if error.error_count() > _MOST_ERRORS:
        message = f"has {error.error_count()} invalid fields"
        return Problem(422, "invalid_request", f"body: {message}", [{"field": "body", "message": message}])
    items = error.errors(include_url=False, include_context=False, include_input=False)
    errors = []
    for item in items:
        where = ".".join(map(str, item["loc"])) or "body"
        errors.append({"field": where[:200], "message": _message(item)})
    code = "invalid_json" if items[0]["type"] == "json_invalid" else "invalid_request"
    return Problem(422, code, f"{errors[0]['field']}: {errors[0]['message']}", errors)


def _message(item: Any) -> str:
    if item["type"] == "extra_forbidden":
        return "unknown field"
    return str(item["msg"]).removeprefix("Value error, ")
