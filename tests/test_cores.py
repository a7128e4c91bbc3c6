"""How many cores there are to compute on."""

from __future__ import annotations

import os

from app.cores import usable_cores


def test_usable_cores_honour_affinity() -> None:
    """A process bound to one core counts one."""
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
