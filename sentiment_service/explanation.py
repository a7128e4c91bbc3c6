"""Why a text got its label. The names are those of the HTTP answer; see docs/explanations.md for what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sentiment_service.result import Result


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence, and what it would be called as a text of its own.

    Attributes:
        start, end: where it is: ``text[start:end]``.
        text: that.
        label, score, scores: see ``Result``.
    """

    start: int
    end: int
    text: str
    label: str
    score: float
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Token:
    """A word, and what it did to the answer.

    Attributes:
        start, end, text: see ``Sentence``.
        attribution: log-odds that it adds to those of the label; below zero it speaks against it.
    """

    start: int
    end: int
    text: str
    attribution: float


@dataclass(frozen=True, slots=True)
class Point:
    """A word, and the probability of the label if the text ended with it.

    Attributes:
        start, end, text: see ``Sentence``.
        score: that probability.
    """

    start: int
    end: int
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class Mention:
    """Where an aspect is named.

    Attributes:
        start, end, text: see ``Sentence``.
        said: the part of the text that is about it.
    """

    start: int
    end: int
    text: str
    said: str


@dataclass(frozen=True, slots=True)
class Aspect:
    """Something that the text speaks of, and what that part would be called as a text of its own.

    Attributes:
        aspect: as it was asked for, else as it is called, in small letters.
        label, score, scores: see ``Result``; the mean, where it is named several times.
        mentions: where it is named.
    """

    aspect: str
    label: str
    score: float
    scores: Mapping[str, float]
    mentions: tuple[Mention, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a text got its label; what was not asked for is empty.

    Attributes:
        result: the plain answer.
        sentences, tokens, curve: its parts, in reading order.
        log_odds: of the label: of the ``text``, and of the ``baseline`` that attributions are counted from; empty
            without tokens.
        aspects: what the text speaks of.
    """

    result: Result
    sentences: tuple[Sentence, ...]
    tokens: tuple[Token, ...]
    curve: tuple[Point, ...]
    log_odds: Mapping[str, float]
    aspects: tuple[Aspect, ...]


def explanation_of(text: str, result: Result, found: Mapping[str, Any]) -> Explanation:
    """An explanation as the HTTP answer has it, in Python's terms."""

    def parts(kind: str) -> list[dict[str, Any]]:
        return [{**part, "text": text[part["start"] : part["end"]]} for part in found.get(kind, ())]

    return Explanation(
        result,
        tuple(Sentence(**part) for part in parts("sentences")),
        tuple(Token(**part) for part in parts("tokens")),
        tuple(Point(**part) for part in parts("curve")),
        found.get("log_odds", {}),
        tuple(_aspect_of(text, entry) for entry in found.get("aspects", ())),
    )


def _aspect_of(text: str, entry: Mapping[str, Any]) -> Aspect:
    def within(part: Mapping[str, int]) -> str:
        return text[part["start"] : part["end"]]

    mentions = [Mention(it["start"], it["end"], within(it), within(it["said"])) for it in entry["mentions"]]
    return Aspect(entry["aspect"], entry["label"], entry["score"], entry["scores"], tuple(mentions))
