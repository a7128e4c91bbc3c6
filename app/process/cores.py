"""How many cores there are to compute on, who is bound to which, and how much memory there is to do it in."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

logger = logging.getLogger(__name__)


class _Mount(NamedTuple):
    """A hierarchy of control groups as this process sees it.

    Attributes:
        unified: whether it is version 2.
        root: the group that is found at ``point``; another than ``/`` where a container sees a part of the tree.
        point: the folder.
    """

    unified: bool
    root: str
    point: Path


def usable_cores(proc: Path = Path("/proc/self")) -> int:
    """Whole cores this process may use, at least one: affinity, and the CPU quotas of its control group and of all
    groups around it, version 1 and 2.

    A part of a core is left out: a thread more than the quota pays for is stopped in the middle of each period.

    Args:
        proc: what the kernel says of this process.
    """
    cores = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    for folder in _groups(proc, "cpu"):
        cores = min(cores, _quota(folder))
    return max(1, int(cores))


def bind_to(cores: Collection[int] | None) -> None:
    """Bind this process to cores; None: to those that it is bound to already.

    Cores that are not to be had any more, as when somebody has changed the control group, are no reason not to start.
    """
    if cores is None:
        return
    try:
        os.sched_setaffinity(0, cores)
    except OSError as error:
        logger.warning("not bound to cores %s: %s", sorted(cores), error.strerror)


def free_memory(proc: Path = Path("/proc/self"), meminfo: Path = Path("/proc/meminfo")) -> float:
    """Bytes that this process and its children may still use: of the machine's memory, and of the limits of its control
    group and of all groups around it, version 1 and 2. What the kernel keeps of files and can give back counts as free;
    infinite where nothing is known.

    Args:
        proc: what the kernel says of this process.
        meminfo: what it says of the machine.
    """
    free = float("inf")
    with suppress(OSError, ValueError, KeyError):
        free = float(_numbers(meminfo)["MemAvailable:"] * 1024)
    for folder in _groups(proc, "memory"):
        for limit, used, inactive in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            with suppress(OSError, ValueError):  # of the other version, or "max"
                most, now = (int((folder / name).read_text(encoding="ascii")) for name in (limit, used))
                free = min(free, most - now + _numbers(folder / "memory.stat").get(inactive, 0))
    return free


def resident_memory(pids: Iterable[int]) -> int:
    """Bytes of memory that processes hold together, each its share of what several of them hold; what is gone holds
    none."""
    held = 0
    for pid in pids:
        with suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
            held += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return held


def _numbers(path: Path) -> dict[str, int]:
    """The first number behind each name of a file of the kernel's."""
    return {line[0]: int(line[1]) for line in map(str.split, path.read_text(encoding="ascii").splitlines()) if line}


def _groups(proc: Path, controller: str) -> Iterator[Path]:
    """Folders of the groups that this process is in, in every hierarchy that may bound it."""
    paths: dict[bool, str] = {}
    mounts: list[_Mount] = []
    with suppress(OSError, ValueError):
        for line in (proc / "cgroup").read_text(encoding="utf-8").splitlines():
            number, controllers, path = line.split(":", 2)
            if number == "0" or controller in controllers.split(","):
                paths[number == "0"] = path
        mounts = list(_mounts((proc / "mountinfo").read_text(encoding="utf-8"), controller))
    for unified, root, point in mounts:
        # A group outside what is mounted here cannot be looked at; the outermost that can be is read all the same.
        within = Path(paths.get(unified, root))
        parts = within.relative_to(root).parts if within.is_relative_to(root) else ()
        yield from (point.joinpath(*parts[:depth]) for depth in range(len(parts) + 1))


def _mounts(mountinfo: str, controller: str) -> Iterator[_Mount]:
    """Mounted hierarchies of a controller; see proc(5) for the fields."""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind == "cgroup2" or (kind == "cgroup" and controller in options.split(",")):
            _, _, _, root, point = before.split(" ")[:5]
            yield _Mount(kind == "cgroup2", root, Path(point))


def _quota(folder: Path) -> float:
    """Cores that a group may use; infinite where it has no quota."""
    with suppress(OSError, ValueError):  # of the other version, or "max"
        quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        return int(quota) / int(period)
    with suppress(OSError, ValueError):
        quota, period = ((folder / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in ("quota", "period"))
        if int(quota) > 0:
            return int(quota) / int(period)
    return float("inf")
