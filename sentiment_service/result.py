"""What is said of one text. The names are those of the HTTP answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from app.errors import ServiceError, TextError
from app.sentiment import Judgement


@dataclass(frozen=True, slots=True)
class Result:
    """What is said of a text.

    Attributes:
        label: the most probable class.
        score: its probability, calibrated: how sure the answer is.
        scores: the probability of every class.
        rating: expected star rating, where the model has that output.
        unknown: share of the words that the model does not know.
        judgement: how far to trust the label: ``ok``; ``unsure``, where no class is probable enough; ``unreadable``,
            where the text is hardly of words that the model knows.
        tokens: number of tokens the whole text has.
        truncated: whether the network read only a part of it.
        model: name of the model.
        version: its version.
    """

    label: str
    score: float
    scores: Mapping[str, float]
    rating: float | None
    unknown: float
    judgement: Judgement
    tokens: int
    truncated: bool
    model: str
    version: int
    error: ClassVar[None] = None


@dataclass(frozen=True, slots=True)
class Unclassified:
    """In the place of a ``Result`` among many, where a text cannot be classified; its values are None.

    Attributes:
        error: why; ``error.code`` is the same word as in the HTTP answer.
    """

    error: TextError | ServiceError
    label: ClassVar[None] = None
    score: ClassVar[None] = None
    scores: ClassVar[None] = None
    rating: ClassVar[None] = None
    unknown: ClassVar[None] = None
    judgement: ClassVar[None] = None
    tokens: ClassVar[None] = None
    truncated: ClassVar[None] = None
    model: ClassVar[None] = None
    version: ClassVar[None] = None


Outcome = Result | Unclassified
"""What one of many texts gets. ``error`` is None for a ``Result``, and only for one."""

_COLUMNS = ("label", "score", "rating", "tokens", "truncated", "unknown", "judgement")


def columns(results: Iterable[Outcome]) -> dict[str, list[Any]]:
    """The columns that ``sentiment classify`` adds to a file, for a data frame, ``df.assign(**columns(results))``, or a
    table, ``pyarrow.table(columns(results))``."""
    rows = list(results)
    values: dict[str, list[Any]] = {name: [getattr(row, name) for row in rows] for name in _COLUMNS}
    return {**values, "error": [None if row.error is None else row.error.code for row in rows]}


def given(outcome: Outcome) -> Result:
    """A result.

    Raises:
        TextError: the text cannot be classified.
        ServiceError: its forward pass failed.
    """
    if outcome.error is not None:
        raise outcome.error
    return outcome
