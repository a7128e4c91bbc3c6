"""The measured drain rate."""

from __future__ import annotations

from app.engine.admission import DrainRate


def test_the_drain_rate_follows_batches_that_leave_texts_waiting() -> None:
    """Others are small and slow for their size: they say nothing of what the engine can do."""
    rate = DrainRate()
    rate.observe(1, 0.1, saturated=False)
    assert not rate.texts_per_second
    for _ in range(100):
        rate.observe(10, 0.1, saturated=True)
        rate.observe(1, 0.1, saturated=False)
    assert 99 < rate.texts_per_second < 101


def test_a_rate_from_before_a_pause_does_not_last() -> None:
    """It was measured while the process was stopped, and so little is admitted since that nothing is left waiting:
    a batch that is faster than the engine is believed to be counts too."""
    rate = DrainRate()
    rate.observe(10, 60, saturated=True)
    for _ in range(20):
        rate.observe(1, 0.01, saturated=False)
    assert rate.texts_per_second > 90
