"""What ``POST /classify`` takes and gives, checked on the way in and documented on the way out."""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from app.http.explain import ExplanationEntry
from app.sentiment import ExplanationKind, Judgement

REVIEW = "A wonderful little film. The acting is superb and I loved every minute of it."
LONG_REVIEW = "Two hours of my life that I will not get back. Dull, loud and far too long!"


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


MOST_ASPECTS = 50
LONGEST_ASPECT = 100
"""Characters."""
WHOLE = BeforeValidator(_whole)
"""Of an integer, behind its bounds: JSON and its schemas know no difference between 1 and 1.0."""


def not_null(schema: dict[str, Any]) -> None:
    # Null is only how this program says that a field was not given.
    del schema["default"]
    schema |= next(kind for kind in schema.pop("anyOf") if kind != {"type": "null"})


_LANGUAGE_TAG = r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,4}$"


def _language_tag(value: str) -> str:
    if re.fullmatch(_LANGUAGE_TAG, value) is None:
        raise ValueError("must be the tag of one language (BCP 47), such as en or pt-BR")
    return value


def _as_language_tag(schema: dict[str, Any]) -> None:
    not_null(schema)
    schema["pattern"] = _LANGUAGE_TAG


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
                {"text": REVIEW, "explain": ["aspects"], "aspects": ["acting", "plot"]},
                {"text": REVIEW, "model": "imdb-gru"},
                {"text": "Ein wunderbarer Film.", "language": "de"},
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
            description="What to explain: any of sentences, tokens, curve, aspects.",
            min_length=1,
            max_length=4,
            json_schema_extra=not_null,
        ),
    ] = None

    aspects: Annotated[
        Annotated[list[Annotated[str, Field(min_length=1, max_length=LONGEST_ASPECT)]], Field(fail_fast=True)] | None,
        Field(
            description="Where explain has aspects: what to look for. Without it, what the text speaks of.",
            min_length=1,
            max_length=MOST_ASPECTS,
            json_schema_extra=not_null,
        ),
    ] = None

    model: Annotated[
        str | None,
        Field(
            description="What is to answer, of what is loaded: NAME, NAME/VERSION or NAME@LABEL. Without it, what is "
            "served.",
            min_length=1,
            max_length=200,
            json_schema_extra=not_null,
        ),
    ] = None

    language: Annotated[
        Annotated[str, AfterValidator(_language_tag)] | None,
        Field(
            description="Of the texts, where it is known, as a tag of BCP 47. Models read English: of texts in another "
            "language the judgement is unreadable, whatever their words.",
            json_schema_extra=_as_language_tag,
        ),
    ] = None

    @property
    def foreign(self) -> bool:
        """Whether the texts are said to be of a language that no model reads."""
        return self.language is not None and self.language.lower().partition("-")[0] not in ("en", "eng")

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = self.model_fields_set
        # A field that is null is a field that is given.
        if len(given & {"text", "texts"}) != 1 or (self.text is None) == (self.texts is None):
            raise ValueError("exactly one of text and texts must be given")
        if len(given) == 1:
            return self
        if "explain" in given and self.explain is None:
            raise ValueError("explain must be a list where it is given")
        if "aspects" in given and (self.aspects is None or "aspects" not in (self.explain or ())):
            raise ValueError('aspects must be a list, where explain has "aspects"')
        if "model" in given and self.model is None:
            raise ValueError("model must be a text where it is given")
        if "language" in given and self.language is None:
            raise ValueError("language must be a string where it is given")
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
    served: Annotated[bool, Field(description="Whether this is the version that answers where no model is named.")]
    loaded: Annotated[bool, Field(description="Whether it answers where it is named.")]
    architecture: str
    labels: list[str]
    max_tokens: int
    rating: bool
    test_accuracy: Annotated[float | None, Field(description="On the test split, where it was measured.")] = None
    runtime: Annotated[str | None, Field(description="What computes; for loaded versions.")] = None
    precision: str | None = None
    device: str | None = None


class ModelsResponse(BaseModel):
    """All versions in the model store, and what else who asks can do here."""

    models: list[ModelEntry]
    feedback: Annotated[
        bool,
        Field(
            description="Whether who asks may send feedback: some is kept here, and the key, if any, has that scope."
        ),
    ]


class FileColumns(BaseModel):
    """What the start of a file tells."""

    columns: list[str]
    text_column: Annotated[
        str | None, Field(description="The one that is classified if none is named; null: one must be named.")
    ]
    layout: Annotated[str, Field(description="What the file was found to be, for people.")]
    delimiter: Annotated[str | None, Field(description="Between the values of CSV and TSV; null in other formats.")]
    rows: Annotated[list[list[str]], Field(description="The first rows, in the order of the columns, shortened.")]


class StatusResponse(BaseModel):
    """Answer of the health checks."""

    status: Annotated[str, Field(examples=["ok"])]
