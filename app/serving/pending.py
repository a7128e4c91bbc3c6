"""Texts on their way through the engine, and what becomes of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from app import tracing
from app.engine.ticket import Ticket
from app.errors import DeadlineError, InferenceError, ServiceError, TextError
from app.sentiment import EncodedTexts, Outcome, Thresholds, prediction_of_counts

Wanted = dict[bytes | int, list[int]]
"""Places of equal texts in a request by their cache key, or by the first of the places where there are no keys."""
Listener = Callable[[Sequence[tuple[int, Outcome]]], None]
"""Told places of texts in a request, and what became of them."""

_MOST_TEXTS = 64
"""Texts of one batch of a request: a long one has work for every thread of the engine, and others get their turn."""
_FIRST_TEXTS, _FEWEST_TEXTS, _SHARE = 16, 16, 4


class PendingBatch:
    """Texts that went to the engine together, with everybody who waits for one of them.

    Attributes:
        keys: cache key of each, where it has one; empty where nothing is cached.
        ticket: what becomes of them.
        encoded: what the engine was given; None while another cache is asked, and where that has the text.
        outcomes: outcome of each, as soon as all are computed or found.
        waiters: how many requests wait.
    """

    __slots__ = ("encoded", "keys", "outcomes", "ticket", "waiters")

    def __init__(self, keys: Sequence[bytes | None], ticket: Ticket, encoded: EncodedTexts | None = None) -> None:
        self.keys = keys
        self.ticket = ticket
        self.encoded = encoded
        self.outcomes: Sequence[Outcome] | None = None
        self.waiters = 1

    def note_outcomes(self, thresholds: Thresholds) -> Sequence[Outcome]:
        """Say what became of each text, whose scores are there."""
        encoded, found = self.encoded, list[Outcome]()
        assert encoded is not None  # noqa: S101 - there are no scores of what the engine was not given
        rows = zip(self.ticket.result(), *encoded[1:], strict=True)
        for scores, kept, tokens, words, unknown, foreign in rows:
            if scores is None:
                found.append(InferenceError("the forward pass failed for this text"))
                continue
            counts = (tokens, kept < tokens, words, unknown, foreign)
            found.append(prediction_of_counts(scores.probabilities, scores.rating, *counts, thresholds))
        self.outcomes = found
        return found


class PendingText(NamedTuple):
    """One text of a pending batch."""

    batch: PendingBatch
    place: int

    def outcome(self) -> Outcome:
        """What became of it: one that is not done is a ``DeadlineError``."""
        if self.batch.outcomes is not None:
            return self.batch.outcomes[self.place]
        ticket = self.batch.ticket
        if not ticket.done() or ticket.cancelled():
            return DeadlineError("the deadline passed before the text was classified")
        error = ticket.exception()
        if isinstance(error, ServiceError | TextError):
            return error
        raise error or RuntimeError("a text is done and nothing became of it")


@dataclass(frozen=True, slots=True)
class Request:
    """Texts and what is known of each so far.

    Attributes:
        texts: the texts.
        keys: cache key of each, where it has one.
        outcomes: outcome of each, where it has one yet.
        arrived: told of texts of this request as soon as the engine is done with them.
        pending: the pending text of each, by index; filled as soon as it is submitted, so that all can be left again.
        batches: those that the texts are in.
    """

    texts: Sequence[str]
    keys: list[bytes | None]
    outcomes: list[Outcome | None]
    arrived: Listener
    pending: dict[int, PendingText] = field(default_factory=dict)
    batches: dict[PendingBatch, None] = field(default_factory=dict)

    def wanted(self) -> Wanted:
        """The texts without an outcome."""
        if not any(self.keys):
            return {index: [index] for index, outcome in enumerate(self.outcomes) if outcome is None}
        wanted: Wanted = {}
        for index, outcome in enumerate(self.outcomes):
            if outcome is None:
                wanted.setdefault(self.keys[index] or index, []).append(index)
        return wanted

    def add(self, pending: PendingText, indices: Sequence[int]) -> None:
        """Texts at these places are what is pending."""
        for index in indices:
            self.pending[index] = pending
        self.batches[pending.batch] = None

    def fill_in(self) -> None:
        """Note the outcomes of pending texts: those that are not done are late."""
        for index, pending in self.pending.items():
            if self.outcomes[index] is None:
                self.outcomes[index] = pending.outcome()

    def all_outcomes(self) -> list[Outcome]:
        """The outcome of each text.

        Raises:
            RuntimeError: one has none; left out, it would shift the others' places.
        """
        outcomes = [outcome for outcome in self.outcomes if outcome is not None]
        if len(outcomes) < len(self.texts):
            raise RuntimeError(f"{len(self.texts) - len(outcomes)} texts have no outcome")
        return outcomes


def pieces(wanted: Wanted, texts: Sequence[str], characters: int) -> Iterator[Wanted]:
    """Cut what is wanted into pieces of bounded size; a text longer than the bound is a piece of its own.

    Few texts are in the first, so that the engine soon has something to do, and towards the end, so that its threads
    finish at about the same time (guided self-scheduling, Polychronopoulos and Kuck 1987).

    Args:
        wanted: the texts.
        texts: those of the request.
        characters: most characters of a piece.
    """
    left, bound = len(wanted), _FIRST_TEXTS
    piece: Wanted = {}
    found = 0
    for key, indices in wanted.items():
        length = len(texts[indices[0]])
        if piece and (found + length > characters or len(piece) == bound):
            left -= len(piece)
            yield piece  # and it is the caller's from here on
            piece, found, bound = {}, 0, min(_MOST_TEXTS, max(_FEWEST_TEXTS, left // _SHARE))
        piece[key] = indices
        found += length
    if piece:
        yield piece


async def wait_for_all(tickets: Iterable[Ticket], deadline: float) -> None:
    """Wait until all tickets are done or the deadline has passed; cancels none."""
    tickets = [ticket for ticket in tickets if not ticket.done()]
    if not tickets:
        return
    left, all_done = len(tickets), asyncio.get_running_loop().create_future()

    def on_done(_: Ticket) -> None:
        nonlocal left
        left -= 1
        if not left and not all_done.done():
            all_done.set_result(None)

    for ticket in tickets:
        ticket.add_done_callback(on_done)
    try:
        await asyncio.wait([all_done], timeout=max(0.0, deadline - time.monotonic()))
    finally:
        for ticket in tickets:
            ticket.remove_done_callback(on_done)


def trace_request(request: Request, submitted: float) -> None:
    """Spans of the queue and the forward passes that the texts of a request were in; those with scores count.

    Args:
        request: the request.
        submitted: ``time.monotonic()`` when the first text left.
    """
    tickets = [(pending.batch.ticket, pending.place) for pending in set(request.pending.values())]
    scores = [ticket.scores[place] for ticket, place in tickets if ticket.scores is not None]
    times = [row.computed for row in scores if row is not None and row.computed]
    if times:
        began, ended = min(time[0] for time in times), max(time[1] for time in times)
        tracing.past_span("queue", submitted, max(submitted, began), len(times))
        tracing.past_span("forward", began, ended, len(times))
