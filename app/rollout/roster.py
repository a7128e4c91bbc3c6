"""The roster: which versions every HTTP worker should have loaded beside the one that it serves, which share of the
requests one of them answers, and who has it.

The supervisor writes it, and every worker asks for it again and again, saying which one it has: so a change is known
everywhere within milliseconds, and the supervisor knows when.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from app.process.control import ROSTER_SECONDS

_LOOK_SECONDS = 0.1
"""Between two looks at which workers there are."""

Entry = Mapping[str, Any]
"""What a worker needs to know of a version: ``model`` (NAME/VERSION), ``digest``, the sockets ``engine`` and
``explainer``, and the file ``vocabulary``."""


class Share(NamedTuple):
    """A version and its share of the requests that name none.

    Attributes:
        model: NAME/VERSION.
        percent: more than 0, at most 100.
    """

    model: str
    percent: float

    def __str__(self) -> str:
        return f"{self.model} {self.percent:g} %"


class Roster:
    """The roster, and what workers have of it. For any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._number = 0
        self._entries: list[Entry] = []
        self._settled = False
        self._canary: Share | None = None
        self._shadow: Share | None = None
        self._taken_back = 0
        self._seen: dict[int, int] = {}
        self._faults: dict[int, Mapping[str, str]] = {}

    def publish(self, entries: Iterable[Entry], *, settled: bool = True) -> int:
        """Have workers load these versions and no others; the number of this roster.

        Args:
            entries: the versions.
            settled: whether all versions are in it that were to be there from the start, so that workers may say that
                they are ready.
        """
        with self._change():
            self._entries, self._settled = list(entries), settled
            return self._number

    @property
    def canary(self) -> Share | None:
        """The version that answers a share of the requests that name none."""
        return self._canary

    def divide(self, share: Share | None) -> int:
        """Have a version answer a share of the requests that name none; the number of this roster. See ``publish``."""
        with self._change():
            self._canary = share
            return self._number

    @property
    def shadow(self) -> Share | None:
        """The version that judges a share of the texts for comparison."""
        return self._shadow

    def cast_shadow(self, share: Share | None) -> int:
        """Have a version judge a share of the texts; the number of this roster. See ``publish``."""
        with self._change():
            self._shadow = share
            return self._number

    def shares(self, model: str) -> list[Share]:
        """What a version has a share of, as canary and as shadow."""
        return [share for share in (self._canary, self._shadow) if share is not None and share.model == model]

    def end_shares(self, model: str) -> None:
        """Have a version be neither canary nor shadow."""
        with self._change():
            if self._canary is not None and self._canary.model == model:
                self._canary = None
            if self._shadow is not None and self._shadow.model == model:
                self._shadow = None

    def count_taken_back(self) -> None:
        """Have it known that a share was taken back."""
        with self._change():
            self._taken_back += 1

    @contextmanager
    def _change(self) -> Iterator[None]:
        """Change what workers are told: the roster gets its next number first, and all who wait are woken last."""
        with self._changed:
            self._number += 1
            yield
            self._changed.notify_all()

    def answer(self, question: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer a worker as soon as it has not what it should have; after a while at the latest."""
        worker, seen = int(question["worker"]), int(question["seen"])
        with self._changed:
            self._seen[worker], self._faults[worker] = seen, question["faults"]
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._number != seen, ROSTER_SECONDS)
            told: dict[str, Any] = {"number": self._number, "models": self._entries, "settled": self._settled}
            shares = {"canary": self._canary, "shadow": self._shadow}
            told |= {name: share and share._asdict() for name, share in shares.items()}
            return told | {"taken_back": self._taken_back}

    def wait(self, number: int, workers: Callable[[], set[int]], seconds: float) -> Mapping[str, str] | None:
        """Wait until all workers have a roster.

        Args:
            number: of the roster, or a later one.
            workers: tells the process ids of those that live.
            seconds: how long.

        Returns:
            By NAME/VERSION, why a worker has not loaded it; None: some worker did not say that it has the roster.
        """
        deadline = time.monotonic() + seconds
        with self._changed:
            while True:
                alive = workers()
                for gone in self._seen.keys() - alive:
                    del self._seen[gone], self._faults[gone]
                if all(self._seen.get(worker, -1) >= number for worker in alive):
                    return {name: fault for faults in self._faults.values() for name, fault in faults.items()}
                if time.monotonic() > deadline:
                    return None
                self._changed.wait(_LOOK_SECONDS)
