"""Hands texts to the engine: tokenizes them, and computes those that several requests want at once (coalescing)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import repeat

from app import metrics, tracing
from app.engine.interface import Engine
from app.engine.ticket import DeferredTicket, Ticket
from app.errors import NoWordsError, SentimentError
from app.sentiment import EncodedTexts, Outcome, Prediction, Scores, TextBatch, Thresholds
from app.serving.encoder import LONG_CHARACTERS, TextEncoder
from app.serving.pending import PendingBatch, PendingText, Request, Wanted, pieces

Ask = Callable[[bytes, Callable[[Prediction | None], None]], None]
"""Asks another cache for a key; what it is given is called once with what was found."""


class Dispatcher:
    """Sends texts to an engine.

    Args:
        engine: where they are computed.
        encoder: tokenizes them.
        thresholds: when an answer is not to be trusted.
        timeout: seconds until a text is given up by the engine.
        keep: told the key and the prediction of every text that has both.
    """

    def __init__(
        self,
        engine: Engine,
        encoder: TextEncoder,
        thresholds: Thresholds,
        timeout: float,
        keep: Callable[[bytes, Prediction], None],
    ) -> None:
        self.pending: dict[bytes, PendingText] = {}
        self._engine = engine
        self._encoder = encoder
        self._max_tokens = encoder.max_tokens
        self._thresholds = thresholds
        self._timeout = timeout
        self._keep = keep
        self._dispatching_texts = self._dispatching_tokens = 0
        self._coalesced = metrics.CACHE_LOOKUPS.labels("memory", "coalesced")

    def submit_one(self, key: bytes | None, text: str) -> PendingText | None:
        """Submit one text, or join a pending identical one, without waiting; None where it has no words.

        Raises:
            OverloadedError: refused; nothing has happened.
            EngineUnavailableError: likewise.
        """
        if key is not None and (joined := self._join_one(key)) is not None:
            return joined
        try:
            encoded = self._admit_and_encode(text)
        except NoWordsError:
            return None
        keys = () if key is None else (key,)
        return PendingText(self._register(PendingBatch(keys, self._submit(encoded), encoded)), 0)

    def look_up_or_submit(self, key: bytes, text: str, ask: Ask) -> PendingText:
        """Have another cache asked for one text, and submit it where that has nothing; or join a pending identical one.

        Whatever stands against submitting it is then the outcome of the text.
        """
        if (joined := self._join_one(key)) is not None:
            return joined
        ticket = DeferredTicket()
        batch = self._register(PendingBatch([key], ticket))

        def told(found: Prediction | None) -> None:
            if ticket.done():
                return  # given up meanwhile
            if found is not None:
                batch.outcomes = [found]
                ticket.set_result([Scores(found.probabilities, found.rating)])
                return
            try:
                batch.encoded = self._admit_and_encode(text)
                source = self._submit(batch.encoded)
            except SentimentError as error:
                ticket.set_exception(error)
            else:
                ticket.follow(source)

        ask(key, told)
        return PendingText(batch, 0)

    def _join_one(self, key: bytes) -> PendingText | None:
        pending = self.pending.get(key)
        if pending is not None:
            pending.batch.waiters += 1
            self._coalesced.inc()
        return pending

    def _admit_and_encode(self, text: str) -> EncodedTexts:
        self.admit(1, self._most_tokens([text]))
        encoded = self._encoder.encode_now([text])
        if not encoded.kept[0]:
            raise NoWordsError
        return encoded

    def _submit(self, encoded: EncodedTexts) -> Ticket:
        # A pending text may be joined by callers with later deadlines, so only the longest one can bind the engine.
        return self._engine.submit(TextBatch(encoded.ids, encoded.kept), time.monotonic() + self._timeout)

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
        self.admit(count, tokens)
        # Until it has been handed over as a whole, what was admitted counts for those who come meanwhile.
        self._dispatching_texts += count
        self._dispatching_tokens += tokens
        try:
            # One span for all pieces: how a request is cut says nothing about it.
            with tracing.span("tokenize", count):
                for piece in pieces(wanted, request.texts, LONG_CHARACTERS):
                    await self._dispatch_piece(piece, request)
        finally:
            self._dispatching_texts -= count
            self._dispatching_tokens -= tokens

    async def _dispatch_piece(self, piece: Wanted, request: Request) -> None:
        """A long request goes piece by piece, so that the engine computes its start while its rest is tokenized."""
        self._join(piece, request)
        if not piece:
            return
        encoded = await self._encoder.encode([request.texts[indices[0]] for indices in piece.values()])
        if not all(encoded.kept):
            _leave_out(piece, encoded.kept, request.outcomes)
            encoded = encoded.with_words()
        if piece:
            self._coalesced.inc(sum(map(len, piece.values())) - len(piece))
            keys = [key if isinstance(key, bytes) else None for key in piece]
            batch = self._register(PendingBatch(keys, self._submit(encoded), encoded))
            for place, indices in enumerate(piece.values()):
                request.add(PendingText(batch, place), indices)
            # What the engine is done with is made ready for the answer while it computes the rest.
            batch.ticket.add_done_callback(partial(_tell, request, batch, list(piece.values())))
        await asyncio.sleep(0)

    def _join(self, wanted: Wanted, request: Request) -> None:
        """Take out of ``wanted`` what is pending already, and wait for that."""
        for key in self.pending.keys() & wanted.keys():
            indices = wanted.pop(key)
            pending = self.pending[key]
            pending.batch.waiters += pending.batch not in request.batches
            request.add(pending, indices)
            self._coalesced.inc(len(indices))

    def _register(self, batch: PendingBatch) -> PendingBatch:
        for place, key in enumerate(batch.keys):
            if key is not None:
                self.pending[key] = PendingText(batch, place)
        batch.ticket.add_done_callback(partial(self._finish, batch))
        return batch

    def _finish(self, batch: PendingBatch, ticket: Ticket) -> None:
        """Note and keep what became of texts, whoever still waits for them."""
        self._forget(batch)
        if ticket.scores is None or batch.outcomes is not None:
            return
        outcomes = batch.note_outcomes(self._thresholds)
        if not batch.keys:
            return
        for key, outcome in zip(batch.keys, outcomes, strict=True):
            if key is not None and isinstance(outcome, Prediction):
                self._keep(key, outcome)

    def _forget(self, batch: PendingBatch) -> None:
        """Nobody joins these texts any more."""
        for key in batch.keys:
            if key is not None and (pending := self.pending.get(key)) is not None and pending.batch is batch:
                del self.pending[key]

    def leave(self, batch: PendingBatch) -> None:
        """One waiter less; texts that nobody waits for are given up."""
        batch.waiters -= 1
        if not batch.waiters and not batch.ticket.done():
            self._forget(batch)  # a new identical text must not join what is being given up
            batch.ticket.cancel()

    def leave_all(self, request: Request) -> None:
        """A request waits no more, for any of its texts."""
        batches = list(request.batches)
        request.batches.clear()
        for batch in batches:
            self.leave(batch)


def _tell(request: Request, batch: PendingBatch, places: Sequence[Sequence[int]], _: Ticket) -> None:
    """Note in a request that waits what became of the texts that it submitted."""
    if batch.outcomes is None or batch not in request.batches:
        return
    found = [(index, outcome) for indices, outcome in zip(places, batch.outcomes, strict=True) for index in indices]
    for index, outcome in found:
        request.outcomes[index] = outcome
    request.arrived(found)


def _leave_out(wanted: Wanted, kept: Sequence[int], outcomes: list[Outcome | None]) -> None:
    """Take out texts without words, which have their outcome by that."""
    for key, indices in [each for each, words in zip(wanted.items(), kept, strict=True) if not words]:
        del wanted[key]
        for index in indices:
            outcomes[index] = NoWordsError()
