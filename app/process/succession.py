"""How another model takes the place of the one that is served: a second generation of processes on the same listener.

Every process serves one model for its whole life. The next generation is started beside the one that serves; its HTTP
workers accept nothing before their engine has greeted them, so whatever is wrong with the model ends a generation that
nobody has met. When all of its processes live, it serves, and the one before retires: its workers take no new
connections, answer what they have, and end, and then their engine does.

A generation may also stand beside the one that serves: an engine for another model, without workers of its own. Those
of whoever serves are told of it.
"""

from __future__ import annotations

import logging
import math
import queue
import signal
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum

from app.process.child import RETIRE_SIGNAL, START_SECONDS, Child

logger = logging.getLogger(__name__)

HAND_OVER_SECONDS = 30.0
"""How long is waited for the workers before to say that they take no new connections."""


class Stage(Enum):
    """Of a generation's life."""

    PREPARING = 1
    SERVING = 2
    RETIRING = 3
    ENDING = 4
    BESIDE = 5


class SuccessionError(Exception):
    """A generation did not come to serve. The message says why."""


@dataclass
class Generation:
    """The processes that serve one model, for as long as they live.

    Attributes:
        name: what they serve, for logs.
        children: those that end first are last.
        fault: gives what a process of it said before it ended, if anything.
        ready: whether its engine takes texts, for one without workers, who would say so.
        serves: called when it takes over, before the one before retires, or is ready beside it.
        retires: called when another one has taken over.
        ends: called when its last process has ended.
        live: done when it serves and no process before it takes new connections, or stands beside the one that serves
            and is ready; else a ``SuccessionError``.
        deadline: when its stage must be over.
    """

    name: str = ""
    children: list[Child] = field(default_factory=list)
    fault: Callable[[], str | None] = lambda: None
    ready: Callable[[], bool] = lambda: True
    serves: Callable[[], None] = lambda: None
    retires: Callable[[], None] = lambda: None
    ends: Callable[[], None] = lambda: None
    live: Future[None] = field(default_factory=Future)
    stage: Stage = Stage.PREPARING
    deadline: float = math.inf

    @property
    def always(self) -> list[Child]:
        """Those that it serves with, which run all the time, in the order of their start."""
        return [child for child in self.children if child.wake is None and not child.spare]

    @property
    def workers(self) -> list[Child]:
        """Those whom clients talk to."""
        return [child for child in self.children if child.drains]

    @property
    def unproven(self) -> bool:
        """Whether it has not been ready yet, so that its first failure ends it."""
        return self.stage is Stage.PREPARING or (self.stage is Stage.BESIDE and not self.live.done())

    def end(self, children: list[Child], number: int) -> None:
        """Send children a signal that ends them for good."""
        for child in children:
            child.ending = True
            child.send(number)


