"""How many cores there are to compute on."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def usable_cores() -> int:
    """Cores this process may use: affinity, and the CPU quota of its control group (v2)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        cores = min(cores, max(1, round(int(quota) / int(period))))
    return cores
