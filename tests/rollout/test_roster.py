"""The roster: workers hear of it at once, and it is known when all of them have it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from app.rollout import roster as room
from app.rollout.roster import Roster, Share
from tests.waiting import wait_until

ENTRY = {"model": "m/1"}
NOBODY = {"canary": None, "shadow": None}


class Worker(threading.Thread):
    """One that asks again and again.

    Attributes:
        seen: number of the roster it has.
        faults: what it says of it.
    """

    def __init__(self, roster: Roster, number: int, faults: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.roster = roster
        self.number = number
        self.seen = -1
        self.faults = dict(faults or {})
        self.told: Mapping[str, Any] = {}
        self.ended = False
        self.start()

    def run(self) -> None:
        while not self.ended:
            question = {"worker": self.number, "seen": self.seen, "faults": self.faults}
            self.told = self.roster.answer(question)
            self.seen = self.told["number"]


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Worker]]:
    monkeypatch.setattr(room, "ROSTER_SECONDS", 0.05)
    started: list[Worker] = []
    yield started
    for worker in started:
        worker.ended = True
    for worker in started:
        worker.join()


def test_a_change_is_known_when_all_have_it(workers: list[Worker]) -> None:
    roster = Roster()
    workers += [Worker(roster, number) for number in (1, 2)]
    wait_until(lambda: all(worker.told for worker in workers))
    assert workers[0].told == {"number": 0, "models": [], "settled": False, **NOBODY, "taken_back": 0}
    number = roster.publish([ENTRY])
    assert roster.wait(number, lambda: {1, 2}, 60.0) == {}
    assert workers[1].told == {"number": number, "models": [ENTRY], "settled": True, **NOBODY, "taken_back": 0}
    number = roster.divide(Share("m/1", 10.0))
    assert roster.wait(number, lambda: {1, 2}, 60.0) == {}
    canary = {"model": "m/1", "percent": 10.0}
    assert workers[1].told["canary"] == canary
    roster.divide(None)
    roster.count_taken_back()
    wait_until(lambda: workers[0].told["taken_back"] == 1)
    assert workers[0].told["canary"] is None


def test_a_worker_that_says_nothing_holds_up_for_a_while(workers: list[Worker]) -> None:
    """Unless it is gone."""
    roster = Roster()
    workers.append(Worker(roster, 1))
    number = roster.publish([ENTRY])
    assert roster.wait(number, lambda: {1, 2}, 0.0) is None
    assert roster.wait(number, lambda: {1}, 60.0) == {}


def test_what_a_worker_could_not_load_is_told(workers: list[Worker]) -> None:
    """For as long as it lives."""
    roster = Roster()
    workers += [Worker(roster, 1), Worker(roster, 2, {"m/1": "damaged"})]
    number = roster.publish([ENTRY])
    assert roster.wait(number, lambda: {1, 2}, 60.0) == {"m/1": "damaged"}
    assert roster.wait(number, lambda: {1}, 60.0) == {}
