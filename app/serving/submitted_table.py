"""Texts of one long request that are submitted to the engine as one table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import repeat

from app.engine.ticket import Ticket
from app.errors import DeadlineError, InferenceError, ServiceError
from app.sentiment import EncodingTable, Outcome, ScoreTable, Thresholds, prediction_of_counts

Wanted = dict[bytes | int, list[int]]
"""Places of equal texts in a request by their cache key, or by the first of the places where there are no keys."""

LONG_REQUEST = 8
"""Texts from which on a request goes in tables, by any thread: fewer are better mixed with those of others."""
MOST_TEXTS = 64
"""Texts of one table: a long request has work for every thread of the engine, and others get their turn."""
_FIRST_TEXTS, _FEWEST_TEXTS, _SHARE = 16, 16, 4


class SubmittedTable:
    """Texts that were submitted as one table.

    Args:
        wanted: their cache keys, or what stands for one, and their places in the request; in the order of the table.
        encoded: the texts after tokenizing, each with words.
        ticket: the promise of their scores.
    """

    __slots__ = ("_encoded", "_wanted", "ticket")

    def __init__(self, wanted: Wanted, encoded: EncodingTable, ticket: Ticket[ScoreTable]) -> None:
        self._wanted = wanted
        self._encoded = encoded
        self.ticket = ticket

    @property
    def texts(self) -> int:
        """How many there are."""
        return len(self._encoded.kept)

    def outcomes(self, classes: int, thresholds: Thresholds) -> Iterator[tuple[bytes | int, list[int], Outcome]]:
        """Keys and places of the texts of a table that has its scores, and what became of each."""
        scores = self.ticket.result()
        # A flat matrix, cut into rows.
        rows = zip(*[iter(scores.probabilities)] * classes, strict=True)
        encoded = self._encoded
        ratings: Iterable[float | None] = scores.ratings or repeat(None, self.texts)
        counts = zip(encoded.kept, encoded.tokens, encoded.words, encoded.unknown, encoded.foreign, strict=True)
        for (key, indices), (kept, tokens, words, unknown, foreign), probabilities, rating in zip(
            self._wanted.items(), counts, rows, ratings, strict=True
        ):
            if math.isfinite(sum(probabilities)):
                prediction = prediction_of_counts(
                    probabilities, rating, tokens, kept < tokens, words, unknown, foreign, thresholds
                )
                yield key, indices, prediction
            else:
                yield key, indices, InferenceError("the forward pass failed for this text")

    def fail(self, outcomes: list[Outcome | None]) -> None:
        """Fill in what became of a table without scores: one that is not done is late."""
        failure: Exception | None
        if not self.ticket.done() or self.ticket.cancelled():
            failure = DeadlineError("the deadline passed before the text was classified")
        else:
            failure = self.ticket.exception()
        if not isinstance(failure, ServiceError):
            raise failure or RuntimeError("texts are done and nothing became of them")
        for indices in self._wanted.values():
            for index in indices:
                outcomes[index] = failure


def size_of_next(taken: int, left: int) -> int:
    """Texts of the next table of a request, of which so many are in tables and so many are left.

    Few in the first, so that the engine soon has something to do, and towards the end, so that its threads finish at
    about the same time (guided self-scheduling, Polychronopoulos and Kuck 1987).
    """
    return min(MOST_TEXTS, max(_FEWEST_TEXTS, left // _SHARE)) if taken else _FIRST_TEXTS
