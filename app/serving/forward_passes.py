"""Forward passes under way, and whether one of them hangs."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from app.sentiment import Predictor, Scores, TokenIds
from app.serving.compute_threads import ComputeThreads

_Computed = TypeVar("_Computed")

_LATE_SECONDS = 1.5
"""How much longer than the slowest so far a forward pass may take before the engine is taken for hung."""
_SLOWEST_MEMORY = 0.95
"""What is left of the slowest forward pass with every further one."""


class ForwardPasses:
    """Hands forward passes to threads and keeps an eye on them."""

    def __init__(self) -> None:
        self._threads: ComputeThreads | None = None
        self._under_way: dict[asyncio.Future[Any], float] = {}
        self._slowest = 0.0

    @property
    def hung(self) -> bool:
        """Whether a forward pass takes far longer than any before."""
        oldest = min(self._under_way.values(), default=math.inf)
        return time.monotonic() - oldest > self._slowest + _LATE_SECONDS

    def start(self, threads: int) -> None:
        """From now on, in the running event loop, so many are computed at once."""
        self._threads = ComputeThreads(threads)

    def begin(self, compute: Callable[[], _Computed]) -> asyncio.Future[_Computed]:
        """Hand one over. Whoever does has to wait for it by ``end``."""
        assert self._threads is not None  # noqa: S101 - nothing is handed over before the start
        computing = self._threads.submit(compute)
        self._under_way[computing] = time.monotonic()
        return computing

    async def end(self, computing: asyncio.Future[_Computed]) -> _Computed:
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
        computing = self.begin(compute)
        meanwhile()
        return await self.end(computing)

    def close(self) -> None:
        """End the threads as soon as they have computed what was handed over. Does not wait."""
        if self._threads is not None:
            self._threads.close()


def predict(predictor: Predictor, texts: Sequence[TokenIds[int]]) -> tuple[list[Scores], float]:
    """Scores of texts, and the seconds of a core that they took.

    Raises:
        RuntimeError: there are not as many scores as texts.
    """
    started = time.thread_time()
    scores = predictor.predict(texts)
    if len(scores) != len(texts):
        raise RuntimeError(f"{len(scores)} scores for {len(texts)} texts")
    return scores, time.thread_time() - started
