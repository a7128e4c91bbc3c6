"""Explanations in a process: one at a time, within bounds, stopped when nobody waits, cached by their bytes."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from app.errors import DeadlineError, ExplainerUnavailableError, InferenceError, OverloadedError
from app.sentiment import ExplanationKind
from app.serving import explanations as explanations_module
from app.serving.explanations import ExplanationRequest, Explanations, LocalExplainer
from tests.fakes import FakeExplainer
from tests.http.shapes import sample
from tests.waiting import until

FAR = 1e12


def request_of(text: str = "a", *kinds: ExplanationKind, deadline: float = FAR) -> ExplanationRequest:
    return ExplanationRequest(text, kinds or ("tokens",), 1, deadline)


class HandComputer:
    """Computes when the test says so, looking up now and then as the real one does."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.running = 0
        self.most = 0
        self.finished: list[str] = []
        self.stopped: list[str] = []

    def explain(
        self, text: str, kind: ExplanationKind, target: int, check: Callable[[], None], aspects: Sequence[str]
    ) -> dict[str, Any]:
        if text == "broken":
            raise RuntimeError("on purpose")
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            while not self.gate.wait(0.005):
                check()
        except DeadlineError:
            self.stopped.append(text)
            raise
        finally:
            self.running -= 1
        self.finished.append(text)
        return {kind: [text, target]}


async def test_members_of_each_kind_are_json() -> None:
    """One part per kind, without braces, to be put together as wanted."""
    computer = HandComputer()
    computer.gate.set()
    explainer = LocalExplainer(lambda: computer, 1)
    assert await explainer.explain(request_of("a", "tokens", "curve")) == {
        "tokens": b'"tokens":["a",1]',
        "curve": b'"curve":["a",1]',
    }
    await explainer.close()


async def test_one_is_computed_at_a_time_and_the_queue_is_bounded() -> None:
    """In the order of arrival; one too many is refused at once and told when to come back."""
    computer = HandComputer()
    explainer = LocalExplainer(lambda: computer, 3)
    waiting = [asyncio.ensure_future(explainer.explain(request_of(name))) for name in "abc"]
    await until(lambda: explainer.waiting == 3 and computer.running)
    with pytest.raises(OverloadedError) as refused:
        await explainer.explain(request_of("d"))
    assert refused.value.retry_after is not None
    assert refused.value.retry_after >= 1
    computer.gate.set()
    await asyncio.gather(*waiting)
    assert (computer.finished, computer.most, explainer.waiting) == (["a", "b", "c"], 1, 0)
    await explainer.close()


async def test_what_nobody_waits_for_is_stopped() -> None:
    """In the queue before it starts, and in the middle of the computation; the next one goes on."""
    computer = HandComputer()
    explainer = LocalExplainer(lambda: computer, 3)
    first, second, third = (asyncio.ensure_future(explainer.explain(request_of(name))) for name in "abc")
    await until(lambda: computer.running)
    second.cancel()
    first.cancel()
    await until(lambda: computer.stopped == ["a"])
    computer.gate.set()
    await third
    assert computer.finished == ["c"]
    await explainer.close()


async def test_deadlines() -> None:
    """One that passes in the queue and one that passes in the computation; neither holds up the next."""
    computer = HandComputer()
    explainer = LocalExplainer(lambda: computer, 3)
    for seconds in (0.2, 2, 20):  # a busy machine may take long to begin
        soon = time.monotonic() + seconds
        late = [asyncio.ensure_future(explainer.explain(request_of(name, deadline=soon))) for name in "ab"]
        for error in await asyncio.gather(*late, return_exceptions=True):
            assert isinstance(error, DeadlineError)
        await until(lambda: not computer.running)
        if computer.stopped:
            break
    assert computer.stopped == ["a"]
    computer.gate.set()
    await explainer.explain(request_of("c"))
    with pytest.raises(DeadlineError):
        await explainer.explain(request_of("d", deadline=time.monotonic() - 1))
    assert computer.finished == ["c"]
    await explainer.close()


async def test_a_failure_is_of_one_text() -> None:
    """A defect is told as such and does not end anything."""
    computer = HandComputer()
    computer.gate.set()
    explainer = LocalExplainer(lambda: computer, 3)
    with pytest.raises(InferenceError):
        await explainer.explain(request_of("broken"))
    assert await explainer.explain(request_of("b"))
    await explainer.close()


async def test_what_cannot_be_loaded_is_said_at_once_and_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each text gets a clear answer, and not each one pays for another attempt."""
    computer = HandComputer()
    computer.gate.set()
    loads = 0

    def load() -> HandComputer:
        nonlocal loads
        loads += 1
        if loads == 1:
            raise RuntimeError("no file")
        return computer

    explainer = LocalExplainer(load, 3)
    for _ in range(3):
        with pytest.raises(ExplainerUnavailableError, match="cannot start") as caught:
            await explainer.explain(request_of("a"))
        assert caught.value.retry_after == explanations_module._BETWEEN_LOADS
    assert loads == 1
    monkeypatch.setattr(explanations_module, "_BETWEEN_LOADS", 0.0)
    assert await explainer.explain(request_of("a"))
    await explainer.close()


async def test_the_cache_is_bounded_in_bytes() -> None:
    """The least recently used goes; what is larger than everything is not kept; nothing is kept of size 0."""
    for cache_bytes, known in ((0, 0), (100, 0), (560, 2), (100_000, 4)):
        fake = FakeExplainer()
        explanations = Explanations("digest", fake, cache_bytes)
        for text in "abcd" + "dc" + "dcba":
            assert await explanations.explain(request_of(text)) == b'{"tokens":[{"start":0,"end":1,"attribution":1.5}]}'
        expected = {0: 10, 2: 6, 4: 4}[known]
        assert len(fake.requests) == expected


async def test_what_differs_is_not_mixed_up() -> None:
    """Kind, class, text and model are all part of the key; parts come in the order of the request."""
    fake = FakeExplainer()
    explanations = Explanations("digest", fake, 100_000)
    await explanations.explain(ExplanationRequest("1 a", ["tokens"], 0, FAR))
    await explanations.explain(ExplanationRequest("a", ["tokens"], 0, FAR))
    await explanations.explain(ExplanationRequest("a", ["tokens"], 1, FAR))
    assert len(fake.requests) == 3
    answer = await explanations.explain(ExplanationRequest("a", ["curve", "tokens"], 1, FAR))
    assert answer.startswith(b'{"curve":[],"tokens":[')
    assert fake.requests[-1].kinds == ["curve"]
    for number, (target, aspects) in enumerate([(0, ()), (1, ()), (1, ("a",)), (1, ("a", "b")), (0, ("a",))]):
        await explanations.explain(ExplanationRequest("a", ["aspects"], target, FAR, aspects))
        # Which class was answered makes no difference to them.
        assert len(fake.requests) - 4 == [1, 1, 2, 3, 3][number]


async def test_outcomes_are_counted() -> None:
    """Computed, cached, or the reason why not."""
    names = ("computed", "cached", "overloaded")
    before = [sample("sentiment_explanations_total", outcome=name) for name in names]
    explanations = Explanations("digest", FakeExplainer(OverloadedError("full"), after=1), 100_000)
    await explanations.explain(request_of("a"))
    await explanations.explain(request_of("a"))
    with pytest.raises(OverloadedError):
        await explanations.explain(request_of("b"))
    assert [sample("sentiment_explanations_total", outcome=name) for name in names] == [count + 1 for count in before]
