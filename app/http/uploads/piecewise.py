"""Classifies the texts of a file so that nobody else notices."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence

from app.errors import DeadlineError, EngineClosedError, EngineUnavailableError, OverloadedError, ServiceError
from app.files.scorer import cut, refusal
from app.http.auth.meter import Meter, RateLimitedError
from app.http.body import ClientGoneError
from app.sentiment import Outcome
from app.serving.classifier import Classifier

_PIECE_TEXTS = 8
_PIECE_CHARACTERS = 16_000
_PIECE_COST = 4_000
"""What a piece costs beside its texts, in characters."""
_PACE_GROWTH = 1.01
_GIVEN_BACK = 2.0
_LONGEST_PAUSE = 1.0
_SHORTEST_WAIT = 0.1
_LATER = (OverloadedError, DeadlineError, EngineUnavailableError)


class BrokenOffError(Exception):
    """A response that has begun cannot be finished."""


class Piecewise:
    """Classifies the texts of a file piece by piece, behind everybody else.

    What a piece takes longer than the quickest of late, others have caused, and it is given back to them twice: the
    idea of background transfers (LEDBAT, RFC 6817). Alone, a file goes at full speed.

    Args:
        classifier: who classifies.
        patience: seconds that a piece waits for its turn.
        gone: done when nobody waits for the results any more.
        meter: counts the texts; those over the limit wait like those that the service has no room for.
    """

    def __init__(self, classifier: Classifier, patience: float, gone: asyncio.Task[None], meter: Meter) -> None:
        self._classifier = classifier
        self._patience = patience
        self._gone = gone
        self._meter = meter
        self._pace = math.inf

    async def count(self, texts: int) -> None:
        """Count so many texts, and wait for the rate limit meanwhile.

        Raises:
            ClientGoneError: nobody waits for them.
            BrokenOffError: the rate limit was reached for too long.
        """
        step = min(_PIECE_TEXTS, self._meter.most)
        for start in range(0, texts, step):
            await self._count(min(step, texts - start))

    async def classify(self, texts: Sequence[object]) -> list[Outcome]:
        """One outcome per text, in order; they were counted before.

        Raises:
            ClientGoneError: nobody waits for them.
            BrokenOffError: the service was full, or its engine away, for too long or for good.
        """
        refused = [refusal(text) for text in texts]
        wanted = [str(text) for text, error in zip(texts, refused, strict=True) if error is None]
        found: list[Outcome] = []
        for piece in cut(wanted, _PIECE_TEXTS, _PIECE_CHARACTERS):
            started = time.monotonic()
            found += await self._piece(piece)
            await self._give_way(time.monotonic() - started, _PIECE_COST + sum(map(len, piece)))
        left = iter(found)
        return [error or next(left) for error in refused]

    async def _piece(self, texts: Sequence[str]) -> list[Outcome]:
        until = time.monotonic() + self._patience
        while True:
            outcomes = await self._try(texts)
            late = [outcome for outcome in outcomes if isinstance(outcome, _LATER)]
            if not late:
                return outcomes
            if isinstance(late[0], EngineClosedError):
                raise BrokenOffError(str(late[0]))
            await self._wait(late[0].retry_after or 0.0, until, late[0])

    async def _count(self, texts: int) -> None:
        until = time.monotonic() + self._patience
        while True:
            try:
                return await self._meter.count(texts)
            except RateLimitedError as error:
                await self._wait(error.seconds, until, error.detail)

    async def _wait(self, seconds: float, until: float, why: object) -> None:
        seconds = max(seconds, _SHORTEST_WAIT)
        if time.monotonic() + seconds > until:
            raise BrokenOffError(f"waited {self._patience:g} s: {why}")
        await asyncio.wait({self._gone}, timeout=seconds)
        if self._gone.done():
            raise ClientGoneError

    async def _give_way(self, seconds: float, cost: int) -> None:
        # A little slower each time, so that a machine that has become slower is not taken for a busy one for ever.
        self._pace = min(self._pace * _PACE_GROWTH, seconds / cost)
        delay = _GIVEN_BACK * (seconds - self._pace * cost)
        if delay > 0:
            await asyncio.sleep(min(delay, _LONGEST_PAUSE))

    async def _try(self, texts: Sequence[str]) -> list[Outcome]:
        work = asyncio.create_task(self._classifier.classify(texts))
        try:
            await asyncio.wait({work, self._gone}, return_when=asyncio.FIRST_COMPLETED)
            if self._gone.done():
                raise ClientGoneError
            return work.result()
        except ServiceError as error:
            return [error]
        finally:
            if not work.done():
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
