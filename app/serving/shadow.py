"""The shadow: a version beside the one that is served that judges a share of the same texts, for comparison alone.

Nobody waits for what it says. Texts come here when what is served has computed them, and a task of low priority has
them judged in small groups: only while hardly anything waits for the engine of what is served, and with a rest after
each. What has to wait for long, or is too much, is dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

from app import metrics
from app.agreement import Comparison, Difference
from app.engine.ticket import Ticket
from app.errors import ServiceError
from app.sentiment import Outcome, Prediction
from app.serving.classifier import Classifier
from app.serving.different_texts import DifferentTexts
from app.serving.pending import PendingText
from app.serving.versions import Version

logger = logging.getLogger(__name__)

MOST_WAITING = 256
"""Texts that wait for a quiet moment, in each process; one more is dropped."""
TOGETHER = 8
"""Texts that are judged at once, at most. Few, for what is served has its turn between two groups."""
TOGETHER_SECONDS = 0.002
"""How long they may take, by those before: fewer go together where the model is large or there is much to do."""
PATIENCE_SECONDS = 1.0
"""A text that has waited for so long is dropped: there is no quiet moment."""
QUIET_SECONDS = 0.002
"""Moments are quiet while a text would wait for what is served no longer than that."""
_PAUSE_SECONDS = 0.01
"""Between a text's answer and the first look whether it is quiet, and between two looks."""
_SHARE = 0.25
"""Of the time, judging takes so much at most, in all processes together: after a group, rest is taken accordingly."""
_ANSWER_SECONDS = 5.0
_WHOLE = 100.0 - 1e-6
"""Percent of a text, but for what sums of fractions lack of it."""
_WRITE_SECONDS = 5.0
"""Between two times that the most different texts are written down."""


class _Judged(NamedTuple):
    """A text that what is served has judged, and when."""

    text: str
    prediction: Prediction
    at: float


