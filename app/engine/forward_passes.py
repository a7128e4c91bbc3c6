"""Forward passes under way, whether one of them hangs, and whether a predictor is of any more use."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from array import array
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

from app import metrics
from app.engine.threads import ComputeThreads
from app.sentiment import TOKEN_TYPECODE, UNKNOWN_ID, Predictor, Scores, TokenIds

logger = logging.getLogger(__name__)

_Computed = TypeVar("_Computed")

_LATE_SECONDS = 1.5
"""How much longer than the slowest so far a forward pass may take before the engine is taken for hung."""
_SLOWEST_MEMORY = 0.95
"""What is left of the slowest forward pass with every further one."""
_TRIALS = 3
_TRIAL_SECONDS = 0.1
"""How often a text that is known to be computable is tried before a predictor is given up, and the rest after each."""


class DeadPredictorError(Exception):
    """A predictor cannot compute what it could before: a device in a state that only a new process gets it out of."""


class ForwardPasses:
    """Hands forward passes to threads and keeps an eye on them."""

    def __init__(self) -> None:
        self._threads: ComputeThreads | None = None
        self._under_way: dict[asyncio.Future[Any], float] = {}
        self._slowest = 0.0
        # A text that could be computed lately; this one was when the predictor was warmed up.
        self.known: TokenIds[int] = array(TOKEN_TYPECODE, [UNKNOWN_ID])

    @property
    def hung(self) -> bool:
        """Whether a forward pass takes far longer than any before."""
        oldest = min(self._under_way.values(), default=math.inf)
        return time.monotonic() - oldest > self._slowest + _LATE_SECONDS

    def start(self, threads: int) -> None:
        """From now on, in the running event loop, so many are computed at once."""
        self._threads = ComputeThreads(threads)

    def hand_over(self, compute: Callable[[], _Computed]) -> asyncio.Future[_Computed]:
        """Hand one over. Whoever does has to wait for it by ``wait_for``."""
        assert self._threads is not None  # noqa: S101 - nothing is handed over before the start
        computing = self._threads.submit(compute)
        self._under_way[computing] = time.monotonic()
        return computing

    async def wait_for(self, computing: asyncio.Future[_Computed]) -> _Computed:
        """What one computed, or the error it raised."""
        try:
            return await computing
        finally:
            seconds = time.monotonic() - self._under_way.pop(computing)
            self._slowest = max(seconds, self._slowest * _SLOWEST_MEMORY)

    async def compute(
        self, compute: Callable[[], _Computed], meanwhile: Callable[[], None], *, inline: bool
    ) -> _Computed:
        """Hand one over and do something meanwhile; or do both here, one after the other, where it is to be inline."""
        if inline:
            meanwhile()
            return compute()
        computing = self.hand_over(compute)
        meanwhile()
        return await self.wait_for(computing)

    async def prove(self, predictor: Predictor) -> None:
        """After a text failed alone, see whether one that was computed before still can be: then it was the text.

        Raises:
            DeadPredictorError: it cannot, several times in a row.
        """
        for _ in range(_TRIALS):
            try:
                await self.wait_for(self.hand_over(partial(predict, predictor, [self.known])))
            except Exception as error:
                cause = error
                await asyncio.sleep(_TRIAL_SECONDS)
            else:
                return
        metrics.INFERENCE_ERRORS.labels("dead").inc()
        logger.critical("the predictor is given up: what it computed before fails now", exc_info=cause)
        raise DeadPredictorError from cause

    def close(self) -> None:
        """End the threads as soon as they have computed what was handed over. Does not wait."""
        if self._threads is not None:
            self._threads.close()


def count_failure(error: Exception, texts: int) -> None:
    """Count and log a forward pass that failed, with its traceback where it was that of one text alone."""
    reasons: dict[type[Exception], str] = {MemoryError: "out_of_memory", FloatingPointError: "not_finite"}
    metrics.INFERENCE_ERRORS.labels(reasons.get(type(error), "model")).inc()
    if texts > 1:
        logger.warning("forward pass failed for %d texts (%s), splitting them", texts, type(error).__name__)
    else:
        logger.error("forward pass failed for a text", exc_info=error)


def require_finite(probabilities: Iterable[float]) -> None:
    """Raise ``FloatingPointError`` where not a single one is finite: not the texts are at fault then."""
    if not any(map(math.isfinite, probabilities)):
        raise FloatingPointError("no score is finite")


def predict(predictor: Predictor, texts: Sequence[TokenIds[int]]) -> tuple[list[Scores], float]:
    """Scores of texts, and the seconds of a core that they took.

    Raises:
        RuntimeError: there are not as many scores as texts.
        FloatingPointError: none of them is finite.
    """
    started = time.thread_time()
    scores = predictor.predict(texts)
    if len(scores) != len(texts):
        raise RuntimeError(f"{len(scores)} scores for {len(texts)} texts")
    require_finite(score.probabilities[0] for score in scores)
    return scores, time.thread_time() - started
