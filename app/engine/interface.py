"""The engine's interface: where micro-batches are formed and computed, wherever that is.

There are placements of one object: in this process (tests, notebooks, development) and in a process of its own behind
a local socket. Callers see the same ``Engine``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from app.engine.ticket import Ticket
from app.sentiment import TextBatch


@dataclass(frozen=True, slots=True)
class ServedModel:
    """The model of a process, as it tells others: token ids and scores of another's are worth nothing."""

    reference: str
    """``name/version``, for people."""
    digest: str
    """``StoredModel.digest``: what has to be the same."""

    def __str__(self) -> str:
        return f"{self.reference} ({self.digest[:12]})"


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What computes: part of every cache key, of ``/models`` and of the metrics."""

    runtime: str
    precision: str
    device: str


class Engine(Protocol):
    """Token ids in, tickets for scores out."""

    @property
    def info(self) -> EngineInfo:
        """What computes; raises ``EngineUnavailableError`` before the start."""
        ...

    @property
    def ready(self) -> bool:
        """Whether a text submitted now would be computed."""
        ...

    async def start(self) -> None:
        """Load, warm up, get ready."""
        ...

    def admit(self, texts: int, tokens: int) -> None:
        """Say whether so many texts would be taken now, before they are worth any work.

        Args:
            texts: how many.
            tokens: at most so many in all of them.

        Raises:
            OverloadedError: a bound would be exceeded.
            EngineUnavailableError: the engine has been away for longer than it is worth waiting for.
        """
        ...

    def drain_seconds(self, texts: int) -> float:
        """Seconds in which what waits and so many texts more are computed, by the measured rate; at least 1."""
        ...

    def expected_wait(self) -> float:
        """Seconds that a text would wait now, by the measured rate; 0 while nothing has ever waited."""
        ...

    def submit(self, batch: TextBatch, deadline: float) -> Ticket:
        """Queue texts that ``admit`` let pass: one, or several that are wanted and answered together.

        Args:
            batch: their token ids.
            deadline: ``time.monotonic()`` after which nobody wants the answer.

        Returns:
            The promise of their scores. Cancelling it tells the engine that the texts need not be computed. It fails
            with a ``ServiceError``.

        Raises:
            EngineUnavailableError: the engine is gone for good.
        """
        ...

    async def close(self) -> None:
        """Finish what is queued, then stop."""
        ...
