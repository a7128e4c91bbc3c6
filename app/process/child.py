"""One child of the supervisor: a process that is started, listened to for signs of life, and sent signals."""

from __future__ import annotations

import os
import signal
import socket
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from app.process.fork_server import ForkServer, Order
from app.process.pulse import LIFELINE_VARIABLE, RETIRED
from app.settings import METRICS_VARIABLE, RESTARTED_VARIABLE, ROLE_VARIABLE

MAX_FAILURES = 5
FAILURE_WINDOW = 60.0
"""A supervisor gives up when one of its children fails ``MAX_FAILURES`` times within so many seconds."""

CANNOT_SERVE = 78
"""Exit status of a child that would fail at every further start too (EX_CONFIG of sysexits.h)."""

DRAIN_SIGNAL = signal.SIGUSR1
"""Tells a child that its end is near: new work is still taken, but nobody should send any."""
RETIRE_SIGNAL = signal.SIGUSR2
"""Tells a child that others have taken its place: it takes no new connections, finishes what it has, and ends."""

START_SECONDS = 120.0
"""How long a child may take to its first sign of life: imports alone take a while on a busy machine."""


@dataclass
class Process:
    """A process that was started.

    Attributes:
        pid: its number.
        returncode: its exit status, or the negative number of the signal that ended it; None until that is collected.
    """

    pid: int
    returncode: int | None = None


@dataclass
class Child:
    """One process that is kept alive.

    Attributes:
        role: its name in logs and metrics, such as ``worker-0``.
        command: its arguments, as behind ``python -m app``.
        fds: file descriptors it inherits.
        heartbeat: seconds without a sign of life after which it is killed; None: it gives none.
        wake: a listening Unix socket that it inherits; it is started when somebody connects, may end when it has
            nothing to do, and its failures are no reason to give up. None: it always runs.
        drains: whether it understands ``DRAIN_SIGNAL`` and ``RETIRE_SIGNAL``.
        spare: whether it only stands by for another one, so that it can wait at the start, and be missing.
        environment: variables that it has of its own.
        cores: those that it may run on; None: any.
        metrics: folder of its metrics' files; None: it keeps none.
        retired: whether it said, after ``RETIRE_SIGNAL``, that it takes no new connections.
    """

    role: str
    command: Sequence[str]
    fds: Sequence[int] = ()
    heartbeat: float | None = None
    wake: socket.socket | None = None
    drains: bool = False
    spare: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    cores: frozenset[int] | None = None
    metrics: Path | None = None
    process: Process | None = None
    pulse: int = -1
    started: float = 0.0
    last_beat: float = 0.0
    beaten: bool = False
    retired: bool = False
    ending: bool = False
    rest: float = 0.0
    failures: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_FAILURES))

    @property
    def alive(self) -> bool:
        """Whether it runs, as far as is known: a dead one counts until its status is collected."""
        return self.process is not None and self.process.returncode is None

    @property
    def hopeless(self) -> bool:
        """Whether it failed in a way or so often that another start is pointless."""
        if self.wake is None and self.process is not None and self.process.returncode == CANNOT_SERVE:
            return True
        return len(self.failures) == MAX_FAILURES and self.failures[-1] - self.failures[0] < FAILURE_WINDOW

    def start(
        self, forks: ForkServer, environment: Mapping[str, str], lifeline: int, now: float, *, gently: bool = False
    ) -> None:
        """Start the process, or another one in the place of one that died.

        Args:
            forks: what becomes the process.
            environment: variables for all children, on top of this process' own.
            lifeline: a descriptor that the child inherits, which reports end of file when this process is gone.
            now: the time, as the supervisor counts it.
            gently: whether it is to leave the cores to others while it starts; for those that give signs of life.

        Raises:
            SentimentError: no process can be started.
        """
        variables = {**os.environ, **environment, **self.environment, ROLE_VARIABLE: self.role}
        if self.metrics is not None:
            variables[METRICS_VARIABLE] = str(self.metrics)
        files = [*self.fds, lifeline]
        if self.wake is not None:
            files.append(self.wake.fileno())
        if self.process is not None and (self.wake is None or self.process.returncode):
            variables[RESTARTED_VARIABLE] = "1"
        variables[LIFELINE_VARIABLE] = str(lifeline)
        arguments = [*self.command]
        pulse_write = -1
        if self.heartbeat is not None:
            self.forget_pulse()
            self.pulse, pulse_write = os.pipe()
            os.set_blocking(self.pulse, False)
            files.append(pulse_write)
            arguments += ["--pulse", str(pulse_write), *(["--gently"] if gently else [])]
        cores = None if self.cores is None else sorted(self.cores)
        try:
            self.process = Process(forks.start(Order(self.role, arguments, variables, files, cores)))
        finally:
            if pulse_write >= 0:
                os.close(pulse_write)
        self.started = self.last_beat = now
        self.beaten = False

    def send(self, number: int) -> None:
        """Send it a signal, where it runs."""
        if self.process is not None and self.alive:
            os.kill(self.process.pid, number)

    def listen(self, now: float) -> bool:
        """Hear its signs of life; whether they have been missing for too long."""
        if self.heartbeat is None or not self.alive:
            return False
        with suppress(BlockingIOError):
            if heard := os.read(self.pulse, 4096):
                self.last_beat, self.beaten = now, True
                self.retired = self.retired or RETIRED in heard
        return now - self.last_beat > (self.heartbeat if self.beaten else max(self.heartbeat, START_SECONDS))

    def collected(self, status: int) -> None:
        """Note its end, and remove what it said of itself in metrics; its counters stay, for whoever goes on."""
        assert self.process is not None  # noqa: S101 - the caller found it by its process id
        self.process.returncode = status
        if self.metrics is not None:
            # As ``mark_process_dead`` of the metrics library does; every gauge counts living processes only.
            for file in self.metrics.glob(f"gauge_live*_{self.role}.db"):
                file.unlink()

    def forget_pulse(self) -> None:
        """Close what its signs of life came through."""
        if self.pulse >= 0:
            os.close(self.pulse)
            self.pulse = -1
