"""The parent of all processes: binds the port, starts engine and HTTP workers, restarts what dies, ends in order.

Imports neither torch nor the web framework, so that it stays small and has nothing in it that could crash. As process
1 of a container it also reaps orphans.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from app.process.cores import usable_cores
from app.process.pulse import LIFELINE_VARIABLE
from app.settings import RESTARTED_VARIABLE, ROLE_VARIABLE
from app.version import PACKAGE

logger = logging.getLogger(__name__)

MAX_FAILURES = 5
FAILURE_WINDOW = 60.0
"""A supervisor gives up when one of its children fails ``MAX_FAILURES`` times within so many seconds."""

CANNOT_SERVE = 78
"""Exit status of a child that would fail at every further start too (EX_CONFIG of sysexits.h)."""

DRAIN_SIGNAL = signal.SIGUSR1
"""Tells a child that its end is near: new work is still taken, but nobody should send any."""

PROGRAM: tuple[str, ...] = ("-m", PACKAGE) if Path(__file__).parents[2] == Path.cwd() else ("-P", "-m", PACKAGE)
"""What children run, as arguments of the interpreter; -P, so that where it is an installed package, nothing in the
folder of whoever starts it is taken for it."""

START_SECONDS = 120.0
"""How long a child may take to its first sign of life: imports alone take a while on a busy machine."""

LONGEST_REST = 30.0
"""Most seconds before a failed child that is started on demand is started again."""

_REFUSING_REST = 2.0  # where a child's rest is so long, those who ask for it meanwhile are turned away
_TICK = 0.1
_STALL_SECONDS = 1.0
"""Between two looks at the children, of which there are ten a second, so much time passes only when this process
stands still."""


@dataclass
class Child:
    """One process that is kept alive.

    Attributes:
        role: its name in logs and metrics, such as ``worker-0``.
        command: arguments after ``python -m app``.
        fds: file descriptors it inherits.
        heartbeat: seconds without a sign of life after which it is killed; None: it gives none.
        wake: a listening Unix socket that it inherits; it is started when somebody connects, may end when it has
            nothing to do, and its failures are no reason to give up. None: it always runs.
        drains: whether it understands ``DRAIN_SIGNAL``.
    """

    role: str
    command: Sequence[str]
    fds: Sequence[int] = ()
    heartbeat: float | None = None
    wake: socket.socket | None = None
    drains: bool = False
    process: subprocess.Popen[bytes] | None = None
    pulse: int = -1
    started: float = 0.0
    last_beat: float = 0.0
    beaten: bool = False
    ending: bool = False
    rest: float = 0.0
    failures: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_FAILURES))

    @property
    def alive(self) -> bool:
        """Whether it runs, as far as is known: a dead one counts until its status is collected.

        ``Popen.poll``, and ``kill`` and ``terminate`` with it, would collect it too, and who starts it again would not
        hear of its death.
        """
        return self.process is not None and self.process.returncode is None

    def send(self, number: int) -> None:
        """Send it a signal, where it runs."""
        if self.process is not None and self.alive:
            os.kill(self.process.pid, number)

    @property
    def hopeless(self) -> bool:
        """Whether it failed in a way or so often that another start is pointless."""
        if self.wake is None and self.process is not None and self.process.returncode == CANNOT_SERVE:
            return True
        return len(self.failures) == MAX_FAILURES and self.failures[-1] - self.failures[0] < FAILURE_WINDOW


class Supervisor:
    """Runs children until told to stop.

    Args:
        environment: variables for the children, on top of this process' own.
        grace: seconds after SIGTERM in which children still take new work.
        patience: seconds that each stage of an orderly end may take after that.
        listener: the listening socket that children inherit. Closed when the end begins: connections that nobody
            accepts are refused only when nobody holds it any more.
        metrics: folder of the metrics' files, which children are told; None: they keep none.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        grace: float,
        patience: float,
        listener: socket.socket | None = None,
        metrics: Path | None = None,
    ) -> None:
        self._environment = dict(environment)
        self._grace = grace
        self._patience = patience
        self._listener = listener
        self._metrics = metrics
        if metrics is not None:
            self._environment["PROMETHEUS_MULTIPROC_DIR"] = str(metrics)
        self._looked = time.monotonic()
        self._asleep = 0.0
        self._children: list[Child] = []
        self._signals: list[int] = []
        # Children hold the reading end: it reports end of file when this process is gone, however it ended.
        self._lifeline_read, self._lifeline_write = os.pipe()

    def add(self, child: Child) -> None:
        """Add a child; children end in the reverse of this order."""
        self._children.append(child)

    def run(self) -> int:
        """Start all children and keep them alive until a signal.

        Returns:
            Exit status: 0 after an orderly end, 1 where children kept failing or had to be killed.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._receive)
        # nohup makes it ignored, and means it.
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._receive)
        for child in self._children:
            if child.wake is None:
                self._start(child)
        try:
            while not self._signals and not self._given_up():
                self._look_after()
            # SIGINT comes from a person at a terminal, who need not wait for load balancers.
            if self._signals in ([signal.SIGTERM], [signal.SIGHUP]):
                self._announce_end()
            failed = self._given_up()
            clean = self._stop()
            return 0 if clean and not failed else 1
        finally:
            for child in self._children:
                child.send(signal.SIGKILL)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        # A terminal that closes sends SIGHUP more than once, and systemd sends it right behind SIGTERM.
        if number != signal.SIGHUP or not self._signals:
            self._signals.append(number)

    def _now(self) -> float:
        """A monotonic clock in seconds that stands still while this process does: stopped, or in a paused container.

        Children usually stand still with it, and must not be taken for hung, or for late, because of that.
        """
        return time.monotonic() - self._asleep

    def _look_after(self) -> None:
        """Start again what died, kill what hangs, and wait a moment."""
        now = time.monotonic()
        if now - self._looked > _STALL_SECONDS:
            self._asleep += now - self._looked
            logger.warning("this process stood still for %.1f s", now - self._looked)
        self._looked = now
        self._reap()
        self._wake()
        self._watch_heartbeats()
        time.sleep(_TICK)

    def _given_up(self) -> bool:
        hopeless = [child for child in self._children if child.hopeless]
        for child in hopeless:
            logger.critical("%s cannot be kept running, giving up", child.role)
        return bool(hopeless)

    def _announce_end(self) -> None:
        """Let children say that they are not ready, and give those who ask them time to notice."""
        for child in self._children:
            if child.drains and child.alive:
                child.ending = True
                child.send(DRAIN_SIGNAL)
        deadline = self._now() + self._grace
        while self._now() < deadline and len(self._signals) == 1:
            self._look_after()

    def _start(self, child: Child) -> None:
        environment = {**os.environ, **self._environment, ROLE_VARIABLE: child.role}
        fds = [*child.fds, self._lifeline_read]
        if child.wake is not None:
            fds.append(child.wake.fileno())
        if child.process is not None and (child.wake is None or child.process.returncode):
            environment[RESTARTED_VARIABLE] = "1"
        environment[LIFELINE_VARIABLE] = str(self._lifeline_read)
        command = [sys.executable, *PROGRAM, *child.command]
        pulse_write = -1
        if child.heartbeat is not None:
            if child.pulse >= 0:
                os.close(child.pulse)
            child.pulse, pulse_write = os.pipe()
            os.set_blocking(child.pulse, False)
            fds.append(pulse_write)
            command += ["--pulse", str(pulse_write)]
        # Not in the terminal's foreground group: Ctrl-C is for the supervisor, which ends the others in order.
        child.process = subprocess.Popen(command, env=environment, pass_fds=fds, process_group=0)  # noqa: S603
        child.started = child.last_beat = self._now()
        child.beaten = False
        if pulse_write >= 0:
            os.close(pulse_write)

    def _reap(self) -> None:
        """Collect dead children, and as process 1 orphans too, and start children again."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for child in self._children:
                if child.process is not None and child.process.pid == pid:
                    child.process.returncode = os.waitstatus_to_exitcode(status)
                    self._clear_gauges(child.role)
                    self._replace(child)

    def _clear_gauges(self, role: str) -> None:
        """Remove what a child that has ended said of itself; its counters stay, and its successor goes on with them."""
        if self._metrics is not None:
            # As ``mark_process_dead`` of the metrics library does; every gauge counts living processes only.
            for file in self._metrics.glob(f"gauge_live*_{role}.db"):
                file.unlink()

    def _replace(self, child: Child) -> None:
        assert child.process is not None  # noqa: S101 - the caller found it by its process id
        if child.ending:
            return
        if child.wake is not None:
            self._lay_down(child, child.process.returncode)
            return
        child.failures.append(self._now())
        logger.error("%s ended with status %s", child.role, child.process.returncode)
        if not child.hopeless:
            self._start(child)

    def _lay_down(self, child: Child, status: int) -> None:
        """A child that is started on demand has ended."""
        if status == 0:
            logger.info("%s ended, having nothing to do", child.role)
            child.rest = 0.0
            return
        if status == CANNOT_SERVE and child.wake is not None:
            logger.critical("%s cannot be started, giving it up; whoever needs it is refused", child.role)
            child.ending = True
            child.wake.close()
            return
        lived = self._now() - child.started
        child.rest = 1.0 if lived > LONGEST_REST else min(LONGEST_REST, max(1.0, 2 * child.rest))
        logger.error(
            "%s ended with status %s, to be started again after %.0f s at least", child.role, status, child.rest
        )
        child.started = self._now()

    def _wake(self) -> None:
        """Start what is started on demand where somebody waits for it."""
        for child in self._children:
            if child.wake is None or child.ending or child.alive:
                continue
            if not select.select([child.wake], [], [], 0)[0]:
                continue
            if self._now() - child.started >= child.rest:
                self._start(child)
            elif child.rest >= _REFUSING_REST:
                child.wake.accept()[0].close()

    def _watch_heartbeats(self) -> None:
        now = self._now()
        for child in self._children:
            if child.heartbeat is None or not child.alive:
                continue
            with suppress(BlockingIOError):
                if os.read(child.pulse, 4096):
                    child.last_beat, child.beaten = now, True
            limit = child.heartbeat if child.beaten else max(child.heartbeat, START_SECONDS)
            if now - child.last_beat > limit:
                logger.error("%s gives no sign of life, killing it", child.role)
                child.send(signal.SIGKILL)
                child.last_beat = now

    def _stop(self) -> bool:
        """End children in order, last added first; a second signal ends them at once.

        Returns:
            Whether all ended by themselves and in time.
        """
        if self._listener is not None:
            self._listener.close()
        clean = True
        roles = dict.fromkeys(child.role.rpartition("-")[0] for child in reversed(self._children))
        for role in roles:
            stage = [child for child in self._children if child.role.startswith(role)]
            for child in stage:
                child.ending = True
                child.send(signal.SIGTERM)
            deadline = self._now() + self._patience
            while any(child.alive for child in stage):
                if self._now() > deadline or len(self._signals) > 1:
                    clean = False
                    break
                # What others still need is kept alive.
                self._look_after()
        return clean


def default_workers() -> int:
    """HTTP workers for this machine: the usable cores less one for the engine, at least one."""
    return max(1, usable_cores() - 1)
