"""Texts on their way through the engine, and what becomes of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from app import tracing
from app.engine.ticket import Ticket
from app.errors import DeadlineError, ServiceError, TextError
from app.sentiment import Encoding, Outcome, Prediction, Thresholds, prediction_of
from app.serving.submitted_table import SubmittedTable, Wanted

Listener = Callable[[Sequence[tuple[int, Outcome]]], None]
"""Told places of texts in a request, and what became of them."""


class PendingText:
    """One text on its way through the engine, with everybody who waits for it.

    Attributes:
        key: its cache key, where it has one.
        encoding: what the engine was given; None while another cache is asked for the text, and where that has it.
        ticket: what becomes of it.
        found: what another cache had, in place of scores.
        waiters: how many wait for it.
    """

    __slots__ = ("encoding", "found", "key", "ticket", "waiters")

    def __init__(self, key: bytes | None, encoding: Encoding | None, ticket: Ticket) -> None:
        self.key = key
        self.encoding = encoding
        self.ticket = ticket
        self.found: Prediction | None = None
        self.waiters = 1


@dataclass(frozen=True, slots=True)
class Request:
    """Texts and what is known of each so far.

    Attributes:
        texts: the texts.
        keys: cache key of each, where it has one.
        outcomes: outcome of each, where it has one yet.
        pending: the pending text of each, by index; filled as soon as it is submitted, so that all can be left again.
        tables: those that texts of a long request are in; likewise.
        arrived: told of the texts of each table as soon as the engine is done with them.
    """

    texts: Sequence[str]
    keys: list[bytes | None]
    outcomes: list[Outcome | None]
    pending: dict[int, PendingText]
    tables: list[SubmittedTable]
    arrived: Listener

    def wanted(self) -> Wanted:
        """The texts without an outcome."""
        if not any(self.keys):
            return {index: [index] for index, outcome in enumerate(self.outcomes) if outcome is None}
        wanted: Wanted = {}
        for index, outcome in enumerate(self.outcomes):
            if outcome is None:
                wanted.setdefault(self.keys[index] or index, []).append(index)
        return wanted

    def all_outcomes(self) -> list[Outcome]:
        """The outcome of each text.

        Raises:
            RuntimeError: one has none; left out, it would shift the others' places.
        """
        outcomes = [outcome for outcome in self.outcomes if outcome is not None]
        if len(outcomes) < len(self.texts):
            raise RuntimeError(f"{len(self.texts) - len(outcomes)} texts have no outcome")
        return outcomes

    def tickets(self) -> set[Ticket[Any]]:
        """The tickets that the request waits for."""
        return {pending.ticket for pending in self.pending.values()} | {submitted.ticket for submitted in self.tables}


def pieces(wanted: Wanted, texts: Sequence[str], most: Callable[[int, int], int], characters: int) -> Iterator[Wanted]:
    """Cut what is wanted into pieces of bounded size; a text longer than the bound is a piece of its own.

    Args:
        wanted: the texts.
        texts: those of the request.
        most: how many texts the next piece has at the most, where so many are taken and so many left.
        characters: most characters of a piece.
    """
    taken, left = 0, len(wanted)
    bound = most(taken, left)
    piece: Wanted = {}
    found = 0
    for key, indices in wanted.items():
        length = len(texts[indices[0]])
        if piece and (found + length > characters or len(piece) == bound):
            taken, left = taken + len(piece), left - len(piece)
            yield piece  # and it is the caller's from here on
            piece, found, bound = {}, 0, most(taken, left)
        piece[key] = indices
        found += length
    if piece:
        yield piece


async def wait_for_all(tickets: Iterable[Ticket[Any]], deadline: float) -> None:
    """Wait until all tickets are done or the deadline has passed; cancels none."""
    tickets = [ticket for ticket in tickets if not ticket.done()]
    if not tickets:
        return
    left, all_done = len(tickets), asyncio.get_running_loop().create_future()

    def on_done(_: Ticket[Any]) -> None:
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
    sizes: dict[Ticket[Any], int] = dict.fromkeys([pending.ticket for pending in request.pending.values()], 1)
    sizes |= {table.ticket: table.texts for table in request.tables}
    found = [(ticket.scores.computed, texts) for ticket, texts in sizes.items() if ticket.scores is not None]
    times = [computed for computed, _ in found if computed]
    if times:
        began, ended = min(time[0] for time in times), max(time[1] for time in times)
        texts = sum(texts for computed, texts in found if computed)
        tracing.past_span("queue", submitted, max(submitted, began), texts)
        tracing.past_span("forward", began, ended, texts)


def outcome_of(pending: PendingText, thresholds: Thresholds) -> Outcome:
    """What became of a text: one that is not done is a ``DeadlineError``."""
    if pending.found is not None:
        return pending.found
    scores = pending.ticket.scores
    if scores is not None and pending.encoding is not None:
        return prediction_of(scores.probabilities, scores.rating, pending.encoding, thresholds)
    if not pending.ticket.done() or pending.ticket.cancelled():
        return DeadlineError("the deadline passed before the text was classified")
    error = pending.ticket.exception()
    if isinstance(error, ServiceError | TextError):
        return error
    raise error or RuntimeError("a text is done and nothing became of it")
