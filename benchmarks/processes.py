"""Memory, CPU time and the end of a server's whole process tree, from /proc. Linux only."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import time
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_SET_CHILD_SUBREAPER = 36
_LOOKS = 5


def adopt_orphans() -> None:
    """Make this process the parent of every descendant whose own parent ends, so that none is lost from sight."""
    ctypes.CDLL(None, use_errno=True).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants() -> list[int]:
    """Every running process below this one.

    Zombies are left out but looked through: a process whose main thread has ended while others still end is a zombie
    that keeps its children.
    """
    children: dict[int, list[int]] = {}
    zombies = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
            if fields[0] == "Z":
                zombies.add(int(entry.name))
    found: list[int] = []
    waiting = [os.getpid()]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return [pid for pid in found if pid not in zombies]


def cpu_seconds() -> dict[int, float]:
    """CPU time of every descendant so far, by process, with that of the children it has waited for."""
    stats = {pid: _stat(pid) for pid in descendants()}
    return {pid: sum(map(int, fields[11:15])) / _TICKS for pid, fields in stats.items() if fields}


def cpu_between(before: dict[int, float], after: dict[int, float]) -> float | None:
    """CPU time spent between two calls of ``cpu_seconds``.

    None where a process ended in between: its time may be lost, and a figure would be wrong without looking wrong.
    """
    return None if before.keys() - after.keys() else sum(after.values()) - sum(before.values())


def memory_bytes() -> int:
    """Proportional set size of every descendant: shared pages count once, divided among those who share them."""
    total = 0
    for pid in descendants():
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


def end_all(patience: float = 8.0) -> None:
    """SIGTERM to every descendant, SIGKILL to those that are left after ``patience`` seconds; reap them all.

    One look at /proc is not a snapshot and can miss a process that changes parents, so none may be seen several times.
    """
    deadline = time.monotonic() + patience
    _signal_all(signal.SIGTERM)
    unseen = 0
    while unseen < _LOOKS:
        unseen = 0 if _reaped() else unseen + 1
        if not unseen and time.monotonic() >= deadline:
            _signal_all(signal.SIGKILL)
        time.sleep(0.05)


def free_port() -> int:
    """A TCP port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _reaped() -> list[int]:
    """Collect ended children; those still running are the result."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    return descendants()


def _signal_all(number: signal.Signals) -> None:
    for pid in descendants():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/<pid>/stat from the state on; None where the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
