"""A shadow judges what is served has judged: afterwards, while there is little to do, and never in anybody's way."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest
from prometheus_client import REGISTRY

from app.agreement import comparison_of
from app.errors import EngineUnavailableError, InferenceError
from app.sentiment import Outcome, Prediction
from app.serving import shadow as room
from app.serving.cache import MemoryCache
from app.serving.classifier import Classifier, ClassifierLimits
from app.serving.different_texts import DifferentTexts
from app.serving.pending import PendingText
from app.serving.shadow import MOST_WAITING, TOGETHER, Shadow
from app.serving.versions import Version
from app.store import StoredModel
from app.text.tokenizer import load_tokenizer
from tests.fakes import MODEL, FakeClassifier, HandEngine, versions_of
from tests.http.shapes import sample
from tests.waiting import until

LIMITS = ClassifierLimits(max_characters=1000, max_texts_in_flight=1000, timeout=60.0)
AGREES = Prediction((0.25, 0.75), tokens=3, truncated=False)
OTHERWISE = AGREES._replace(probabilities=(0.9, 0.1))
NUMBERS = itertools.count(2)


class Pair:
    """What is served, with an engine in the test's hands, and a shadow that answers as it is told."""

    def __init__(
        self,
        model: StoredModel,
        percent: float = 100,
        candidate: FakeClassifier | None = None,
        kept: DifferentTexts | None = None,
        memory: MemoryCache | None = None,
        processes: int = 1,
    ) -> None:
        self.engine = HandEngine()
        self.served = Classifier(model, load_tokenizer(model), self.engine, LIMITS, memory)
        self.candidate = candidate or FakeClassifier()
        # One of its own for each test, so that its counters begin at 0.
        self.candidate.model = replace(MODEL, version=next(NUMBERS))
        self.version: Version
        [self.version] = versions_of(self.candidate).loaded.values()
        comparison = comparison_of(model.config, self.candidate.model.config)
        assert comparison is not None
        self.shadow = Shadow(self.served, self.version, percent, comparison, kept, processes)
        self.served.shadow = self.shadow

    def counted(self, outcome: str) -> float:
        return self._sample("sentiment_shadow_texts_total", outcome=outcome)

    @property
    def changes(self) -> float:
        return self._sample("sentiment_shadow_changes_total")

    @property
    def differences(self) -> tuple[float, float]:
        name = "sentiment_shadow_difference"
        return self._sample(f"{name}_count"), self._sample(f"{name}_sum")

    def _sample(self, name: str, **labels: str) -> float:
        pair = {"model": "tiny", "version": str(self.candidate.model.version), "against": self.served.model.reference}
        return sample(name, **pair, **labels)

    def judge(self, text: str) -> Prediction:
        """One text, as a request without a task has it."""
        pending = self.served.start(text)
        assert isinstance(pending, PendingText)
        self.engine.compute()
        found = self.served.finish(pending)
        assert isinstance(found, Prediction)
        return found


@pytest.fixture
def pair_of(tiny_model: StoredModel) -> Callable[..., Any]:
    @asynccontextmanager
    async def make(**options: Any) -> AsyncIterator[Pair]:
        pair = Pair(tiny_model, **options)
        try:
            yield pair
        finally:
            await pair.shadow.close()

    return make


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(room, "PATIENCE_SECONDS", 1e9)  # but the machine may not be


async def test_its_series_begin_with_it(pair_of: Callable[..., Any]) -> None:
    """At 0: of a counter that appears with its first event, ``rate`` misses the event."""
    async with pair_of() as pair:
        version = pair.candidate.model.version
        labels = {"model": "tiny", "version": str(version), "against": pair.served.model.reference}
        for outcome in ("compared", "failed", "incomparable", "dropped_full", "dropped_late"):
            name = "sentiment_shadow_texts_total"
            assert REGISTRY.get_sample_value(name, {**labels, "outcome": outcome}) == 0
        assert REGISTRY.get_sample_value("sentiment_shadow_changes_total", labels) == 0


