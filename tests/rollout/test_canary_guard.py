"""The guard: what makes a canary worse than what is served, and what becomes of it then."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from app.rollout.canary_guard import Figures, Guard, Rules, counted
from app.rollout.roster import Share
from app.store import ModelStore
from tests.checkpoints import add_checkpoint
from tests.rollout.test_canary import Divided

RULES = Rules(errors=0.02, latency=3.0, change=0.2, disagreement=0.1)
JUDGED = {"ok": 900.0, "unsure": 90.0, "unreadable": 10.0}
LABELS = {"negative": 500.0, "positive": 500.0}
SERVED = Figures(1000, 20.0, 0, JUDGED, LABELS)
"""Of which an answer takes 20 ms."""


def canary(**changes: Any) -> Figures:
    """One that is as good, but for this."""
    return Figures(**{"requests": 1000, "seconds": 20.0, "judged": JUDGED, "labels": LABELS, **changes})


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, None),
        ({"failures": 20}, None),
        ({"failures": 30}, "it failed to answer 3% of its requests, more than 2%"),
        ({"requests": 0, "failures": 50, "seconds": 0}, "it failed to answer 100%"),
        ({"seconds": 59.0}, None),
        ({"seconds": 61.0}, "it takes 61 ms, more than 3 times the 20 ms of others"),
        ({"judged": {"ok": 750, "unsure": 250, "unreadable": 0}}, None),
        ({"judged": {"ok": 650, "unsure": 350, "unreadable": 0}}, "35% of its texts are unsure, 9% of others"),
        ({"judged": {"ok": 700, "unreadable": 300}}, "30% of its texts are unreadable, 1% of others"),
        ({"labels": {"negative": 310, "positive": 690}}, None),
        ({"labels": {"negative": 10, "positive": 990}}, "99% of its texts get the label positive, 50% of others"),
        ({"compared": 1000, "changed": 100}, None),
        (
            {"compared": 1000, "changed": 120},
            "as a shadow it gives 12% of the texts another label than what is served, more than 10%",
        ),
        # Too few to say.
        ({"compared": 49, "changed": 49}, None),
        ({"requests": 10, "seconds": 60.0, "failures": 39}, None),
        ({"judged": {"unsure": 49}, "labels": {"positive": 49}}, None),
    ],
)
def test_a_canary_is_worse_by_these_rules(changes: dict[str, Any], why: str | None) -> None:
    found = RULES.broken(canary(**changes), SERVED)
    assert (found is None) == (why is None), found
    assert why is None or (found or "").startswith(why)


def test_answers_out_of_a_cache_make_nobody_slow() -> None:
    """What takes less than anybody notices is not too slow, however fast the others are."""
    assert RULES.broken(canary(seconds=40.0), Figures(1000, 0.2, 0, JUDGED, LABELS)) is None


def test_without_others_only_failures_count() -> None:
    """At a share of 100 % there is nothing to compare with."""
    assert RULES.broken(canary(seconds=900.0, judged={"unsure": 1000}), Figures()) is None
    assert RULES.broken(canary(failures=500), Figures())
    assert RULES.broken(canary(compared=100, changed=50), Figures())


class Watched:
    """A guard, and what it sees."""

    def __init__(self, root: Path, *, dry_run: bool = False) -> None:
        for seed in (0, 1):
            add_checkpoint(root, seed=seed)
        self.house = Divided(ModelStore(root))
        self.house.beside.load("tiny/2", "op")
        self.figures: Mapping[str, Figures] = {}
        self.guard = Guard(
            self.house.canary,
            lambda: self.house.roster.canary,
            lambda: self.house.served,
            lambda: self.figures,
            RULES,
            window=6.0,
            dry_run=dry_run,
        )

    def see(self, canary_failures: float, served: float = 1000) -> None:
        """Look, when so much was counted in all."""
        self.figures = {"tiny/1": Figures(served), "tiny/2": Figures(1000, failures=canary_failures)}
        self.guard.look()


def test_a_worse_canary_is_taken_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What was before its share began does not count; the audit log says why."""
    watched = Watched(tmp_path)
    watched.see(500)
    watched.house.canary.divide("tiny/2", 10, "op")
    watched.see(600)
    watched.see(640)
    assert watched.house.roster.canary == Share("tiny/2", 10)
    caplog.clear()
    with caplog.at_level(logging.WARNING, "app.audit"):
        watched.see(660)
    assert watched.house.roster.canary is None
    [line] = caplog.records
    assert (line.getMessage(), vars(line)["by"], vars(line)["from"]) == ("canary: taken back", "guard", "tiny/2 10 %")
    assert "failed to answer 100%" in vars(line)["reason"]
    watched.see(900)
    assert len(caplog.records) == 1


def test_only_the_window_counts(tmp_path: Path) -> None:
    """Failures that are longer ago are forgotten."""
    watched = Watched(tmp_path)
    watched.house.canary.divide("tiny/2", 10, "op")
    for failures in (0, 40, 40, 40, 40, 80, 80):
        watched.see(failures)
    assert watched.house.roster.canary is not None
    watched.see(100)
    assert watched.house.roster.canary is None


def test_a_dry_run_only_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Once for each share."""
    watched = Watched(tmp_path, dry_run=True)
    caplog.clear()
    with caplog.at_level(logging.WARNING, "app.audit"):
        for percent in (10, 50):
            watched.house.canary.divide("tiny/2", percent, "op")
            for failures in (0, 100, 200):
                watched.see(failures)
            assert watched.house.roster.canary == Share("tiny/2", percent)
    told = [line.getMessage() for line in caplog.records]
    assert told == ["canary: set", "canary: would be taken back"] * 2


def test_an_order_under_way_is_waited_for(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.house.canary.divide("tiny/2", 10, "op")
    watched.see(0)
    with watched.house.orders.one("model load", "x", "op", "loaded", lambda: ""):
        watched.see(100)
        assert watched.house.roster.canary is not None
    watched.see(100)
    assert watched.house.roster.canary is None


@pytest.mark.parametrize("then", [0, 50])
def test_a_share_that_was_changed_meanwhile_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: float, caplog: pytest.LogCaptureFixture
) -> None:
    """An order that is carried out while the guard looks: what it saw was not of the share that is there now."""
    watched = Watched(tmp_path)
    watched.house.canary.divide("tiny/2", 10, "op")
    watched.see(0)

    def broken(*_: object) -> str:
        watched.house.canary.divide("tiny/2", then, "op")
        return "it fails"

    monkeypatch.setattr(Rules, "broken", broken)
    caplog.clear()
    watched.see(100)
    assert str(watched.house.roster.canary) == ("tiny/2 50 %" if then else "None")
    assert "canary: taken back" not in caplog.messages


def test_what_a_shadow_said_is_counted_by_version(tmp_path: Path) -> None:
    """Of all that it was compared with; what was dropped does not count."""
    code = (
        "from app import metrics; pair = ('tiny', '2', 'tiny/1'); "
        "metrics.SHADOW_TEXTS.labels(*pair, 'compared').inc(50); metrics.SHADOW_TEXTS.labels(*pair, 'failed').inc(9); "
        "metrics.SHADOW_CHANGES.labels(*pair).inc(7)"
    )
    folder = tmp_path / "tiny-1.0"
    folder.mkdir()
    (folder / "shown.json").write_text('{"model": "tiny", "version": "1", "serves": true}')
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    found = counted(tmp_path)["tiny/2"]
    assert (found.compared, found.changed) == (50, 7)


def test_nothing_is_counted_where_nobody_counts(tmp_path: Path) -> None:
    assert counted(tmp_path) == {}
