"""Threads that take single texts at once: as many as what texts cost is worth."""

from __future__ import annotations

import pytest

from app.serving.core_share import CoreShare


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
    share = CoreShare(threads)
    assert share.prompt_threads == threads
    share.observe(8, 8 * seconds)
    assert share.prompt_threads == prompt


def test_the_cost_is_that_of_late() -> None:
    """One odd batch changes little; when all are different, so is the answer."""
    share = CoreShare(2)
    for _ in range(50):
        share.observe(16, 16 * 0.0001)
    share.observe(1, 0.001)
    assert share.prompt_threads == 1
    for _ in range(50):
        share.observe(1, 0.001)
    assert share.prompt_threads == 2
