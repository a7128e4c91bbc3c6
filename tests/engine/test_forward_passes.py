"""Forward passes under way: what they compute comes back, and one that hangs is noticed."""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Sequence

import pytest

from app.engine import forward_passes
from app.engine.forward_passes import ForwardPasses, predict
from app.sentiment import Scores, TokenIds
from tests.waiting import LIMIT, until


async def test_a_pass_that_takes_far_longer_than_any_before_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not before it is late, and no longer when it has ended, with a result or an error."""
    monkeypatch.setattr(forward_passes, "_LATE_SECONDS", LIMIT)
    passes, gate = ForwardPasses(), threading.Event()
    assert not passes.hung
    passes.start(1)
    assert await passes.wait_for(passes.hand_over(lambda: 7)) == 7
    held = passes.hand_over(lambda: gate.wait(LIMIT))
    assert not passes.hung
    monkeypatch.setattr(forward_passes, "_LATE_SECONDS", 0.01)
    await until(lambda: passes.hung)
    gate.set()
    assert await passes.wait_for(held)
    assert not passes.hung
    with pytest.raises(ZeroDivisionError):
        await passes.wait_for(passes.hand_over(lambda: 1 / 0))
    assert not passes.hung
    passes.close()


class Stub:
    runtime, precision, device = "fake", "float32", "cpu"
    pads = True

    def __init__(self, scores: int) -> None:
        self._scores = scores

    def predict(self, batch: Sequence[TokenIds[int]]) -> list[Scores]:
        end = time.thread_time() + 0.01
        while time.thread_time() < end:
            pass
        return [Scores((0.5, 0.5))] * self._scores


def test_scores_come_with_the_time_of_a_core_that_they_took() -> None:
    """A score that is missing is an error."""
    texts = [array("i", [2]), array("i", [3])]
    scores, seconds = predict(Stub(2), texts)
    assert (len(scores), 0.01 <= seconds < 10) == (2, True)
    with pytest.raises(RuntimeError, match="1 scores for 2 texts"):
        predict(Stub(1), texts)