async def test_texts_are_judged_once_more_and_compared(pair_of: Callable[..., Any]) -> None:
    """Single ones and lists; what is served is asked nothing for it."""
    async with pair_of() as pair:
        found = pair.judge("a good film")
        assert pair.candidate.timeouts == []  # not before the answer
        await until(lambda: pair.counted("compared") == 1)
        pair.engine.automatic = True
        await pair.served.classify(["a bad film", "a film", "the film"])
        await until(lambda: pair.counted("compared") == 4)
        count, total = pair.differences
        assert count == 4
        assert total >= abs(found.probabilities[1] - AGREES.probabilities[1])
        assert len(pair.engine.texts) == 4
        assert pair.version.idle


async def test_another_label_is_a_change(pair_of: Callable[..., Any]) -> None:
    """``HandEngine`` takes a text of n words to be positive by 1 - 1/n."""
    candidate = FakeClassifier({"the good film was good": OTHERWISE})
    async with pair_of(candidate=candidate) as pair:
        for text in ("the good film was good", "the good film was bad"):
            pair.judge(text)
        await until(lambda: pair.counted("compared") == 2)
        assert pair.changes == 1
        assert pair.differences == (2, pytest.approx(0.7 + 0.05))


async def test_a_share_is_exactly_that(pair_of: Callable[..., Any]) -> None:
    async with pair_of(percent=30) as pair:
        for number in range(100):
            pair.judge(f"the film {number}")
            await asyncio.sleep(0)
        await until(lambda: pair.counted("compared") == 30)


async def test_what_a_cache_answers_is_not_compared_again(pair_of: Callable[..., Any]) -> None:
    """Nor what joins a text that is on its way, or has no answer."""
    async with pair_of(memory=MemoryCache(100)) as pair:
        first, second = pair.served.start("a good film"), pair.served.start("a good film")
        pair.engine.compute()
        for pending in (first, second):
            pair.served.finish(pending)
        assert isinstance(pair.served.start("a good film"), Prediction)
        await pair.served.classify(["a good film", " "])
        given_up = pair.served.start("the bad film")
        assert isinstance(given_up, PendingText)
        pair.served.leave(given_up)
        failing = pair.served.start("the film")
        pair.engine.compute_next(fails=0) if pair.engine.waiting else None
        pair.served.finish(failing)
        pair.engine.automatic = True
        await pair.served.classify(["the end"])
        await until(lambda: pair.counted("compared") == 2)


