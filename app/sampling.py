"""What nobody counts and a timer has to look at: CPU time, memory, signs of life, the queue's prospects, the GPU.

In the multiprocess mode of the metrics library nobody is asked at scrape time, so each process writes down its own.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from app import metrics

logger = logging.getLogger(__name__)

SAMPLE_SECONDS = 2.0

Probe = Callable[[], None]
"""Looks at something and sets gauges. Called in a thread, again and again."""


class Queue(Protocol):
    """What the engine tells of its queue."""

    @property
    def queued(self) -> int:
        """Texts that wait."""
        ...

    @property
    def texts_per_second(self) -> float:
        """Measured drain rate; 0 before the first batch."""
        ...


class Gpu(Protocol):
    """Figures of one GPU; see ``model.gpu.GpuFigures``."""

    @property
    def memory_used(self) -> int: ...
    @property
    def memory(self) -> int: ...
    @property
    def utilization(self) -> float: ...
    @property
    def power(self) -> float: ...


async def sample(probes: Sequence[Probe]) -> None:
    """Keep gauges current, for ever. A probe that fails is logged and left out from then on."""
    working = list(probes)
    while True:
        for probe in list(working):
            try:
                await asyncio.to_thread(probe)
            except Exception:
                logger.exception("a probe failed and is given up; its metrics stand still")
                working.remove(probe)
        await asyncio.sleep(SAMPLE_SECONDS)


def process_probe() -> Probe:
    """CPU time, memory and open files of this process, and that it lives."""
    page = os.sysconf("SC_PAGE_SIZE")
    counted = 0.0

    def probe() -> None:
        nonlocal counted
        used = time.process_time()
        metrics.CPU_SECONDS.labels(metrics.process.role).inc(used - counted)
        counted = used
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        metrics.MEMORY_BYTES.labels(metrics.process.role).set(pages * page)
        metrics.OPEN_FILES.labels(metrics.process.role).set(len(list(Path("/proc/self/fd").iterdir())))
        metrics.OPEN_FILES_LIMIT.labels(metrics.process.role).set(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        metrics.SEEN.labels(metrics.process.name).set(time.time())

    return probe


def throttle_probe(path: Path = Path("/sys/fs/cgroup/cpu.stat")) -> Probe:
    """How long this process' control group (v2) had to wait because it had used up its quota of the CPU.

    Args:
        path: the group's statistics; where there are none, nothing was held back.
    """
    counted: float | None = None

    def probe() -> None:
        nonlocal counted
        if not path.exists():
            return
        found = dict(line.split() for line in path.read_text(encoding="ascii").splitlines())
        throttled = int(found.get("throttled_usec", 0)) / 1_000_000
        # What was before this process is not its own.
        metrics.CPU_THROTTLED_SECONDS.inc(max(0.0, throttled - (throttled if counted is None else counted)))
        counted = throttled

    return probe


def queue_probe(queue: Queue) -> Probe:
    """How many texts wait, and how long they will take."""

    def probe() -> None:
        rate = queue.texts_per_second
        metrics.QUEUE_DEPTH.set(queue.queued)
        metrics.QUEUE_EXPECTED_SECONDS.set(queue.queued / rate if rate else 0.0)

    return probe


def feedback_probe(held: Callable[[], int], limit: int) -> Probe:
    """How much feedback is kept.

    Args:
        held: gives bytes.
        limit: most of them.
    """

    def probe() -> None:
        metrics.FEEDBACK_BYTES.set(held())
        metrics.FEEDBACK_LIMIT_BYTES.set(limit)

    return probe


def device_probe(device: str, held: Callable[[], int], read: Callable[[], Gpu] | None) -> Probe:
    """Memory that the engine holds on its device and, where there is a GPU to ask, that GPU's own figures.

    Args:
        device: its name.
        held: gives bytes.
        read: gives the GPU's figures; None: there is none.
    """

    def probe() -> None:
        metrics.DEVICE_MEMORY_BYTES.set(held())
        if read is None:
            return
        gpu = read()
        metrics.GPU_MEMORY_USED_BYTES.labels(device).set(gpu.memory_used)
        metrics.GPU_MEMORY_BYTES.labels(device).set(gpu.memory)
        metrics.GPU_UTILIZATION.labels(device).set(gpu.utilization)
        metrics.GPU_POWER.labels(device).set(gpu.power)

    return probe
