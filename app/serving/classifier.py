"""The way of a text through one HTTP worker: key, caches, coalescing, tokenizing, engine."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from app import metrics, tracing
from app.engine.interface import Engine, EngineInfo
from app.errors import BlankTextError, OverloadedError, TextError, TextTooLongError
from app.sentiment import JUDGEMENTS, Outcome, Prediction
from app.serving.cache import KeyMaker, MemoryCache
from app.serving.counting import TextMetrics
from app.serving.dispatcher import Dispatcher
from app.serving.encoder import LONG_CHARACTERS, TextEncoder
from app.serving.pending import Listener, PendingText, Request, trace_request, wait_for_all
from app.store import StoredModel
from app.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from app.serving.redis_cache import Found, RedisCache


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


class Watcher(Protocol):
    """Told of texts that a classifier has computed, or is about to."""

    def watch(self, text: str, pending: PendingText) -> None:
        """One text is on its way through the engine."""
        ...

    def offer(self, texts: Sequence[str], outcomes: Sequence[Outcome]) -> None:
        """These texts came to that, whether computed or found."""
        ...


class Classifier:
    """Classifies texts with one model.

    Args:
        model: what is served.
        tokenizer: the model's tokenizer.
        engine: where texts are computed.
        limits: bounds.
        memory: cache in this process; None turns caching and coalescing off.
        shared: cache behind it.
        secret: what cache keys are made with; see ``KeyMaker``.
        further: whether it is loaded beside what is served, so that what is counted of its texts must name it.

    Attributes:
        named: the model's name and version, where what is counted must name them.
        shadow: told of its texts.
    """

    named: tuple[str, str] | None = None
    shadow: Watcher | None = None

    def __init__(
        self,
        model: StoredModel,
        tokenizer: Tokenizer,
        engine: Engine,
        limits: ClassifierLimits,
        memory: MemoryCache | None = None,
        shared: RedisCache | None = None,
        secret: str = "",
        *,
        further: bool = False,
    ) -> None:
        self.model = model
        self.named = (model.name, str(model.version)) if further else None
        self.draining = False
        self._tokenizer = tokenizer
        self._engine = engine
        self._limits = limits
        self._memory = memory
        self._shared = shared if memory is not None else None
        self._secret = secret
        self._key: KeyMaker | None = None
        self._key_info: EngineInfo | None = None
        self._in_flight = 0
        self._counted = counted = TextMetrics(self.named)
        encoder = TextEncoder(tokenizer, counted)
        self._dispatcher = Dispatcher(engine, encoder, model.config.thresholds, limits.timeout, self._keep)
        self._label_counters = {label: counted.predictions(label) for label in model.config.labels}
        self._judgement_counters = {name: counted.judged(name) for name in JUDGEMENTS}
        self._predicted = counted.outcomes("predicted")
        self._memory_hits = metrics.CACHE_LOOKUPS.labels("memory", "hit")
        self._memory_misses = metrics.CACHE_LOOKUPS.labels("memory", "miss")

    @property
    def info(self) -> EngineInfo:
        """What computes."""
        return self._engine.info

    @property
    def in_flight(self) -> int:
        """Texts admitted and not yet answered."""
        return self._in_flight

    @property
    def ready(self) -> bool:
        """Whether texts should be sent: they would be answered, and the end is not near."""
        return self._engine.ready and not self.draining

    def drain(self) -> None:
        """Say from now on that no more texts should be sent; those that come are answered all the same."""
        self.draining = True

    def without_cache(self) -> Classifier:
        """The same model and engine without caches and with bounds of its own, for texts that will not come again."""
        return Classifier(self.model, self._tokenizer, self._engine, self._limits, further=self.named is not None)

    def start(self, text: str) -> Prediction | PendingText | None:
        """Answer one text from this process' cache, or start it, without waiting for anything.

        Returns:
            the cached prediction; or the pending text, which the caller hands to ``finish`` once, done or not; or None,
            and nothing has happened, where only ``classify`` can tell (a text that is long or refused).

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
                metrics.buffered.count(self._memory_hits)
                self._count_one(found)
                return found
        if self._refuse(text):
            return None
        self._check_in_flight(1)
        if key is not None and self._shared is not None and self._shared.worth_asking:
            metrics.buffered.count(self._memory_misses)
            return self._admitted(text, self._dispatcher.look_up_or_submit(key, text, self._ask_shared))
        pending = self._dispatcher.submit_one(key, text)
        if pending is not None and key is not None:
            metrics.buffered.count(self._memory_misses)
            if self._shared is not None:
                self._shared.pass_over([key])
        return None if pending is None else self._admitted(text, pending)

    def _admitted(self, text: str, pending: PendingText) -> PendingText:
        self._in_flight += 1
        if self.shadow is not None:
            self.shadow.watch(text, pending)
        return pending

    def finish(self, pending: PendingText) -> Outcome:
        """The outcome of a pending text of ``start``; one that is not done is given up, with a ``DeadlineError``."""
        try:
            outcome = pending.outcome()
        finally:
            self._dispatcher.leave(pending.batch)
            self._in_flight -= 1
        self._count_one(outcome)
        return outcome

    def leave(self, pending: PendingText) -> None:
        """Give up a pending text of ``start`` whose caller is gone."""
        self._dispatcher.leave(pending.batch)
        self._in_flight -= 1

    @property
    def idle(self) -> bool:
        """Whether no text is in flight."""
        return not self._in_flight

    def expected_wait(self) -> float:
        """Seconds that a text would wait for the engine now. See ``Engine.expected_wait``."""
        return self._engine.expected_wait()

    def admit(self, texts: int, tokens: int) -> None:
        """Say whether a request that needs the engine for so much would be taken now. See ``Engine.admit``."""
        self._check_in_flight(texts)
        self._dispatcher.admit(texts, tokens)

    async def classify(
        self, texts: Sequence[str], *, timeout: float | None = None, early: Listener | None = None
    ) -> list[Outcome]:
        """One outcome per text, in order; a text that fails does not touch the others.

        Args:
            texts: any strings.
            timeout: seconds after which an unfinished text is a ``DeadlineError``; at most the limit.
            early: told of some texts, in no order, while the engine computes others; all are in what is returned.

        Raises:
            OverloadedError: the whole request is refused, before any work.
            EngineUnavailableError: likewise.
        """
        self._check_in_flight(len(texts))
        deadline = time.monotonic() + min(timeout or self._limits.timeout, self._limits.timeout)
        self._in_flight += len(texts)
        try:
            return await self._classify(texts, deadline, early)
        finally:
            self._in_flight -= len(texts)

    async def _classify(self, texts: Sequence[str], deadline: float, early: Listener | None) -> list[Outcome]:
        counted: set[int] = set()

        def arrived(found: Sequence[tuple[int, Outcome]]) -> None:
            self._count([outcome for _, outcome in found])
            counted.update([index for index, _ in found])
            if early is not None:
                early(found)

        request = Request(texts, [None] * len(texts), [self._refuse(text) for text in texts], arrived)
        if self._memory is not None:
            await self._look_up(request, self._memory)
        started = time.monotonic()
        try:
            await self._dispatcher.dispatch(request)
            await wait_for_all([batch.ticket for batch in request.batches], deadline)
            if tracing.recorded():
                trace_request(request, started)
            request.fill_in()
        finally:
            self._dispatcher.leave_all(request)
        outcomes = request.all_outcomes()
        self._count([outcome for index, outcome in enumerate(outcomes) if index not in counted])
        if self.shadow is not None:
            self.shadow.offer(texts, outcomes)
        return outcomes

    def _check_in_flight(self, texts: int) -> None:
        if self._in_flight + texts > self._limits.max_texts_in_flight:
            raise OverloadedError(
                f"{self._in_flight} texts are in flight, {texts} more would exceed the limit of "
                f"{self._limits.max_texts_in_flight}",
                self._engine.drain_seconds(0),
            )

    def _refuse(self, text: str) -> TextError | None:
        if len(text) > self._limits.max_characters:
            return TextTooLongError(len(text), self._limits.max_characters)
        return BlankTextError() if not text or text.isspace() else None

    def _key_maker(self) -> KeyMaker:
        info = self._engine.info
        if self._key is None or info is not self._key_info:
            self._key = KeyMaker(self.model.digest, info.runtime, info.precision, secret=self._secret)
            self._key_info = info
        return self._key

    async def _look_up(self, request: Request, memory: MemoryCache) -> None:
        """Fill in keys, and what the caches know."""
        key_of = self._key_maker()
        for index, text in enumerate(request.texts):
            if request.outcomes[index] is None:
                request.keys[index] = key_of(text)
        with tracing.span("cache", len(request.texts)):
            await self._ask_caches(request.keys, request.outcomes, memory)

    async def _ask_caches(
        self, keys: Sequence[bytes | None], outcomes: list[Outcome | None], memory: MemoryCache
    ) -> None:
        missing = []
        for index, key in enumerate(keys):
            if key is None:
                continue
            outcomes[index] = memory.get(key)
            if outcomes[index] is None:
                missing.append((index, key))
        hits = sum(isinstance(outcome, Prediction) for outcome in outcomes)
        if hits:
            self._memory_hits.inc(hits)
        if missing:
            self._memory_misses.inc(len(missing))
        if self._shared is None or not missing:
            return
        wanted = [key for _, key in missing]
        if not self._shared.worth_asking:
            self._shared.pass_over(wanted)
            return
        found = await self._shared.get_many(wanted)
        for (index, key), value in zip(missing, found, strict=True):
            if value is not None:
                outcomes[index] = value
                memory.put(key, value)

    def _ask_shared(self, key: bytes, tell: Callable[[Prediction | None], None]) -> None:
        """Look one text up in the shared cache, and keep what it has in this process too. See ``Ask``."""

        def told(found: Found) -> None:
            if self._memory is not None and found[0] is not None:
                self._memory.put(key, found[0])
            tell(found[0])

        if self._shared is not None:
            self._shared.look_up([key], told)

    def _keep(self, key: bytes, prediction: Prediction) -> None:
        """Put into the caches what the engine computed, whoever still waits for it."""
        prediction = prediction._replace(cached=True)
        if self._memory is not None:
            self._memory.put(key, prediction)
        if self._shared is not None:
            self._shared.put(key, prediction)

    def _count_one(self, outcome: Outcome) -> None:
        """What ``_count`` does of one text, with all others of this turn of the event loop."""
        if isinstance(outcome, Prediction):
            label, score = outcome.best(self.model.config.labels)
            metrics.buffered.count(self._predicted)
            metrics.buffered.count(self._label_counters[label])
            metrics.buffered.count(self._judgement_counters[outcome.judgement])
            metrics.buffered.observe(self._counted.confidence, score)
        else:
            self._counted.outcomes(outcome.code).inc()

    def _count(self, outcomes: Sequence[Outcome]) -> None:
        labels = self.model.config.labels
        predictions = [outcome for outcome in outcomes if isinstance(outcome, Prediction)]
        best = [prediction.best(labels) for prediction in predictions]
        if best:
            self._predicted.inc(len(best))
            self._counted.confidence.observe_all([score for _, score in best])
            for label, count in Counter(label for label, _ in best).items():
                self._label_counters[label].inc(count)
            for judgement, count in Counter(prediction.judgement for prediction in predictions).items():
                self._judgement_counters[judgement].inc(count)
        if len(best) < len(outcomes):
            for outcome in outcomes:
                if not isinstance(outcome, Prediction):
                    self._counted.outcomes(outcome.code).inc()