class Shadow:
    """Has texts judged once more. Belongs to the event loop that it is made in; until ``close``.

    Args:
        served: what judges them first.
        version: what judges them once more.
        percent: of the texts.
        comparison: of what the two say.
        kept: the most different texts; None keeps none.
        processes: how many have texts judged side by side.
    """

    def __init__(
        self,
        served: Classifier,
        version: Version,
        percent: float,
        comparison: Comparison,
        kept: DifferentTexts | None = None,
        processes: int = 1,
    ) -> None:
        self._served = served
        self._version = version
        self._classifier = version.classifier.without_cache()
        self._percent = percent
        self._owed = 0.0
        self._together = 1
        self._comparison = comparison
        self._kept = kept
        self._rest = processes / _SHARE - 1
        self._waiting: deque[_Judged] = deque()
        self._offered = asyncio.Event()
        model = version.classifier.model
        pair = model.name, str(model.version), served.model.reference
        self._counted = partial(metrics.SHADOW_TEXTS.labels, *pair)
        for outcome in ("compared", "incomparable", "failed", "dropped_full", "dropped_late"):
            self._counted(outcome)
        self._full = self._counted("dropped_full")
        self._changes = metrics.SHADOW_CHANGES.labels(*pair)
        self._differences = metrics.SHADOW_DIFFERENCE.labels(*pair)
        self._seconds = metrics.SHADOW_SECONDS.labels(*pair)
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._write())]

    def watch(self, text: str, pending: PendingText) -> None:
        """Take a text that is on its way through the engine, or leave it."""
        if pending.batch.waiters == 1 and self._takes() and self._has_room():
            pending.batch.ticket.add_done_callback(partial(self._judged, text, pending))

    def offer(self, texts: Sequence[str], outcomes: Sequence[Outcome]) -> None:
        """Take texts that are judged, or leave them."""
        now = time.monotonic()
        for text, outcome in zip(texts, outcomes, strict=True):
            # Out of a cache nothing is computed: the text was compared when it was.
            if isinstance(outcome, Prediction) and not outcome.cached and self._takes():
                self._put(_Judged(text, outcome, now))

    async def close(self) -> None:
        """Judge no more; what is kept is written down."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._kept is not None and self._kept.changed:
            await asyncio.to_thread(self._kept.write)

    def _takes(self) -> bool:
        """Whether the next text is one of the share: exactly so many, and evenly spread."""
        self._owed += self._percent
        if self._owed < _WHOLE:
            return False
        self._owed -= 100.0
        return True

    def _judged(self, text: str, pending: PendingText, ticket: Ticket) -> None:
        if ticket.scores is None:
            return
        outcome = pending.outcome()
        if isinstance(outcome, Prediction) and not outcome.cached:
            self._put(_Judged(text, outcome, time.monotonic()))

    def _has_room(self) -> bool:
        """Whether one more may wait; if not, it is counted."""
        if len(self._waiting) < MOST_WAITING:
            return True
        metrics.buffered.count(self._full)
        return False

    def _put(self, judged: _Judged) -> None:
        if self._has_room():
            self._waiting.append(judged)
            self._offered.set()

    async def _run(self) -> None:
        while True:
            await self._offered.wait()
            self._offered.clear()
            rest = 0.0
            while self._waiting:
                await asyncio.sleep(max(_PAUSE_SECONDS, rest))
                rest = 0.0
                self._drop_late()
                if self._quiet() and (group := self._next()):
                    seconds = await self._judge(group)
                    fitting = int(TOGETHER_SECONDS / max(seconds, 1e-6) * len(group))
                    self._together = min(TOGETHER, max(1, fitting))
                    rest = self._rest * seconds

    def _drop_late(self) -> None:
        oldest, late = time.monotonic() - PATIENCE_SECONDS, 0
        while self._waiting and self._waiting[0].at < oldest:
            self._waiting.popleft()
            late += 1
        if late:
            self._counted("dropped_late").inc(late)

    def _quiet(self) -> bool:
        served = self._served
        return self._classifier.ready and served.ready and served.expected_wait() <= QUIET_SECONDS

    def _next(self) -> list[_Judged]:
        return [self._waiting.popleft() for _ in range(min(self._together, len(self._waiting)))]

    async def _judge(self, group: Sequence[_Judged]) -> float:
        """Have texts judged, and compare; how many seconds that took."""
        started = time.monotonic()
        outcomes: Sequence[Outcome | None] = [None] * len(group)
        try:
            with self._version:
                outcomes = await self._classifier.classify([it.text for it in group], timeout=_ANSWER_SECONDS)
        except ServiceError:
            pass  # all of them failed
        except Exception:
            logger.exception("the shadow failed")
        seconds = time.monotonic() - started
        self._seconds.observe(seconds)
        for judged, outcome in zip(group, outcomes, strict=True):
            self._compare(judged, outcome)
        return seconds

    def _compare(self, judged: _Judged, outcome: Outcome | None) -> None:
        if not isinstance(outcome, Prediction):
            self._counted("failed").inc()
            return
        difference = self._comparison.of(judged.prediction, outcome)
        if difference is None:
            self._counted("incomparable").inc()
            return
        self._counted("compared").inc()
        self._changes.inc(difference.changed)
        self._differences.observe(difference.score)
        if self._kept is not None:
            self._kept.add(self._entry(judged, outcome, difference))

    def _entry(self, judged: _Judged, outcome: Prediction, difference: Difference) -> dict[str, Any]:
        said = {}
        for name, classifier, prediction in (
            ("served", self._served, judged.prediction),
            ("shadow", self._version.classifier, outcome),
        ):
            label, score = prediction.best(classifier.model.config.labels)
            said[name] = {"model": classifier.model.reference, "label": label, "score": round(score, 4)}
        return {
            "time": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "difference": round(difference.score, 4),
            "changed": difference.changed,
            **said,
            "text": judged.text,
        }

    async def _write(self) -> None:
        while self._kept is not None:
            await asyncio.sleep(_WRITE_SECONDS)
            if self._kept.changed:
                await asyncio.to_thread(self._kept.write)
