"""``python -m app``, slowed and looked into: for the chaos suite only, nothing a deployment could switch on.

The environment variable ``CHAOS_TEXTS_PER_SECOND`` says how much all predictors together may compute. The file that
``CHAOS_BREAK_FILE`` names, once it is there, breaks the engine that computes next, for the rest of its life.
``CHAOS_SLOW_MODEL`` is a version, NAME/VERSION, that takes a tenth of a second for each text, ``CHAOS_CRASH_MODEL`` one
whose engine ends at a text of three equal words and another one. With ``CHAOS_BLOCKS_FOLDER`` each process answers
SIGRTMIN by a file there, named by its id, that says how many blocks of memory Python's objects take in it.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from app import cli
from app.model import runtimes
from app.process import fork_server
from app.sentiment import Predictor, Scores, TokenIds
from app.store import StoredModel

RATE_VARIABLE = "CHAOS_TEXTS_PER_SECOND"
BREAK_VARIABLE = "CHAOS_BREAK_FILE"
BLOCKS_VARIABLE = "CHAOS_BLOCKS_FOLDER"
SLOW_VARIABLE = "CHAOS_SLOW_MODEL"
CRASH_VARIABLE = "CHAOS_CRASH_MODEL"
_SLOW_SECONDS = 0.1
_FATAL_WORDS = 4


class Slowed:
    """A predictor that takes its time.

    Args:
        predictor: what computes.
        seconds_per_text: least time for each text.
    """

    def __init__(self, predictor: Predictor, seconds_per_text: float) -> None:
        self.runtime, self.precision, self.device = predictor.runtime, predictor.precision, predictor.device
        self.pads = True  # so that one call at a time is made of it
        self._predictor = predictor
        self._seconds = seconds_per_text

    def predict(self, batch: Sequence[TokenIds[int]]) -> list[Scores]:
        until = time.monotonic() + len(batch) * self._seconds
        scores = self._predictor.predict(batch)
        time.sleep(max(0.0, until - time.monotonic()))
        return scores


class Breakable:
    """A predictor that breaks for good, as one does on a GPU after certain errors.

    Args:
        predictor: what computes until then.
        order: the file that says so; it is taken.
    """

    broken = False

    def __init__(self, predictor: Predictor, order: Path) -> None:
        self.runtime, self.precision, self.device = predictor.runtime, predictor.precision, predictor.device
        self.pads = True  # so that one call at a time is made of it
        self._predictor = predictor
        self._order = order

    def predict(self, batch: Sequence[TokenIds[int]]) -> list[Scores]:
        if self._order.exists():
            self._order.unlink()
            Breakable.broken = True
        if Breakable.broken:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return self._predictor.predict(batch)


class Crashing:
    """A predictor whose process ends at certain texts.

    Args:
        predictor: what computes the others.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.runtime, self.precision, self.device = predictor.runtime, predictor.precision, predictor.device
        self.pads = True  # so that one call at a time is made of it
        self._predictor = predictor

    def predict(self, batch: Sequence[TokenIds[int]]) -> list[Scores]:
        if any(len(ids) == _FATAL_WORDS and ids[0] == ids[1] == ids[2] != ids[3] for ids in batch):
            os.kill(os.getpid(), signal.SIGKILL)
        return self._predictor.predict(batch)


def make_bad(reference: str, bad: Callable[[Predictor], Predictor]) -> None:
    """Make this process' engine bad, if it computes this version."""
    load = runtimes.load_predictors

    def load_bad(model: StoredModel, *arguments: Any) -> list[Predictor]:
        predictors = load(model, *arguments)
        return [bad(predictor) for predictor in predictors] if model.reference == reference else predictors

    runtimes.load_predictors = load_bad  # type: ignore[assignment]


def break_at(order: Path) -> None:
    """Make this process' engine breakable."""
    load = runtimes.load_predictors

    def load_breakable(*arguments: Any) -> list[Predictor]:
        return [Breakable(predictor, order) for predictor in load(*arguments)]

    runtimes.load_predictors = load_breakable  # type: ignore[assignment]


def slow_down(rate: float) -> None:
    """Make this process' engine compute at most ``rate`` texts per second."""
    load = runtimes.load_predictors

    def load_slowed(*arguments: Any) -> list[Predictor]:
        predictors = load(*arguments)
        return [Slowed(predictor, len(predictors) / rate) for predictor in predictors]

    runtimes.load_predictors = load_slowed  # type: ignore[assignment]


def tell_blocks(folder: Path) -> None:
    """Write down the number of allocated blocks on SIGRTMIN, so that nobody reads half of it."""

    def tell(*_: object) -> None:
        part = folder / f"{os.getpid()}.part"
        part.write_text(str(sys.getallocatedblocks()))
        part.rename(folder / str(os.getpid()))

    signal.signal(signal.SIGRTMIN, tell)


def main() -> int:
    """Run the command line; children of the supervisor, which its fork server becomes, are changed before they run."""
    fork_server.PROGRAM = ("-m", "tests.chaos.program")
    serve_forks = fork_server.serve_forks

    def serve_changed(control: socket.socket, further: Sequence[str] = ()) -> Sequence[str] | None:
        arguments = serve_forks(control, further)
        if arguments is not None:
            change()
        return arguments

    fork_server.serve_forks = serve_changed
    return cli.main()


def change() -> None:
    """Make this process what the environment asks for."""
    if folder := os.environ.get(BLOCKS_VARIABLE):
        tell_blocks(Path(folder))
    if rate := os.environ.get(RATE_VARIABLE):
        slow_down(float(rate))
    if order := os.environ.get(BREAK_VARIABLE):
        break_at(Path(order))
    if reference := os.environ.get(SLOW_VARIABLE):
        make_bad(reference, lambda predictor: Slowed(predictor, _SLOW_SECONDS))
    if reference := os.environ.get(CRASH_VARIABLE):
        make_bad(reference, Crashing)


if __name__ == "__main__":
    sys.exit(main())
