"""How a machine is divided: into engines, each with cores of its own that it shares with its group of HTTP workers.

An engine's event loop takes one core's time for 21,000 to 24,000 texts a second, whatever the machine; a text costs a
fifth of a millisecond of a core in all. So six cores that are used to 70 %, as they should be, bring about as many
texts as one engine takes, and a CPU has an engine for every six cores. A GPU has one, since only one process can fill
its batches with everybody's texts.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from app.process.cores import free_memory, usable_cores

_ENGINE_CORES = 6
_WORKER_BYTES = 100_000_000
"""What an HTTP worker may come to hold, with a full cache; as measured it has 47 MB of its own after the start."""
_WORKERS_MEMORY = 0.5
"""Share of the memory that HTTP workers may take by default. The rest is for engines, explainers and another model."""


@dataclass(frozen=True)
class Group:
    """One engine and its HTTP workers.

    Attributes:
        threads: cores it has, and so threads that compute.
        cores: which ones; None: any, because there is one group alone, or because a quota says how much may be used
            and not where.
        gpu: what CUDA is to see in its engine; None: everything.
        node: the memory node that its cores are of, or the first of them.
    """

    threads: int
    cores: frozenset[int] | None = None
    gpu: str | None = None
    node: int = 0

    def __str__(self) -> str:
        """For the log."""
        cores = f"{self.threads} cores" if self.cores is None else f"cores {','.join(map(str, sorted(self.cores)))}"
        return cores if self.gpu is None else f"GPU {self.gpu}, {cores}"


def groups(
    engines: int = 0,
    device: str = "cpu",
    gpus: Sequence[str] = (),
    system: Path = Path("/sys/devices/system"),
) -> list[Group]:
    """The groups of this machine, or of what of it this process may use.

    Args:
        engines: how many; 0: one for each GPU or, on a CPU, for every six cores.
        device: the setting. One GPU that it names is one.
        gpus: those that there are, see ``visible_gpus``.
        system: what the kernel says of cores and memory.
    """
    usable, binds = usable_cores(), hasattr(os, "sched_getaffinity")
    nodes = _nodes(sorted(os.sched_getaffinity(0)) if binds else range(usable), system)
    mine = list(gpus) if device in ("auto", "cuda") else []
    named = device.startswith("cuda:")
    count = engines or len(mine) or (1 if named else _default_engines(usable, len(nodes)))
    order = [core for node in nodes for core in node]
    node_of = {core: number for number, node in enumerate(nodes) for core in node}
    # With a quota of fewer cores than there are, others may be at work on any of them.
    pinned = binds and 1 < count <= len(order) <= usable
    found = []
    for place in range(count):
        first, end = (len(order) * at // count for at in (place, place + 1))
        threads = usable * (place + 1) // count - usable * place // count
        found.append(
            Group(
                max(1, threads),
                frozenset(order[first:end]) if pinned else None,
                mine[place % len(mine)] if len(mine) > 1 else None,
                node_of[order[first]] if pinned else 0,
            )
        )
    return found


def _default_engines(cores: int, nodes: int) -> int:
    """Engines for so many cores; where there are enough, as many in each memory node."""
    alike = nodes if cores >= nodes * _ENGINE_CORES else 1
    return alike * max(1, (cores // alike + _ENGINE_CORES // 2) // _ENGINE_CORES)


def default_workers(groups: Iterable[Group]) -> int:
    """HTTP workers for groups: in each its cores less one for the engine and at least one; and no more than there is
    memory for, but one for each group."""
    groups = list(groups)
    by_cores = sum(max(1, group.threads - 1) for group in groups)
    by_memory = min(by_cores, free_memory() * _WORKERS_MEMORY / _WORKER_BYTES)
    return max(len(groups), int(by_memory))


def group_of_each(workers: int, groups: Sequence[Group]) -> list[int]:
    """Which group each worker is of: they are divided as the cores are."""
    counts = [0] * len(groups)
    found = []
    for _ in range(workers):
        place = min(range(len(groups)), key=lambda number: (counts[number] + 1) / groups[number].threads)
        counts[place] += 1
        found.append(place)
    return found


def visible_gpus(device: str, devices: Path = Path("/dev")) -> list[str]:
    """What ``CUDA_VISIBLE_DEVICES`` is to be for each GPU that there may be, without asking a driver.

    Args:
        device: the setting; ``auto`` finds none where PyTorch is not installed.
        devices: where the kernel shows them.
    """
    if device == "cpu" or (device == "auto" and importlib.util.find_spec("torch") is None):
        return []
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        # CUDA takes them up to the first that is none.
        return list(takewhile(lambda name: name and not name.startswith("-"), map(str.strip, named.split(","))))
    cards = len(list(devices.glob("nvidia[0-9]*"))) or int((devices / "dxg").exists())
    return [str(number) for number in range(cards)]


def _nodes(cores: Sequence[int], system: Path) -> list[list[int]]:
    """Cores by memory node; threads of one core are neighbours."""
    nodes = []
    for folder in sorted(system.glob("node/node[0-9]*"), key=lambda path: int(path.name.removeprefix("node"))):
        found = _numbers(folder / "cpulist") & set(cores)
        if found:
            nodes.append(found)
    if left := set(cores).difference(*nodes):
        nodes.append(left)
    siblings = {core: _numbers(system / f"cpu/cpu{core}/topology/thread_siblings_list") or {core} for core in cores}
    return [sorted(node, key=lambda core: (min(siblings[core]), core)) for node in nodes]


def _numbers(path: Path) -> set[int]:
    """Numbers of a list such as ``0-3,8``; none where there is no such file."""
    try:
        parts = path.read_text(encoding="ascii").strip().split(",")
        spans = [tuple(map(int, part.split("-"))) for part in parts if part]
    except (OSError, ValueError):
        return set()
    return {number for span in spans for number in range(span[0], span[-1] + 1)}
