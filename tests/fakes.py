"""Stand-ins for the parts behind the HTTP layer, with faults to order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from app.engine.interface import EngineInfo
from app.engine.ticket import Ticket
from app.errors import BlankTextError, EngineUnavailableError, NoWordsError, OverloadedError, TextTooLongError
from app.http.application import build_application
from app.http.auth.rate_counters import RateCounters
from app.sentiment import Outcome, Prediction, Scores, TextBatch, TokenIds
from app.serving.classifier import Classifier
from app.serving.explanations import ExplanationRequest, Explanations, Parts
from app.serving.pending import Listener
from app.serving.versions import FurtherVersions, Version
from app.settings import Settings
from app.store import ModelConfig, StoredModel

PREDICTION = Prediction((0.25, 0.75), tokens=3, truncated=False)
MODEL = StoredModel(
    "tiny",
    1,
    Path("tiny/1"),
    ModelConfig(architecture="gru", vocabulary_size=9, embedding_size=2, hidden_size=2, max_tokens=8, preprocessing=1),
    {},
)


class FakeClassifier(Classifier):
    """Answers every text with ``PREDICTION``, or as ordered.

    Args:
        outcomes: what certain texts get.
        error: what a whole request gets instead of outcomes.
        gate: waited for before an answer.
        is_ready: what ``ready`` says.
    """

    def __init__(
        self,
        outcomes: Mapping[str, Outcome] | None = None,
        *,
        error: Exception | None = None,
        gate: asyncio.Event | None = None,
        is_ready: bool = True,
        model: StoredModel = MODEL,
    ) -> None:
        self.model = model
        self.draining = False
        self._in_flight = 0
        self.outcomes = dict(outcomes or {})
        self.error = error
        self.gate = gate
        self.is_ready = is_ready
        self.timeouts: list[float | None] = []
        self.started = asyncio.Event()
        self.cancelled = 0

    @property
    def info(self) -> EngineInfo:
        if not self.is_ready:
            raise EngineUnavailableError("the engine is starting")
        return EngineInfo("torch", "float32", "cpu")

    @property
    def ready(self) -> bool:
        return self.is_ready

    def without_cache(self) -> FakeClassifier:
        return self

    def admit(self, texts: int, tokens: int) -> None:
        if isinstance(self.error, OverloadedError):
            raise self.error

    def start(self, text: str) -> None:
        """Only ``classify`` can tell."""

    async def classify(
        self, texts: Sequence[str], *, timeout: float | None = None, early: Listener | None = None
    ) -> list[Outcome]:
        self.timeouts.append(timeout)
        self.started.set()
        if self.error is not None:
            raise self.error
        if self.gate is not None:
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        outcomes = [self._outcome(text) for text in texts]
        if early is not None:
            early(list(enumerate(outcomes))[::2])
        return outcomes

    def _outcome(self, text: str) -> Outcome:
        if not text.strip():
            return BlankTextError()
        if len(text) > 100:
            return TextTooLongError(len(text), 100)
        if not any(character.isalnum() for character in text):
            return NoWordsError()
        return self.outcomes.get(text, PREDICTION)


class HandEngine:
    """An engine whose texts are computed when the test says so."""

    info = EngineInfo("fake", "float32", "cpu")
    ready = True

    def __init__(self) -> None:
        self.waiting: dict[Ticket, list[int]] = {}
        self.texts: list[TokenIds[int]] = []
        self.automatic = False
        self.wait = 0.0

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    def admit(self, texts: int, tokens: int) -> None: ...

    def drain_seconds(self, texts: int) -> float:
        return 1.0

    def expected_wait(self) -> float:
        return self.wait

    def submit(self, batch: TextBatch, deadline: float) -> Ticket:
        ticket = Ticket()
        self.texts += batch.texts()
        self.waiting[ticket] = batch.lengths
        if self.automatic:
            self.compute()
        return ticket

    def compute(self) -> None:
        while self.waiting:
            self.compute_next()

    def compute_next(self, fails: int | None = None) -> None:
        """Compute what has waited longest; all but the text at one place, where one fails."""
        ticket = next(iter(self.waiting))
        lengths = self.waiting.pop(ticket)
        scores = [Scores((1 / length, 1 - 1 / length)) for length in lengths]
        ticket.set_result([None if place == fails else row for place, row in enumerate(scores)])


class FakeExplainer:
    """Explains every text with its number of characters, or fails as ordered.

    Args:
        error: what a text gets instead.
        after: how many are explained before that.
    """

    def __init__(self, error: Exception | None = None, after: int = 0) -> None:
        self.error = error
        self.after = after
        self.requests: list[ExplanationRequest] = []
        self.warmed = 0

    def warm(self) -> None:
        self.warmed += 1

    async def explain(self, request: ExplanationRequest) -> Parts:
        self.requests.append(request)
        if self.error is not None and len(self.requests) > self.after:
            raise self.error
        entry = b'[{"start":0,"end":%d,"attribution":1.5}]' % len(request.text)
        return {kind: b'"%s":%s' % (kind.encode(), entry if kind == "tokens" else b"[]") for kind in request.kinds}

    async def close(self) -> None: ...


@asynccontextmanager
async def no_lifespan(_: object) -> AsyncIterator[None]:
    """Starts and stops nothing."""
    yield


def application(
    classifier: Classifier | Callable[[], Classifier | None] | None = None,
    explainer: FakeExplainer | None = None,
    further: FurtherVersions | None = None,
    **settings: Any,
) -> FastAPI:
    """The real HTTP application in front of a classifier, a fake one unless told otherwise."""
    found = classifier or FakeClassifier()
    explanations = Explanations("digest", explainer or FakeExplainer(), cache_bytes=100_000)
    given = Settings(**settings)
    return build_application(
        given,
        no_lifespan,
        found if callable(found) else lambda: found,
        lambda: explanations,
        RateCounters(given) if given.rate_limit else None,
        further=further,
    )


def versions_of(*classifiers: Classifier) -> FurtherVersions:
    """These, loaded beside what is served."""

    async def close() -> None: ...

    further = FurtherVersions(lambda name: {"candidate": 2} if name == "tiny" else {})
    explanations = Explanations("other", FakeExplainer(), cache_bytes=100_000)
    further.loaded = {it.model.reference: Version(it, explanations, close) for it in classifiers}
    return further


@cache
def plain_application(**settings: Any) -> FastAPI:
    """One for all that want the same settings, with nothing to order; for tests that send very many requests."""
    return application(**settings)


def client_of(app: FastAPI, address: str = "127.0.0.1") -> httpx.AsyncClient:
    """A client that calls the application directly, as if from that address."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(address, 1)), base_url="http://test")
