"""Texts of long requests, which are computed and answered together: one object for many texts.

What a text costs beyond its forward pass (an object here, one there, a place in a queue) is little, and as much as the
forward pass itself where there are hundreds of them in a request.
"""

from __future__ import annotations

import asyncio
import math
from array import array
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from app.engine.ticket import Ticket
from app.errors import InferenceError
from app.sentiment import SCORE_TYPECODE, ScoreTable, TablePredictor, TextTable


class TableEntry(Ticket[ScoreTable]):
    """A waiting table of texts, and the promise of their scores; cancelled when nobody waits for it any more.

    Args:
        table: the texts.
        deadline: ``time.monotonic()`` after which nobody wants them.
        arrived: ``time.monotonic()`` when they came.
        given_up: called when it is cancelled.
    """

    __slots__ = ("_on_given_up", "arrived", "deadline", "table")

    def __init__(
        self, table: TextTable, deadline: float, arrived: float, given_up: Callable[[TableEntry], None]
    ) -> None:
        super().__init__()
        self.table = table
        self.deadline = deadline
        self.arrived = arrived
        self._on_given_up = given_up

    def on_done(self) -> None:
        if self._given_up:
            self._on_given_up(self)

    def wanted(self, now: float) -> bool:
        """Whether somebody waits and there is time. Safe to ask from any thread."""
        return not self.done() and self.deadline > now


class TableQueue:
    """Waiting tables, oldest first.

    Attributes:
        texts: texts of all of them together.
        tokens: tokens of all of them together.
    """

    def __init__(self) -> None:
        self.texts = self.tokens = 0
        self._entries: OrderedDict[int, TableEntry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: TableEntry) -> None:
        """Append a table."""
        self._entries[id(entry)] = entry
        self.texts += len(entry.table.lengths)
        self.tokens += len(entry.table.ids)

    def remove(self, entry: TableEntry) -> bool:
        """Take a table out, wherever it stands; whether it was there."""
        if self._entries.pop(id(entry), None) is None:
            return False
        self.texts -= len(entry.table.lengths)
        self.tokens -= len(entry.table.ids)
        return True

    def take(self) -> TableEntry | None:
        """Take the oldest table out."""
        entry = next(iter(self._entries.values()), None)
        if entry is not None:
            self.remove(entry)
        return entry


def gather(parts: Sequence[Ticket], whole: Ticket[ScoreTable]) -> None:
    """Let ``whole`` have the scores of its texts as soon as each of them has its own.

    A text that fails by itself has numbers that are not finite; any other failure is that of all.

    Args:
        parts: a ticket for each text, in order; cancelled where ``whole`` is.
        whole: what they make up.
    """
    left = len(parts)

    def count(_: Ticket[Any]) -> None:
        nonlocal left
        left -= 1
        if not left:
            _assemble(parts, whole)

    def forward(ticket: Ticket[Any]) -> None:
        if ticket.cancelled():
            for part in parts:
                part.cancel()

    whole.add_done_callback(forward)
    for part in parts:
        part.add_done_callback(count)


def _assemble(parts: Sequence[Ticket], whole: Ticket[ScoreTable]) -> None:
    if whole.done():
        return
    scores = [part.scores for part in parts]
    for part in parts:
        if part.scores is None and not isinstance(error := part.exception(), InferenceError):
            whole.set_exception(error or RuntimeError("a text is done and nothing became of it"))
            return
    known = next((found for found in scores if found is not None), None)
    if known is None:
        whole.set_exception(InferenceError("the forward pass failed for these texts"))
        return
    failed = known._replace(probabilities=(math.nan,) * len(known.probabilities))
    rows = [found or failed for found in scores]
    probabilities = array(SCORE_TYPECODE, [number for row in rows for number in row.probabilities])
    ratings = array(SCORE_TYPECODE, [row.rating for row in rows if row.rating is not None])
    whole.set_result(ScoreTable(probabilities, ratings, known.computed))


class TimedTable(NamedTuple):
    """A table's scores, when it was computed, and whether others waited behind it."""

    scores: ScoreTable
    started: float
    ended: float
    saturated: bool


class TableLane:
    """Tables that one predictor computes or is about to, two at the most.

    Attributes:
        predictor: computes them.
        tables: each with its future, the one at work first.
    """

    def __init__(self, predictor: TablePredictor) -> None:
        self.predictor = predictor
        self.tables: deque[tuple[TableEntry, asyncio.Future[TimedTable | None]]] = deque()
