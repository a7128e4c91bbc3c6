"""The way of a text through one HTTP worker: key, caches, coalescing, tokenizing, engine."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from app import metrics, tracing
from app.errors import BlankTextError, NoWordsError, OverloadedError, TextError, TextTooLongError
from app.sentiment import Encoding, Prediction
from app.serving.cache import KeyMaker, MemoryCache, RedisCache
from app.serving.encoder import LONG_CHARACTERS, Encoder
from app.serving.engine import Engine, EngineInfo
from app.serving.flights import Flight, Outcome, Request, land_or_pass, outcome_of, pieces, trace_flights
from app.serving.ticket import Ticket
from app.store import StoredModel
from app.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class ClassifierLimits:
    """Bounds of one worker.

    Attributes:
        max_characters: longest text.
        max_texts_in_flight: most texts admitted and not yet answered.
        timeout: seconds until a text without an answer is given up.
    """

    max_characters: int
    max_texts_in_flight: int
    timeout: float


class Classifier:
    """Classifies texts with one model.

    Args:
        model: what is served.
        tokenizer: the model's tokenizer.
        engine: where texts are computed.
        limits: bounds.
        memory: cache in this process; None turns caching and coalescing off.
        shared: cache behind it.
    """

    def __init__(
        self,
        model: StoredModel,
        tokenizer: Tokenizer,
        engine: Engine,
        limits: ClassifierLimits,
        memory: MemoryCache | None = None,
        shared: RedisCache | None = None,
    ) -> None:
        self.model = model
        self.draining = False
        self._tokenizer = tokenizer
        self._encoder = Encoder(tokenizer)
        self._max_tokens = model.config.max_tokens
        self._engine = engine
        self._limits = limits
        self._memory = memory
        self._shared = shared if memory is not None else None
        self._key: KeyMaker | None = None
        self._key_info: EngineInfo | None = None
        self._flights: dict[bytes, Flight] = {}
        self._in_flight = 0
        self._boarding_texts = self._boarding_tokens = 0
        labels = model.config.labels
        self._label_counters = {label: metrics.PREDICTIONS.labels(label) for label in labels}
        self._predicted = metrics.TEXTS.labels("predicted")
        self._memory_hits = metrics.CACHE_LOOKUPS.labels("memory", "hit")
        self._memory_misses = metrics.CACHE_LOOKUPS.labels("memory", "miss")
        self._coalesced = metrics.CACHE_LOOKUPS.labels("memory", "coalesced")

    @property
    def info(self) -> EngineInfo:
        """What computes."""
        return self._engine.info

    @property
    def ready(self) -> bool:
        """Whether texts should be sent: they would be answered, and the end is not near."""
        return self._engine.ready and not self.draining

    def drain(self) -> None:
        """Say from now on that no more texts should be sent; those that come are answered all the same."""
        self.draining = True

    def uncached(self) -> Classifier:
        """The same model and engine without caches and with bounds of its own, for texts that will not come again."""
        return Classifier(self.model, self._tokenizer, self._engine, self._limits)

    def begin(self, text: str) -> Prediction | Flight | None:
        """Answer one text from this process' cache, or start it, without waiting for anything.

        Returns:
            the cached prediction; or the flight the text is on, which the caller hands to ``finish`` once, landed or
            given up; or None, and nothing has happened, where only ``classify`` can tell (a shared cache to ask, a
            text that is refused).

        Raises:
            OverloadedError: refused; nothing has happened.
            EngineUnavailableError: likewise.
        """
        engine = self._engine
        if not engine.ready or len(text) > LONG_CHARACTERS:
            return None
        key = None
        if self._memory is not None:
            key = self._key_maker()(text)
            found = self._memory.get(key)
            if found is not None:
                self._memory_hits.inc()
                self._count([found])
                return found
        if (self._shared is not None and self._shared.in_use) or self._refuse(text):
            return None
        self._check_in_flight(1)
        flight = None if key is None else self._flights.get(key)
        if flight is None:
            engine.admit(1 + self._boarding_texts, self._most_tokens(text) + self._boarding_tokens)
            encoding = self._encoder.encode_now([text])[0]
            if isinstance(encoding, NoWordsError):
                return None
            deadline = time.monotonic() + self._limits.timeout
            flight = self._fly(key, encoding, engine.submit([encoding.ids], deadline)[0])
        else:
            flight.waiters += 1
            self._coalesced.inc()
        if key is not None:
            self._memory_misses.inc()
        self._in_flight += 1
        return flight

    def finish(self, flight: Flight) -> Outcome:
        """The outcome of a flight of ``begin``; one that is still in the air is given up, with a ``DeadlineError``."""
        try:
            outcome = outcome_of(flight)
        finally:
            self._leave(flight)
            self._in_flight -= 1
        self._count([outcome])
        return outcome

    def leave(self, flight: Flight) -> None:
        """Give up a flight of ``begin`` whose caller is gone."""
        self._leave(flight)
        self._in_flight -= 1

    def admit(self, texts: int, tokens: int) -> None:
        """Say whether a request that needs the engine for so much would be taken now. See ``Engine.admit``."""
        self._check_in_flight(texts)
        self._engine.admit(self._boarding_texts + texts, self._boarding_tokens + tokens)

    async def classify(self, texts: Sequence[str], *, timeout: float | None = None) -> list[Outcome]:
        """One outcome per text, in order; a text that fails does not touch the others.

        Args:
            texts: any strings.
            timeout: seconds after which an unfinished text is a ``DeadlineError``; at most the limit.

        Raises:
            OverloadedError: the whole request is refused, before any work.
            EngineUnavailableError: likewise.
        """
        self._check_in_flight(len(texts))
        deadline = time.monotonic() + min(timeout or self._limits.timeout, self._limits.timeout)
        self._in_flight += len(texts)
        try:
            outcomes = await self._classify(texts, deadline)
        finally:
            self._in_flight -= len(texts)
        self._count(outcomes)
        return outcomes

    async def _classify(self, texts: Sequence[str], deadline: float) -> list[Outcome]:
        request = Request(texts, [None] * len(texts), [self._refuse(text) for text in texts], {})
        if self._memory is not None:
            key_of = self._key_maker()
            for index, text in enumerate(texts):
                if request.outcomes[index] is None:
                    request.keys[index] = key_of(text)
            with tracing.span("cache", len(texts)):
                await self._look_up(request.keys, request.outcomes)
        started = time.monotonic()
        try:
            await self._board(request)
            await land_or_pass(request.flights, deadline)
            if tracing.enabled():
                trace_flights(request.flights.values(), started)
            for index, flight in request.flights.items():
                request.outcomes[index] = outcome_of(flight)
        finally:
            for flight in request.flights.values():
                self._leave(flight)
        return [outcome for outcome in request.outcomes if outcome is not None]

    def _check_in_flight(self, texts: int) -> None:
        if self._in_flight + texts > self._limits.max_texts_in_flight:
            raise OverloadedError(
                f"{self._in_flight} texts are in flight, {texts} more would exceed the limit of "
                f"{self._limits.max_texts_in_flight}",
                self._engine.drain_seconds(0),
            )

    def _most_tokens(self, text: str) -> int:
        """Bound of the tokens of a text that is not tokenized yet: each has a character at least."""
        return min(len(text), self._max_tokens)

    def _refuse(self, text: str) -> TextError | None:
        if len(text) > self._limits.max_characters:
            return TextTooLongError(len(text), self._limits.max_characters)
        return BlankTextError() if not text or text.isspace() else None

    def _key_maker(self) -> KeyMaker:
        info = self._engine.info
        if self._key is None or info is not self._key_info:
            self._key = KeyMaker(self.model.digest, info.runtime, info.precision)
            self._key_info = info
        return self._key

    async def _look_up(self, keys: Sequence[bytes | None], outcomes: list[Outcome | None]) -> None:
        """Fill in what the caches know."""
        assert self._memory is not None  # noqa: S101 - the caller's condition, for the type checker
        missing = []
        for index, key in enumerate(keys):
            if key is None:
                continue
            outcomes[index] = self._memory.get(key)
            if outcomes[index] is None:
                missing.append((index, key))
        hits = sum(isinstance(outcome, Prediction) for outcome in outcomes)
        if hits:
            self._memory_hits.inc(hits)
        if missing:
            self._memory_misses.inc(len(missing))
        if self._shared is None or not missing:
            return
        found = await self._shared.get_many([key for _, key in missing])
        for (index, key), value in zip(missing, found, strict=True):
            metrics.CACHE_LOOKUPS.labels("redis", "miss" if value is None else "hit").inc()
            if value is not None:
                outcomes[index] = value
                self._memory.put(key, value)

    async def _board(self, request: Request) -> None:
        """Put every text without an outcome on a flight: that of an identical text, where there is one, or its own."""
        wanted: dict[bytes | int, list[int]] = {}
        for index, outcome in enumerate(request.outcomes):
            if outcome is None:
                wanted.setdefault(request.keys[index] or index, []).append(index)
        if not wanted:
            return
        count, tokens = len(wanted), sum(self._most_tokens(request.texts[first]) for first, *_ in wanted.values())
        self._engine.admit(self._boarding_texts + count, self._boarding_tokens + tokens)
        # Until it has been handed over as a whole, what was admitted counts for those who come meanwhile.
        self._boarding_texts += count
        self._boarding_tokens += tokens
        try:
            await self._board_pieces(request, wanted)
        finally:
            self._boarding_texts -= count
            self._boarding_tokens -= tokens

    async def _board_pieces(self, request: Request, wanted: dict[bytes | int, list[int]]) -> None:
        """A long request goes piece by piece, so that the engine computes its start while its rest is tokenized."""
        for piece in pieces(wanted, request.texts):
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

    def _join(self, wanted: dict[bytes | int, list[int]], flights: dict[int, Flight]) -> None:
        """Move what is in the air already from ``wanted`` to ``flights``."""
        for key in [key for key in wanted if isinstance(key, bytes) and key in self._flights]:
            indices = wanted.pop(key)
            flight = self._flights[key]
            flight.waiters += len(indices)
            flights.update(dict.fromkeys(indices, flight))
            self._coalesced.inc(len(indices))

    def _start(self, texts: dict[bytes | int, tuple[Encoding | NoWordsError, list[int]]], request: Request) -> None:
        new = [(encoding, indices) for encoding, indices in texts.values() if isinstance(encoding, Encoding)]
        if not new:
            return
        # A flight may be joined by callers with later deadlines, so only the longest one can bind the engine.
        deadline = time.monotonic() + self._limits.timeout
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
            self._flights[key] = flight
            ticket.add_done_callback(lambda _: self._land(flight))
        return flight

    def _leave(self, flight: Flight) -> None:
        """One waiter less; a text that nobody waits for is given up."""
        flight.waiters -= 1
        if flight.waiters or flight.ticket.done():
            return
        # A new identical text must not board what is being given up.
        if flight.key is not None and self._flights.get(flight.key) is flight:
            del self._flights[flight.key]
        flight.ticket.cancel()

    def _land(self, flight: Flight) -> None:
        """Keep the result of a flight, whoever still waits for it."""
        assert flight.key is not None  # noqa: S101 - the caller's condition, for the type checker
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]
        outcome = outcome_of(flight) if flight.ticket.scores is not None else None
        if not isinstance(outcome, Prediction):
            return
        prediction = outcome._replace(cached=True)
        if self._memory is not None:
            self._memory.put(flight.key, prediction)
        if self._shared is not None:
            self._shared.put(flight.key, prediction)

    def _count(self, outcomes: Sequence[Outcome]) -> None:
        labels = self.model.config.labels
        best = [outcome.best(labels) for outcome in outcomes if isinstance(outcome, Prediction)]
        if best:
            self._predicted.inc(len(best))
            metrics.CONFIDENCE.observe_all([score for _, score in best])
            for label, count in Counter(label for label, _ in best).items():
                self._label_counters[label].inc(count)
        if len(best) < len(outcomes):
            for outcome in outcomes:
                if not isinstance(outcome, Prediction):
                    metrics.TEXTS.labels(outcome.code).inc()
