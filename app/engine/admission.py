"""Admission: the bounds of what may wait for the engine, and how fast it drains.

A refusal costs nothing and comes before any work; what was admitted is computed. So latency is bounded at any offered
load: by the longest wait, as far as the engine's rate is known, and by numbers of texts and tokens in any case.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.errors import OverloadedError

_RATE_MEMORY = 0.2
"""Weight of the newest batch in the measured drain rate."""


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """Bounds of what waits; see the settings ``SENTIMENT_MAX_QUEUE*``."""

    max_texts: int
    max_tokens: int
    max_seconds: float

    def check(self, waiting: tuple[int, int], texts: int, tokens: int, texts_per_second: float) -> None:
        """Refuse what would exceed the number of texts or tokens.

        Where nothing waits everything is admitted: a request that is too large for the bounds alone would otherwise be
        told to come back for ever.

        Args:
            waiting: texts and tokens that wait already.
            texts: how many more.
            tokens: at most so many in them.
            texts_per_second: measured drain rate; 0 where it is not known yet.

        Raises:
            OverloadedError: with the time in which what waits now will have been computed.
        """
        if not waiting[0]:
            return
        if waiting[0] + texts > self.max_texts:
            reason = f"{texts} more would exceed the limit of {self.max_texts}"
        elif waiting[1] + tokens > self.max_tokens:
            reason = f"up to {tokens} tokens more would exceed the limit of {self.max_tokens}"
        else:
            return
        raise OverloadedError(f"{waiting[0]} texts are waiting; {reason}", drain_seconds(waiting[0], texts_per_second))

    def check_wait(self, waiting: int, texts: int, texts_per_second: float) -> None:
        """Refuse what would wait too long behind ``waiting`` texts. See ``check``.

        Raises:
            OverloadedError: likewise.
        """
        if not waiting or not texts_per_second:
            return
        expected = (waiting + texts) / texts_per_second
        if expected > self.max_seconds:
            raise OverloadedError(
                f"the expected wait of {expected:.1f} s exceeds the limit of {self.max_seconds} s",
                drain_seconds(waiting, texts_per_second),
            )


def drain_seconds(texts: int, texts_per_second: float) -> float:
    """Seconds in which so many texts are computed; at least 1, also where the rate is not known."""
    return max(1.0, texts / texts_per_second) if texts_per_second else 1.0


class DrainRate:
    """How many texts per second the engine computes when it has enough to do."""

    def __init__(self) -> None:
        self.texts_per_second = 0.0
        """0 until a batch left texts waiting: other batches are small, and say only what the engine can do at least."""

    def observe(self, texts: int, seconds: float, *, saturated: bool) -> None:
        """Take a batch into account.

        One that left nothing waiting counts where it was faster than the rate known so far. Otherwise a rate measured
        while the process was stopped would last: it admits too little for anything to be left waiting again.

        Args:
            texts: its size, times the batches that are computed side by side.
            seconds: how long it took.
            saturated: whether it left texts waiting.
        """
        rate, known = texts / max(seconds, 1e-6), self.texts_per_second
        if saturated or 0 < known < rate:
            self.texts_per_second = known + _RATE_MEMORY * (rate - known) if known else rate
