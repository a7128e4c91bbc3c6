"""The engine's interface: where micro-batches are formed and computed, wherever that is.

There are placements of one object: in this process (tests, notebooks, development) and in a process of its own behind
a local socket. Callers see the same ``Engine``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from app.engine.ticket import Ticket
from app.sentiment import ScoreTable, TextTable, TokenIds


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

    def submit(self, texts: Sequence[TokenIds[int]], deadline: float) -> Sequence[Ticket]:
        """Queue texts that ``admit`` let pass.

        Args:
            texts: token ids of each text, each at least one token long.
            deadline: ``time.monotonic()`` after which nobody wants the answer.

        Returns:
            One ticket per text. Cancelling one tells the engine that its text need not be computed. A ticket fails
            with a ``ServiceError``.

        Raises:
            EngineUnavailableError: the engine is gone for good.
        """
        ...

    def submit_table(self, table: TextTable, deadline: float) -> Ticket[ScoreTable]:
        """Queue texts that ``admit`` let pass, to be computed and answered together. See ``submit``.

        Nothing else can join them on their way, and one that fails alone is answered with numbers that are not finite.
        """
        ...

    async def close(self) -> None:
        """Finish what is queued, then stop."""
        ...