class Succession:
    """The generations there are, and which of them serves.

    Args:
        start: starts a child.
        patience: seconds that each stage of an orderly end may take.
        longest_request: seconds that retiring workers may take to finish what they have.
    """

    def __init__(self, start: Callable[[Child], None], patience: float, longest_request: float) -> None:
        self._start = start
        self._patience = patience
        self._longest_request = longest_request
        self._arrivals: queue.SimpleQueue[Generation] = queue.SimpleQueue()
        self._leaving: queue.SimpleQueue[Generation] = queue.SimpleQueue()
        self._ending = False
        self.serving = Generation(stage=Stage.SERVING)
        self.others: list[Generation] = []

    @property
    def children(self) -> list[Child]:
        """All children of all generations."""
        return [child for generation in (self.serving, *self.others) for child in generation.children]

    def begin_with(self, generation: Generation) -> None:
        """Have a generation serve first. Before anything is started."""
        self.serving = generation
        generation.stage = Stage.SERVING
        generation.serves()

    def take_over(self, generation: Generation) -> None:
        """Have a generation prepared, and serve. For any thread; see ``Generation.live``."""
        self._arrive(generation)

    def stand_beside(self, generation: Generation) -> None:
        """Have a generation without workers started, and kept running. For any thread; see ``Generation.live``."""
        generation.stage = Stage.BESIDE
        self._arrive(generation)

    def leave(self, generation: Generation) -> None:
        """Have a generation ended that stands beside. For any thread."""
        self._leaving.put(generation)

    def given_up(self) -> list[Child]:
        """Children without which nothing can be served."""
        return [child for child in self.serving.children if child.hopeless and not child.spare]

    def starts_gently(self, child: Child) -> bool:
        """Whether others answer while a child starts: the generation that serves has another one that does its work."""
        return any(
            other is not child and other.alive and other.beaten and other.drains == child.drains and not other.ending
            for other in self.serving.children
        )

    def keeps(self, child: Child) -> bool:
        """Whether a child that died is started again: not where its generation has not been ready yet."""
        return not any(child in other.children for other in self.others if other.unproven)

    def step(self, now: float) -> None:
        """Get on with what is under way."""
        while not self._arrivals.empty():
            self._begin(self._arrivals.get(), now)
        while not self._leaving.empty():
            generation = self._leaving.get()
            generation.stage, generation.deadline = Stage.ENDING, now + self._patience
        for generation in list(self.others):
            if generation.unproven:
                self._prepare(generation, now)
            elif generation.stage is Stage.BESIDE:
                continue
            elif generation.stage is Stage.RETIRING:
                self._retire(generation, now)
            else:
                self._end(generation, now)
        self._start_spares()
        live = self.serving.live
        if not live.done() and (now > self.serving.deadline or self._handed_over()):
            live.set_result(None)

    def abandon(self) -> None:
        """The service ends: whoever has not served yet, or comes now, never will."""
        self._ending = True
        self._refuse_arrivals()
        if not self.serving.live.done():
            self.serving.live.set_result(None)  # nobody looks any more whether those before have made way
        for generation in self.others:
            if generation.unproven:
                self._fail(generation, "the service is ending", math.inf)

    def _arrive(self, generation: Generation) -> None:
        self._arrivals.put(generation)
        if self._ending:
            self._refuse_arrivals()

    def _refuse_arrivals(self) -> None:
        with suppress(queue.Empty):
            while True:
                self._arrivals.get_nowait().live.set_exception(SuccessionError("the service is ending"))

    def _begin(self, generation: Generation, now: float) -> None:
        for other in self.others if generation.stage is Stage.PREPARING else ():
            # A third one at the same time would be too many: what is left of the first gets the time of a shutdown.
            if other.stage is Stage.RETIRING:
                other.deadline = min(other.deadline, now)
        self.others.append(generation)
        generation.deadline = now + START_SECONDS
        self._start_next(generation)

    def _start_next(self, generation: Generation) -> None:
        """Start the next process as soon as the one before has given a sign of life: all at once would want all cores,
        which those that serve need."""
        for child in generation.always:
            if child.process is None:
                self._start(child)
            if not child.beaten:
                break

    def _start_spares(self) -> None:
        """Start those that stand by once all others live, whose start they are not to slow down."""
        if all(child.beaten for child in self.serving.always):
            for child in self.serving.children:
                if child.spare and child.process is None:
                    self._start(child)

    def _prepare(self, generation: Generation, now: float) -> None:
        started = [child for child in generation.always if child.process is not None]
        dead = next((child for child in started if not child.alive), None)
        if dead is not None:
            status = dead.process.returncode if dead.process else None
            self._fail(generation, generation.fault() or f"{dead.role} ended with status {status}", now)
        elif now > generation.deadline:
            self._fail(generation, f"not ready after {START_SECONDS:.0f} s", now)
        elif generation.stage is Stage.BESIDE and generation.ready():
            generation.serves()
            generation.live.set_result(None)
        elif generation.stage is Stage.PREPARING and all(child.beaten for child in generation.always):
            self._hand_over(generation, now)
        else:
            self._start_next(generation)

    def _hand_over(self, generation: Generation, now: float) -> None:
        before, self.serving = self.serving, generation
        self.others[self.others.index(generation)] = before
        generation.stage, before.stage = Stage.SERVING, Stage.RETIRING
        generation.deadline = now + HAND_OVER_SECONDS
        before.deadline = now + self._longest_request
        generation.serves()
        before.retires()
        before.end(before.workers, RETIRE_SIGNAL)

    def _handed_over(self) -> bool:
        retiring = [child for other in self.others if other.stage is Stage.RETIRING for child in other.workers]
        return all(child.retired or not child.alive for child in retiring)

    def _fail(self, generation: Generation, reason: str, now: float) -> None:
        """Nobody has met it, so nothing needs an orderly end."""
        generation.stage, generation.deadline = Stage.ENDING, now
        generation.end(generation.children, signal.SIGKILL)
        generation.live.set_exception(SuccessionError(reason))

    def _retire(self, generation: Generation, now: float) -> None:
        workers = generation.workers
        if any(child.alive for child in workers):
            if now > generation.deadline:
                logger.warning("%s still has requests, which are given %.0f s more", generation.name, self._patience)
                generation.stage, generation.deadline = Stage.ENDING, now + self._patience
                generation.end(workers, signal.SIGTERM)
            return
        generation.stage, generation.deadline = Stage.ENDING, now + self._patience

    def _end(self, generation: Generation, now: float) -> None:
        if now > generation.deadline:
            generation.end(generation.children, signal.SIGKILL)
        elif not any(child.alive for child in generation.workers):
            rest = [child for child in generation.children if not child.ending]
            generation.end(rest, signal.SIGTERM)
        if not any(child.alive for child in generation.children):
            for child in generation.children:
                child.forget_pulse()
            self.others.remove(generation)
            generation.ends()
