"""Hands texts to the engine: tokenizes them, and computes those that several requests want at once (coalescing)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import repeat
from typing import Any

from app import metrics, tracing
from app.engine.interface import Engine
from app.engine.ticket import DeferredTicket, Ticket
from app.errors import NoWordsError, SentimentError
from app.sentiment import Encoding, Outcome, Prediction, Scores, TextTable, Thresholds
from app.serving.encoder import LONG_CHARACTERS, LONG_TABLE, TextEncoder
from app.serving.pending import PendingText, Request, outcome_of, pieces
from app.serving.submitted_table import LONG_REQUEST, SubmittedTable, Wanted, size_of_next
from app.text.tokenizer import Tokenizer

Ask = Callable[[bytes, Callable[[Prediction | None], None]], None]
"""Asks another cache for a key; what it is given is called once with what was found."""


class Dispatcher:
    """Sends texts to an engine.

    Args:
        engine: where they are computed.
        tokenizer: the model's.
        classes: how many the model tells apart.
        thresholds: when an answer is not to be trusted.
        timeout: seconds until a text is given up by the engine.
        keep: told the key and the prediction of every text that has both.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        classes: int,
        thresholds: Thresholds,
        timeout: float,
        keep: Callable[[bytes, Prediction], None],
    ) -> None:
        self.pending: dict[bytes, PendingText] = {}
        self._engine = engine
        self._encoder = TextEncoder(tokenizer)
        self._max_tokens = tokenizer.max_tokens
        self._classes = classes
        self._thresholds = thresholds
        self._timeout = timeout
        self._keep = keep
        self._dispatching_texts = self._dispatching_tokens = 0
        self._coalesced = metrics.CACHE_LOOKUPS.labels("memory", "coalesced")

    def begin(self, key: bytes | None, text: str) -> PendingText | None:
        """Submit one text, or join a pending identical one, without waiting; None where it has no words.

        Raises:
            OverloadedError: refused; nothing has happened.
            EngineUnavailableError: likewise.
        """
        if key is not None and (joined := self._join_one(key)) is not None:
            return joined
        try:
            encoding, ticket = self._submit_one(text)
        except NoWordsError:
            return None
        return self._register(key, encoding, ticket)

    def begin_elsewhere(self, key: bytes, text: str, ask: Ask) -> PendingText:
        """Have another cache asked for one text, and submit it where that has nothing; or join a pending identical one.

        Whatever stands against submitting it is then the outcome of the text.
        """
        if (joined := self._join_one(key)) is not None:
            return joined
        ticket = DeferredTicket()
        pending = self._register(key, None, ticket)

        def told(found: Prediction | None) -> None:
            if ticket.done():
                return  # given up meanwhile
            if found is not None:
                pending.found = found
                ticket.set_result(Scores(found.probabilities, found.rating))
                return
            try:
                pending.encoding, source = self._submit_one(text)
            except SentimentError as error:
                ticket.set_exception(error)
            else:
                ticket.follow(source)

        ask(key, told)
        return pending

    def _join_one(self, key: bytes) -> PendingText | None:
        pending = self.pending.get(key)
        if pending is not None:
            pending.waiters += 1
            self._coalesced.inc()
        return pending

    def _submit_one(self, text: str) -> tuple[Encoding, Ticket]:
        self.admit(1, self._most_tokens([text]))
        encoding = self._encoder.encode_one(text)
        if isinstance(encoding, NoWordsError):
            raise encoding
        return encoding, self._engine.submit([encoding.ids], time.monotonic() + self._timeout)[0]

    def admit(self, texts: int, tokens: int) -> None:
        """Say whether so much would be taken now. See ``Engine.admit``."""
        self._engine.admit(self._dispatching_texts + texts, self._dispatching_tokens + tokens)

    def _most_tokens(self, texts: Sequence[str]) -> int:
        """Bound of the tokens of texts that are not tokenized yet: each token has a character at least."""
        return sum(map(min, map(len, texts), repeat(self._max_tokens)))

    async def dispatch(self, request: Request) -> None:
        """Submit every text without an outcome, or join a pending identical one where there is one."""
        wanted = request.wanted()
        if not wanted:
            return
        count, tokens = len(wanted), self._most_tokens([request.texts[indices[0]] for indices in wanted.values()])
        self._engine.admit(self._dispatching_texts + count, self._dispatching_tokens + tokens)
        # Until it has been handed over as a whole, what was admitted counts for those who come meanwhile.
        self._dispatching_texts += count
        self._dispatching_tokens += tokens
        try:
            # One span for all pieces: how a request is cut says nothing about it.
            with tracing.span("tokenize", count):
                await (self._dispatch_tables if count >= LONG_REQUEST else self._dispatch_pieces)(request, wanted)
        finally:
            self._dispatching_texts -= count
            self._dispatching_tokens -= tokens

    async def _dispatch_pieces(self, request: Request, wanted: Wanted) -> None:
        """A long request goes piece by piece, so that the engine computes its start while its rest is tokenized."""
        for piece in pieces(wanted, request.texts, _all_that_is_left, LONG_CHARACTERS):
            self._join(piece, request.pending)
            encoded = await self._encoder.encode([request.texts[indices[0]] for indices in piece.values()])
            encodings = dict(zip(piece, encoded, strict=True))
            # Others may have submitted the same texts while these were tokenized in a thread.
            self._join(piece, request.pending)
            for key, indices in piece.items():
                if isinstance(error := encodings[key], NoWordsError):
                    for index in indices:
                        request.outcomes[index] = error
            self._start({key: (encodings[key], indices) for key, indices in piece.items()}, request)
            await asyncio.sleep(0)

    async def _dispatch_tables(self, request: Request, wanted: Wanted) -> None:
        """Many texts go as one table, which costs far less; pending ones are joined, but nobody can join these."""
        for piece in pieces(wanted, request.texts, size_of_next, LONG_TABLE):
            self._join(piece, request.pending)
            if not piece:
                continue
            encoded = await self._encoder.encode_table([request.texts[indices[0]] for indices in piece.values()])
            if not all(encoded.kept):
                _leave_out(piece, encoded.kept, request.outcomes)
                encoded = encoded.with_words()
            if piece:
                self._coalesced.inc(sum(map(len, piece.values())) - len(piece))
                deadline = time.monotonic() + self._timeout
                ticket = self._engine.submit_table(TextTable(encoded.ids, encoded.kept), deadline)
                submitted = SubmittedTable(piece, encoded, ticket)
                request.tables.append(submitted)
                # What the engine is done with is made ready for the answer while it computes the rest.
                ticket.add_done_callback(partial(self._note_outcomes, submitted, request))
            await asyncio.sleep(0)

    def _note_outcomes(self, submitted: SubmittedTable, request: Request, ticket: Ticket[Any]) -> None:
        """Note and keep the outcomes of texts that the engine is done with."""
        if ticket.scores is None:
            return
        found = []
        for key, indices, outcome in submitted.outcomes(self._classes, self._thresholds):
            for index in indices:
                request.outcomes[index] = outcome
                found.append((index, outcome))
            if isinstance(key, bytes) and isinstance(outcome, Prediction):
                self._keep(key, outcome)
        request.arrived(found)

    def _join(self, wanted: Wanted, joined: dict[int, PendingText]) -> None:
        """Move what is pending already from ``wanted`` to ``joined``."""
        for key in self.pending.keys() & wanted.keys():
            indices = wanted.pop(key)
            pending = self.pending[key]
            pending.waiters += len(indices)
            joined.update(dict.fromkeys(indices, pending))
            self._coalesced.inc(len(indices))

    def _start(self, texts: dict[bytes | int, tuple[Encoding | NoWordsError, list[int]]], request: Request) -> None:
        new = [(encoding, indices) for encoding, indices in texts.values() if isinstance(encoding, Encoding)]
        if not new:
            return
        # A pending text may be joined by callers with later deadlines, so only the longest one can bind the engine.
        deadline = time.monotonic() + self._timeout
        tickets = self._engine.submit([encoding.ids for encoding, _ in new], deadline)
        for (encoding, indices), ticket in zip(new, tickets, strict=True):
            pending = self._register(request.keys[indices[0]], encoding, ticket)
            pending.waiters = len(indices)
            request.pending.update(dict.fromkeys(indices, pending))
            if pending.key is not None and len(indices) > 1:
                self._coalesced.inc(len(indices) - 1)

    def _register(self, key: bytes | None, encoding: Encoding | None, ticket: Ticket) -> PendingText:
        pending = PendingText(key, encoding, ticket)
        if key is not None:
            self.pending[key] = pending
            ticket.add_done_callback(lambda _: self._keep_result(pending))
        return pending

    def leave(self, pending: PendingText) -> None:
        """One waiter less; a text that nobody waits for is given up."""
        pending.waiters -= 1
        if pending.waiters or pending.ticket.done():
            return
        # A new identical text must not join what is being given up.
        if pending.key is not None and self.pending.get(pending.key) is pending:
            del self.pending[pending.key]
        pending.ticket.cancel()

    def _keep_result(self, pending: PendingText) -> None:
        """Keep the result of a pending text, whoever still waits for it."""
        assert pending.key is not None  # noqa: S101 - the caller's condition, for the type checker
        if self.pending.get(pending.key) is pending:
            del self.pending[pending.key]
        outcome = outcome_of(pending, self._thresholds) if pending.ticket.scores is not None else None
        if isinstance(outcome, Prediction) and pending.found is None:
            self._keep(pending.key, outcome)


def _leave_out(wanted: Wanted, kept: Sequence[int], outcomes: list[Outcome | None]) -> None:
    """Take out texts without words, which have their outcome by that."""
    for key, indices in [each for each, words in zip(wanted.items(), kept, strict=True) if not words]:
        del wanted[key]
        for index in indices:
            outcomes[index] = NoWordsError()


def _all_that_is_left(_: int, left: int) -> int:
    return left
