"""The fleet on paper: a wrong simulation would make every plan wrong."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Sequence

import pytest

from benchmarks.fleet import MAX_QUEUE, METRICS, Autoscaler, Fleet, Scaling, simulate
from tests.deploy.chart import ROOT

RATE = 10_000.0
CPU, QUEUE, BOTH = METRICS.values()
Metrics = Sequence[Callable[[Fleet, Scaling], int]]


def scaled(metrics: Metrics, load: float, step: float, largest: int = 40) -> tuple[Fleet, Autoscaler]:
    return Fleet(RATE, 5, 4), Autoscaler(Scaling.of_chart(4, largest), metrics)


def test_a_pod_computes_its_rate_and_refuses_beyond_its_bound() -> None:
    """Every text is computed, waits or is refused."""
    fleet = Fleet(RATE, 5, 2)
    assert fleet.second(0, 2 * RATE) == (0, 0)
    assert fleet.second(1, 2 * (RATE + MAX_QUEUE)) == (0, MAX_QUEUE / RATE)
    refused, wait = fleet.second(2, 2 * (RATE + 7))
    assert (refused, wait) == (14, MAX_QUEUE / RATE)


@pytest.mark.parametrize("metrics", METRICS.values(), ids=METRICS)
def test_nothing_happens_to_a_load_that_stays(metrics: Metrics) -> None:
    """At the use that is aimed at there are as many pods at the end as before."""
    fleet, autoscaler = scaled(metrics, 0, 1)
    course = simulate(fleet, autoscaler, 4 * RATE * 0.7, 1, 600)
    assert (course.last_refusal, course.refused, course.most_pods, course.pods) == (0, 0, 4, 4)


@pytest.mark.parametrize("metrics", [CPU, BOTH], ids=["cpu", "both"])
def test_a_step_is_met_and_stays_met(metrics: Metrics) -> None:
    """With the CPU among the metrics there are enough pods in the end, and none is taken away too soon."""
    fleet, autoscaler = scaled(metrics, 0, 5)
    course = simulate(fleet, autoscaler, 4 * RATE * 0.7, 5, 1_800)
    assert 0 < course.last_refusal < 300
    assert not course.refused_again
    assert math.ceil(4 * 5 * 0.7 / 0.77) <= course.pods <= 40


def test_the_queue_alone_takes_pods_away_that_are_needed() -> None:
    """A queue is empty as soon as pods are enough; why the chart scales by CPU as well."""
    fleet, autoscaler = scaled(QUEUE, 0, 5)
    assert simulate(fleet, autoscaler, 4 * RATE * 0.7, 5, 1_800).refused_again


def test_bounds_and_policies_hold() -> None:
    """Never more pods than the most, nor more new ones in a period than the policy lets."""
    fleet, autoscaler = scaled(BOTH, 0, 5, largest=10)
    sizes = []
    for now in range(300):
        fleet.second(now, 100 * RATE)
        if now % 15 == 0:
            autoscaler.decide(now, fleet)
            sizes.append(fleet.pods)
    assert max(sizes) == 10
    assert all(after <= max(2 * before, before + 4) for before, after in zip(sizes, sizes[2:], strict=False))


def test_the_page_has_what_the_commands_print() -> None:
    """Every table of docs/scale.md that is computed or simulated."""
    page = (ROOT / "docs" / "scale.md").read_text()
    for command in ("capacity", "autoscaling"):
        printed = subprocess.run(
            [sys.executable, "-m", "benchmarks.fleet", command], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        said, _, table = printed.partition("\n\n")
        assert table.strip() in page
        assert said in " ".join(page.split())