async def test_while_there_is_much_to_do_nothing_is_judged(
    pair_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts that have waited for too long are dropped, and so is what is too much; both are counted."""
    async with pair_of() as pair:
        pair.engine.wait = 1.0
        pair.engine.automatic = True
        await pair.served.classify([f"film {number}" for number in range(MOST_WAITING + 3)])
        await until(lambda: pair.counted("dropped_full") == 3)
        for _ in range(100):
            await asyncio.sleep(0)
        assert pair.candidate.timeouts == []
        monkeypatch.setattr(room, "PATIENCE_SECONDS", -1.0)
        await until(lambda: pair.counted("dropped_late") == MOST_WAITING)
        monkeypatch.setattr(room, "PATIENCE_SECONDS", 1e9)
        pair.engine.wait = 0.0
        await pair.served.classify(["the end"])
        await until(lambda: pair.counted("compared") == 1)
        assert len(pair.candidate.timeouts) == 1


@pytest.mark.parametrize(("seconds", "groups"), [(1e9, [1, TOGETHER, 1]), (0.0, [1] * (TOGETHER + 2))])
async def test_few_are_under_way_at_a_time(
    pair_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, seconds: float, groups: list[int]
) -> None:
    """The next group begins when the one before is done, and is as large as can be judged in a moment."""
    monkeypatch.setattr(room, "TOGETHER_SECONDS", seconds)
    gate = asyncio.Event()
    asked: list[int] = []

    class Counting(FakeClassifier):
        async def classify(self, texts: Any, **options: Any) -> list[Outcome]:
            asked.append(len(texts))
            return await super().classify(texts, **options)

    async with pair_of(candidate=Counting(gate=gate)) as pair:
        pair.engine.automatic = True
        await pair.served.classify([f"film {number}" for number in range(TOGETHER + 2)])
        await until(lambda: asked)
        for _ in range(100):
            await asyncio.sleep(0)
        assert asked == groups[:1]
        assert not pair.version.idle
        gate.set()
        await until(lambda: pair.counted("compared") == TOGETHER + 2)
        assert asked == groups


@pytest.mark.parametrize(("processes", "times"), [(1, 3), (4, 15)])
async def test_all_processes_together_judge_a_quarter_of_the_time(
    pair_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, processes: int, times: int
) -> None:
    """After each group, as many times what it took are rested."""
    rests: list[float] = []
    sleep = asyncio.sleep

    async def rest(seconds: float) -> None:
        rests.append(seconds)
        await sleep(0)  # for others in the test, too

    monkeypatch.setattr(asyncio, "sleep", rest)
    async with pair_of(processes=processes) as pair:
        monkeypatch.setattr(pair.shadow, "_judge", AsyncMock(return_value=2.0))
        pair.engine.automatic = True
        await pair.served.classify(["good", "bad film"])
        for _ in range(1000):
            await sleep(0)
        assert max(rests) == times * 2.0


async def test_what_finds_no_room_costs_nothing(pair_of: Callable[..., Any]) -> None:
    """A text is counted as dropped when it comes, and not looked at when it is judged."""
    async with pair_of() as pair:
        pair.engine.wait = 1.0
        for number in range(MOST_WAITING):
            pair.judge(f"film {number}")
        pending = pair.served.start("one more film")
        assert isinstance(pending, PendingText)
        await until(lambda: pair.counted("dropped_full") == 1)
        pair.engine.compute()
        pair.served.finish(pending)
        await asyncio.sleep(0)
        assert pair.counted("dropped_full") == 1


@pytest.mark.parametrize("error", [EngineUnavailableError("away"), ZeroDivisionError()])
async def test_a_shadow_that_fails_is_counted_and_harms_nobody(pair_of: Callable[..., Any], error: Exception) -> None:
    async with pair_of(candidate=FakeClassifier(error=error)) as pair:
        assert pair.judge("a good film").probabilities
        await until(lambda: pair.counted("failed") == 1)
        pair.candidate.error = None
        pair.candidate.outcomes["a bad film"] = InferenceError("not finite")
        for text in ("a bad film", "a film"):
            pair.judge(text)
        await until(lambda: (pair.counted("failed"), pair.counted("compared")) == (2, 1))


async def test_one_whose_engine_is_away_is_not_asked(pair_of: Callable[..., Any]) -> None:
    async with pair_of(candidate=FakeClassifier(is_ready=False)) as pair:
        pair.judge("a good film")
        for _ in range(100):
            await asyncio.sleep(0)
        assert pair.candidate.timeouts == []
        pair.candidate.is_ready = True
        await until(lambda: pair.counted("compared") == 1)


async def test_the_most_different_texts_are_written_down(pair_of: Callable[..., Any], tmp_path: Path) -> None:
    """At the end at the latest; with what both said."""
    kept = DifferentTexts(tmp_path, "x")
    async with pair_of(kept=kept, candidate=FakeClassifier({"the good film was good": OTHERWISE})) as pair:
        pair.judge("the good film was good")
        await until(lambda: pair.counted("compared") == 1)
        assert not kept.path.exists()
    found = json.loads(kept.path.read_text())
    assert (found["text"], found["difference"], found["changed"]) == ("the good film was good", 0.7, True)
    assert found["served"] == {"model": "tiny/1", "label": "positive", "score": 0.8}
    shadow = pair.candidate.model.reference
    assert found["shadow"] == {"model": shadow, "label": "negative", "score": 0.9}
