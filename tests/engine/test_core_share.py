"""Threads that take single texts at once: as many as what texts cost is worth."""

from __future__ import annotations

import pytest

from app.engine.core_share import CoreShare


@pytest.mark.parametrize(
    ("threads", "seconds", "prompt"),
    [
        (2, 0.00012, 1),  # a small model: HTTP costs as much
        (2, 0.003, 2),  # a large one: HTTP is nothing beside it
        (16, 0.00012, 7),
        (16, 0.003, 15),
        (2, 0.0, 1),
        (1, 1.0, 1),
    ],
)
def test_threads_are_in_the_proportion_of_the_costs(threads: int, seconds: float, prompt: int) -> None:
    """All of them before anything was measured, and at least one."""
    share = CoreShare(threads, 32)
    assert share.prompt_threads == threads
    share.observe(8, 8 * seconds)
    assert share.prompt_threads == prompt


def test_the_cost_is_that_of_late() -> None:
    """One odd batch changes little; when all are different, so is the answer."""
    share = CoreShare(2, 32)
    for _ in range(50):
        share.observe(16, 16 * 0.0001)
    share.observe(1, 0.001)
    assert share.prompt_threads == 1
    for _ in range(50):
        share.observe(1, 0.001)
    assert share.prompt_threads == 2


def test_another_thread_begins_where_one_is_free_or_a_batch_waits() -> None:
    """Of one that should compute; and not for nothing."""
    share = CoreShare(2, 32)
    share.observe(16, 16 * 0.0001)
    assert [share.wants_thread(waiting) for waiting in (0, 1, 127, 128)] == [False, True, True, True]
    with share.at_work():
        assert [share.wants_thread(waiting) for waiting in (0, 1, 127, 128)] == [False, False, False, True]
    assert share.wants_thread(1)


def test_the_event_loop_computes_what_is_short() -> None:
    """As far as is known, where one thread should compute, and where no batch is left for another one."""
    share = CoreShare(2, 32, inline_seconds=0.004)
    assert not share.belongs_inline(1, 0)
    share.observe(16, 16 * 0.0001)
    with share.at_work():
        assert [share.belongs_inline(texts, 0) for texts in (1, 32, 39, 41)] == [True, True, True, False]
        assert [share.belongs_inline(8, waiting) for waiting in (127, 128)] == [True, False]
    large, never = CoreShare(16, 32, inline_seconds=0.004), CoreShare(2, 32)
    for other in (large, never):
        other.observe(1, 0.0001)
        with other.at_work():
            assert not other.belongs_inline(1, 0)
