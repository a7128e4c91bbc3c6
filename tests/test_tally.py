"""Tallies: what a turn of the event loop counted is written at its end, and nothing is lost."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge

from app.metrics import BatchHistogram
from app.tally import Tally


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


async def test_what_a_turn_counted_is_written_at_its_end(registry: CollectorRegistry) -> None:
    """Once for all of it; what comes in the next turn is added."""
    tally, counter = Tally(), Counter("texts", "Texts.", registry=registry)
    for _ in range(3):
        tally.count(counter)
    tally.count(counter, 4)
    assert registry.get_sample_value("texts_total") == 0
    await asyncio.sleep(0)
    assert registry.get_sample_value("texts_total") == 7
    tally.count(counter)
    await asyncio.sleep(0)
    assert registry.get_sample_value("texts_total") == 8


async def test_a_gauge_goes_up_and_down(registry: CollectorRegistry) -> None:
    """What came and went within a turn leaves it as it was."""
    tally, gauge = Tally(), Gauge("waiting", "Waiting.", registry=registry)
    tally.count(gauge, 2)
    tally.count(gauge, -1)
    await asyncio.sleep(0)
    assert registry.get_sample_value("waiting") == 1
    tally.count(gauge)
    tally.count(gauge, -1)
    await asyncio.sleep(0)
    assert registry.get_sample_value("waiting") == 1


async def test_every_observation_counts(registry: CollectorRegistry) -> None:
    """Each goes into its bucket and into the sum."""
    tally, histogram = Tally(), BatchHistogram("seconds", "Seconds.", buckets=(1, 2), registry=registry)
    for amount in (0.5, 1.5, 1.75, 9):
        tally.observe(histogram, amount)
    await asyncio.sleep(0)
    counts = [registry.get_sample_value("seconds_bucket", {"le": bound}) for bound in ("1.0", "2.0", "+Inf")]
    assert (counts, registry.get_sample_value("seconds_sum")) == ([1, 3, 4], 12.75)


def test_what_a_loop_left_is_written_by_the_next(registry: CollectorRegistry) -> None:
    """An event loop that ends before its turn is over takes nothing with it."""
    tally, counter = Tally(), Counter("texts", "Texts.", registry=registry)
    ended = asyncio.new_event_loop()

    async def count() -> None:
        tally.count(counter)

    def count_and_end() -> None:
        ended.stop()
        tally.count(counter)

    ended.call_soon(count_and_end)
    ended.run_forever()
    ended.close()
    assert registry.get_sample_value("texts_total") == 0
    asyncio.run(count())
    assert registry.get_sample_value("texts_total") == 2
