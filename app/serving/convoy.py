"""Texts of one long request on their way through the engine together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from app.errors import DeadlineError, InferenceError, ServiceError
from app.sentiment import EncodingTable, Prediction, ScoreTable, TextTable
from app.serving.flights import Outcome
from app.serving.ticket import Ticket

LONG_REQUEST = 32
"""Texts from which on a request goes in tables: fewer are better mixed with those of others."""
MOST_TEXTS = 64
"""Texts of one table: a long request has work for every thread of the engine, and others get their turn."""
_FEWEST_TEXTS, _SHARE = 24, 4


class Rider(NamedTuple):
    """One text of a convoy.

    Attributes:
        key: its cache key, where it has one.
        indices: its places in the request.
        tokens: number of tokens of the whole text.
        truncated: whether some were left out.
    """

    key: bytes | None
    indices: list[int]
    tokens: int
    truncated: bool


class Convoy:
    """Texts that were submitted as one table.

    Attributes:
        riders: the texts, in the order of the table.
        ticket: the promise of their scores.
    """

    __slots__ = ("riders", "ticket")

    def __init__(self, riders: list[Rider], ticket: Ticket[ScoreTable]) -> None:
        self.riders = riders
        self.ticket = ticket

    def outcomes(self, classes: int) -> Iterator[tuple[Rider, Outcome]]:
        """The riders of a convoy that has its scores, and what became of each."""
        scores = self.ticket.result()
        # A flat matrix, cut into rows.
        rows = zip(*[iter(scores.probabilities)] * classes, strict=True)
        ratings: Sequence[float | None] = scores.ratings or [None] * len(self.riders)
        for rider, probabilities, rating in zip(self.riders, rows, ratings, strict=True):
            if math.isfinite(sum(probabilities)):
                yield rider, Prediction(probabilities, rider.tokens, rider.truncated, False, rating)
            else:
                yield rider, InferenceError("the forward pass failed for this text")

    def fail(self, outcomes: list[Outcome | None]) -> None:
        """Fill in what became of a convoy without scores: one that has not arrived is late."""
        failure: Exception | None
        if not self.ticket.done() or self.ticket.cancelled():
            failure = DeadlineError("the deadline passed before the text was classified")
        else:
            failure = self.ticket.exception()
        if not isinstance(failure, ServiceError):
            raise failure or RuntimeError("texts are done and nothing became of them")
        for rider in self.riders:
            for index in rider.indices:
                outcomes[index] = failure


def size_of_next(left: int) -> int:
    """Texts of the next table of a request, of which so many are left.

    Fewer towards the end, so that the engine's threads finish at about the same time (guided self-scheduling,
    Polychronopoulos and Kuck 1987).
    """
    return min(MOST_TEXTS, max(_FEWEST_TEXTS, left // _SHARE))


def loaded(wanted: dict[bytes | int, list[int]], encodings: EncodingTable) -> tuple[TextTable, list[Rider]]:
    """The table of those texts that have words, and its riders.

    Args:
        wanted: keys and places of texts.
        encodings: theirs, in the same order.
    """
    riders = [
        Rider(key if isinstance(key, bytes) else None, indices, tokens, kept < tokens)
        for (key, indices), tokens, kept in zip(wanted.items(), encodings.tokens, encodings.kept, strict=True)
        if kept
    ]
    return TextTable(encodings.ids, [kept for kept in encodings.kept if kept]), riders
