"""Where texts leave for the engine: tokenized, and with those who want the same text on one flight."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import repeat
from typing import Any

from app import metrics
from app.errors import NoWordsError
from app.sentiment import Encoding, Prediction, TextTable
from app.serving.convoy import LONG_REQUEST, Convoy, size_of_next
from app.serving.encoder import LONG_CHARACTERS, LONG_TABLE, Encoder
from app.serving.engine import Engine
from app.serving.flights import Flight, Outcome, Request, Wanted, outcome_of, pieces
from app.serving.ticket import Ticket
from app.text.tokenizer import Tokenizer


class Terminal:
    """Sends texts to an engine.

    Args:
        engine: where they are computed.
        tokenizer: the model's.
        classes: how many the model tells apart.
        timeout: seconds until a text is given up by the engine.
        keep: told the key and the prediction of every text that has both.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        classes: int,
        timeout: float,
        keep: Callable[[bytes, Prediction], None],
    ) -> None:
        self.flights: dict[bytes, Flight] = {}
        self._engine = engine
        self._encoder = Encoder(tokenizer)
        self._max_tokens = tokenizer.max_tokens
        self._classes = classes
        self._timeout = timeout
        self._keep = keep
        self._boarding_texts = self._boarding_tokens = 0
        self._coalesced = metrics.CACHE_LOOKUPS.labels("memory", "coalesced")

    def begin(self, key: bytes | None, text: str) -> Flight | None:
        """Put one text on a flight, without waiting for anything; None where it has no words.

        Raises:
            OverloadedError: refused; nothing has happened.
            EngineUnavailableError: likewise.
        """
        flight = None if key is None else self.flights.get(key)
        if flight is not None:
            flight.waiters += 1
            self._coalesced.inc()
            return flight
        self.admit(1, self._most_tokens([text]))
        encoding = self._encoder.encode_now([text])[0]
        if isinstance(encoding, NoWordsError):
            return None
        ticket = self._engine.submit([encoding.ids], time.monotonic() + self._timeout)[0]
        return self._fly(key, encoding, ticket)

    def admit(self, texts: int, tokens: int) -> None:
        """Say whether so much would be taken now. See ``Engine.admit``."""
        self._engine.admit(self._boarding_texts + texts, self._boarding_tokens + tokens)

    def _most_tokens(self, texts: Sequence[str]) -> int:
        """Bound of the tokens of texts that are not tokenized yet: each token has a character at least."""
        return sum(map(min, map(len, texts), repeat(self._max_tokens)))

    async def board(self, request: Request) -> None:
        """Put every text without an outcome on a flight: that of an identical text, where there is one, or its own."""
        wanted = request.wanted()
        if not wanted:
            return
        count, tokens = len(wanted), self._most_tokens([request.texts[indices[0]] for indices in wanted.values()])
        self._engine.admit(self._boarding_texts + count, self._boarding_tokens + tokens)
        # Until it has been handed over as a whole, what was admitted counts for those who come meanwhile.
        self._boarding_texts += count
        self._boarding_tokens += tokens
        try:
            await (self._board_tables if count >= LONG_REQUEST else self._board_pieces)(request, wanted)
        finally:
            self._boarding_texts -= count
            self._boarding_tokens -= tokens

    async def _board_pieces(self, request: Request, wanted: Wanted) -> None:
        """A long request goes piece by piece, so that the engine computes its start while its rest is tokenized."""
        for piece in pieces(wanted, request.texts, _all_that_is_left, LONG_CHARACTERS):
            self._join(piece, request.flights)
            encoded = await self._encoder.encode([request.texts[indices[0]] for indices in piece.values()])
            encodings = dict(zip(piece, encoded, strict=True))
            # Others may have started flights of the same texts while these were tokenized in a thread.
            self._join(piece, request.flights)
            for key, indices in piece.items():
                if isinstance(error := encodings[key], NoWordsError):
                    for index in indices:
                        request.outcomes[index] = error
            self._start({key: (encodings[key], indices) for key, indices in piece.items()}, request)
            await asyncio.sleep(0)

    async def _board_tables(self, request: Request, wanted: Wanted) -> None:
        """Many texts travel together, which costs far less; what is in the air is joined, but nobody can join these."""
        for piece in pieces(wanted, request.texts, size_of_next, LONG_TABLE):
            self._join(piece, request.flights)
            if not piece:
                continue
            ids, kept, tokens, _ = await self._encoder.encode_table(
                [request.texts[indices[0]] for indices in piece.values()]
            )
            if not all(kept):
                _leave_out(piece, kept, request.outcomes)
                kept, tokens = list(filter(None, kept)), list(filter(None, tokens))
            if piece:
                self._coalesced.inc(sum(map(len, piece.values())) - len(piece))
                ticket = self._engine.submit_table(TextTable(ids, kept), time.monotonic() + self._timeout)
                convoy = Convoy(piece, tokens, kept, ticket)
                request.convoys.append(convoy)
                # What the engine is done with is made ready for the answer while it computes the rest.
                ticket.add_done_callback(partial(self._arrive, convoy, request))
            await asyncio.sleep(0)

    def _arrive(self, convoy: Convoy, request: Request, ticket: Ticket[Any]) -> None:
        """Note and keep the outcomes of texts that the engine is done with."""
        if ticket.scores is None:
            return
        found = []
        for key, indices, outcome in convoy.outcomes(self._classes):
            for index in indices:
                request.outcomes[index] = outcome
                found.append((index, outcome))
            if isinstance(key, bytes) and isinstance(outcome, Prediction):
                self._keep(key, outcome)
        request.arrived(found)

    def _join(self, wanted: Wanted, flights: dict[int, Flight]) -> None:
        """Move what is in the air already from ``wanted`` to ``flights``."""
        for key in self.flights.keys() & wanted.keys() if self.flights else ():
            indices = wanted.pop(key)
            flight = self.flights[key]
            flight.waiters += len(indices)
            flights.update(dict.fromkeys(indices, flight))
            self._coalesced.inc(len(indices))

    def _start(self, texts: dict[bytes | int, tuple[Encoding | NoWordsError, list[int]]], request: Request) -> None:
        new = [(encoding, indices) for encoding, indices in texts.values() if isinstance(encoding, Encoding)]
        if not new:
            return
        # A flight may be joined by callers with later deadlines, so only the longest one can bind the engine.
        deadline = time.monotonic() + self._timeout
        tickets = self._engine.submit([encoding.ids for encoding, _ in new], deadline)
        for (encoding, indices), ticket in zip(new, tickets, strict=True):
            flight = self._fly(request.keys[indices[0]], encoding, ticket)
            flight.waiters = len(indices)
            request.flights.update(dict.fromkeys(indices, flight))
            if flight.key is not None and len(indices) > 1:
                self._coalesced.inc(len(indices) - 1)

    def _fly(self, key: bytes | None, encoding: Encoding, ticket: Ticket) -> Flight:
        flight = Flight(key, encoding, ticket)
        if key is not None:
            self.flights[key] = flight
            ticket.add_done_callback(lambda _: self._land(flight))
        return flight

    def leave(self, flight: Flight) -> None:
        """One waiter less; a text that nobody waits for is given up."""
        flight.waiters -= 1
        if flight.waiters or flight.ticket.done():
            return
        # A new identical text must not board what is being given up.
        if flight.key is not None and self.flights.get(flight.key) is flight:
            del self.flights[flight.key]
        flight.ticket.cancel()

    def _land(self, flight: Flight) -> None:
        """Keep the result of a flight, whoever still waits for it."""
        assert flight.key is not None  # noqa: S101 - the caller's condition, for the type checker
        if self.flights.get(flight.key) is flight:
            del self.flights[flight.key]
        outcome = outcome_of(flight) if flight.ticket.scores is not None else None
        if isinstance(outcome, Prediction):
            self._keep(flight.key, outcome)


def _leave_out(wanted: Wanted, kept: Sequence[int], outcomes: list[Outcome | None]) -> None:
    """Take out texts without words, which have their outcome by that."""
    for key, indices in [each for each, words in zip(wanted.items(), kept, strict=True) if not words]:
        del wanted[key]
        for index in indices:
            outcomes[index] = NoWordsError()


def _all_that_is_left(_: int, left: int) -> int:
    return left
