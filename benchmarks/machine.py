"""What a figure holds for: the machine and the versions of what ran on it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterable
from pathlib import Path

_GIB = 2**30


def machine() -> str:
    """Processor, cores in use, memory."""
    return f"{_processor()}, {len(os.sched_getaffinity(0))} of {os.cpu_count()} cores, {_memory():.0f} GiB"


def versions(packages: Iterable[str]) -> str:
    """Python and those of the packages that are installed."""
    found = [f"Python {platform.python_version()}"]
    for package in packages:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB
