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
import time
from collections.abc import Mapping
from types import FrameType

from app.process.child import CANNOT_SERVE, DRAIN_SIGNAL, Child
from app.process.fork_server import ForkServer
from app.process.sockets import take_no_more
from app.process.succession import Succession

logger = logging.getLogger(__name__)

LONGEST_REST = 30.0
"""Most seconds before a failed child that is started on demand is started again."""

_REFUSING_REST = 2.0  # where a child's rest is so long, those who ask for it meanwhile are turned away
_TICK = 0.1
_HANDSHAKE_SECONDS = 0.2
"""How long the handshake of a connection may take that is to be answered before the end: a round trip of the farthest
clients."""
_STALL_SECONDS = 1.0
"""Between two looks at the children, of which there are ten a second, so much time passes only when this process
stands still."""


class Supervisor:
    """Runs children until told to stop.

    Args:
        forks: what becomes the children.
        environment: variables for the children, on top of this process' own.
        grace: seconds after SIGTERM in which children still take new work.
        patience: seconds that each stage of an orderly end may take after that.
        listener: the listening socket that children inherit. Closed when the end begins: connections that nobody
            accepts are refused only when nobody holds it any more.
        longest_request: seconds that workers, in whose place others have come, may take to finish what they have.
    """

    def __init__(
        self,
        forks: ForkServer,
        environment: Mapping[str, str],
        grace: float,
        patience: float,
        listener: socket.socket | None = None,
        longest_request: float = 60.0,
    ) -> None:
        self._forks = forks
        self._environment = dict(environment)
        self._grace = grace
        self._patience = patience
        self._listener = listener
        self._looked = time.monotonic()
        self._asleep = 0.0
        self.succession = Succession(self._start, patience, longest_request)
        self._signals: list[int] = []
        # Something to read for each signal, a child's end among them, so that nobody waits for the next look.
        self._signalled_read, self._signalled_write = os.pipe()
        for end in (self._signalled_read, self._signalled_write):
            os.set_blocking(end, False)
        self._ending = False
        # Children hold the reading end: it reports end of file when this process is gone, however it ended.
        self._lifeline_read, self._lifeline_write = os.pipe()

    def add(self, child: Child) -> None:
        """Add a child to the generation that serves first. See ``_stop`` for the order in which children end."""
        self.succession.serving.children.append(child)

    @property
    def _children(self) -> list[Child]:
        return self.succession.children

    def run(self) -> int:
        """Start all children and keep them alive until a signal.

        Returns:
            Exit status: 0 after an orderly end, 1 where children kept failing or had to be killed.
        """
        signal.set_wakeup_fd(self._signalled_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._receive)
        # nohup makes it ignored, and means it.
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._receive)
        for child in self.succession.serving.always:
            self._start(child)
        try:
            while not self._signals and not self._given_up():
                self._look_after()
            self._ending = True
            self.succession.abandon()
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
        """Start again what died, kill what hangs, and wait for a signal or a moment."""
        now = time.monotonic()
        if now - self._looked > _STALL_SECONDS:
            self._asleep += now - self._looked
            logger.warning("this process stood still for %.1f s", now - self._looked)
        self._looked = now
        self._reap()
        self._wake()
        self._watch_heartbeats()
        if not self._ending:
            self.succession.step(self._now())
        if select.select([self._signalled_read], [], [], _TICK)[0]:
            os.read(self._signalled_read, 4096)

    def _given_up(self) -> bool:
        hopeless = self.succession.given_up()
        for child in hopeless:
            logger.critical("%s cannot be kept running, giving up", child.role)
        return bool(hopeless)

    def _announce_end(self) -> None:
        """Let children say that they are not ready, and give those who ask them time to notice."""
        for child in self._children:
            if child.drains and child.alive:
                child.ending = True
                child.send(DRAIN_SIGNAL)
        self._look_after_for(self._grace)

    def _look_after_for(self, seconds: float) -> None:
        """Look after the children for so long, or until a second signal."""
        deadline = self._now() + seconds
        while self._now() < deadline and len(self._signals) < 2:
            self._look_after()

    def _start(self, child: Child) -> None:
        gently = self.succession.starts_gently(child)
        child.start(self._forks, self._environment, self._lifeline_read, self._now(), gently=gently)

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
                    child.collected(os.waitstatus_to_exitcode(status))
                    self._replace(child)

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
            if self.succession.keeps(child):
                self._start(child)
        elif child.spare:
            logger.critical("%s cannot be kept running, going on without it", child.role)

    def _lay_down(self, child: Child, status: int | None) -> None:
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
            if child.listen(now):
                logger.error("%s gives no sign of life, killing it", child.role)
                child.send(signal.SIGKILL)
                child.last_beat = now

    def _stop(self) -> bool:
        """End children in order: those that answer requests first, as they need all others, also those of versions that
        were loaded after them; then last added first. A second signal ends them at once.

        Returns:
            Whether all ended by themselves and in time.
        """
        if self._listener is not None:
            take_no_more(self._listener)
            self._look_after_for(_HANDSHAKE_SECONDS)
            self._listener.close()
        clean = True
        first_to_last = sorted(self._children, key=lambda child: child.drains)
        roles = dict.fromkeys(child.role.rpartition("-")[0] for child in reversed(first_to_last))
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
