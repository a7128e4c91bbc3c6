"""``explain`` in ``POST /classify``: its bounds, its answers, their schema."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated

import orjson
from pydantic import BaseModel, Field

from app.errors import ExplainerUnavailableError, ServiceError
from app.http.problems import invalid
from app.sentiment import ExplanationKind, Outcome, Prediction
from app.serving.classifier import Classifier
from app.serving.explanations import ExplanationRequest, Explanations
from app.settings import Settings


class Part(BaseModel):
    """A part of a text."""

    start: Annotated[int, Field(description="Index of the first code point.", ge=0)]
    end: Annotated[int, Field(description="Index after the last code point.", ge=1)]


class SentenceEntry(Part):
    """One sentence, scored as a text of its own."""

    label: str
    score: Annotated[float, Field(ge=0, le=1)]
    scores: dict[str, float]


class TokenEntry(Part):
    """One word that the network read."""

    attribution: Annotated[float, Field(description="What it added to the log-odds of the label.")]


class LogOdds(BaseModel):
    """Logarithm of score / (1 - score); the attributions add up to ``text - baseline``."""

    baseline: Annotated[float, Field(description="Of the label, for a text whose every embedding is zero.")]
    text: Annotated[float, Field(description="Of the label, for this text.")]


class CurvePoint(Part):
    """What the network would say if the text ended with this word."""

    score: Annotated[float, Field(description="Probability of the label of the whole text.", ge=0, le=1)]


class MentionEntry(Part):
    """Where an aspect is named."""

    said: Annotated[Part, Field(description="The part of the text that is about it.")]


class AspectEntry(BaseModel):
    """What is said about one aspect, scored as a text of its own; the mean, where it is named several times."""

    aspect: Annotated[str, Field(description="As it was asked for, else as it is called, in small letters.")]
    label: str
    score: Annotated[float, Field(ge=0, le=1)]
    scores: dict[str, float]
    mentions: list[MentionEntry]


class ExplanationEntry(BaseModel):
    """What ``explain`` asked for. Offsets count Unicode code points, as Python does; JavaScript counts UTF-16 units."""

    sentences: Annotated[list[SentenceEntry] | None, Field(description="In order; those without a word left out.")] = (
        None
    )
    tokens: Annotated[list[TokenEntry] | None, Field(description="In order; those that were not read left out.")] = None
    log_odds: LogOdds | None = None
    curve: Annotated[list[CurvePoint] | None, Field(description="In reading order.")] = None
    aspects: Annotated[
        list[AspectEntry] | None,
        Field(description="In the order asked for, else of the text."),
    ] = None


EXAMPLE = {
    "sentences": [
        {
            "start": 0,
            "end": 10,
            "label": "negative",
            "score": 0.947,
            "scores": {"negative": 0.947, "neutral": 0.045, "positive": 0.008},
        },
        {
            "start": 11,
            "end": 20,
            "label": "positive",
            "score": 0.911,
            "scores": {"negative": 0.025, "neutral": 0.064, "positive": 0.911},
        },
    ],
    "tokens": [
        {"start": 0, "end": 4, "attribution": 2.544},
        {"start": 5, "end": 9, "attribution": 1.067},
        {"start": 11, "end": 15, "attribution": -1.398},
        {"start": 16, "end": 19, "attribution": 0.107},
    ],
    "log_odds": {"baseline": -0.834, "text": 1.485},
    "curve": [
        {"start": 0, "end": 4, "score": 0.889},
        {"start": 5, "end": 9, "score": 0.947},
        {"start": 11, "end": 15, "score": 0.865},
        {"start": 16, "end": 19, "score": 0.815},
    ],
}
"""For the OpenAPI document."""


def check_bounds(texts: Sequence[str], field: str, settings: Settings) -> None:
    """Refuse what is too much to explain at once.

    Raises:
        Problem: 422, naming the limit.
    """
    characters = sum(map(len, texts))
    if len(texts) > settings.explain_max_texts:
        message = f"has {len(texts)} texts; with explain the limit is {settings.explain_max_texts}"
    elif characters > settings.explain_max_characters:
        message = f"has {characters} characters; with explain the limit is {settings.explain_max_characters}"
    else:
        return
    raise invalid("too_much_to_explain", field, message)


async def classify_and_explain(
    classifier: Classifier,
    explanations: Explanations | None,
    texts: Sequence[str],
    kinds: Sequence[ExplanationKind],
    timeout: float,
    aspects: Sequence[str] = (),
) -> tuple[list[Outcome], list[orjson.Fragment | None]]:
    """The outcomes that the texts would have without ``explain``, and the explanation of each prediction.

    A text that cannot be explained gets the reason as its outcome. One is asked for after the other, so that a large
    request takes turns with small ones.
    """
    deadline = time.monotonic() + timeout
    outcomes = await classifier.classify(texts, timeout=timeout)
    found: list[orjson.Fragment | None] = [None] * len(texts)
    failed: ServiceError | None = None
    if explanations is None:
        failed = ExplainerUnavailableError("the service is starting", retry_after=1.0)
    for index, (text, outcome) in enumerate(zip(texts, outcomes, strict=True)):
        if not isinstance(outcome, Prediction):
            continue
        if failed is None and explanations is not None:
            target = outcome.probabilities.index(max(outcome.probabilities))
            try:
                explained = await explanations.explain(ExplanationRequest(text, kinds, target, deadline, aspects))
                found[index] = orjson.Fragment(explained)
                continue
            except ServiceError as error:
                failed = error
        if failed is not None:
            outcomes[index] = failed
    return outcomes, found
