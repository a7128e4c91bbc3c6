"""A process that imports what children of the supervisor need, and then becomes one of them whenever one is wanted.

An import of the web framework takes most of a second, a copy of a process that has it a few milliseconds, and what
copies do not change they share. The supervisor cannot be copied itself: it has threads, of which a copy has but one,
while what the others held stays held.
"""

from __future__ import annotations

import atexit
import errno
import fcntl
import gc
import importlib
import json
import logging
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from ctypes import CDLL, memmove
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn, Self

from app.errors import SentimentError
from app.process.cores import bind_to
from app.settings import METRICS_VARIABLE
from app.version import PACKAGE

logger = logging.getLogger(__name__)

PROGRAM: tuple[str, ...] = ("-m", PACKAGE) if Path(__file__).parents[2] == Path.cwd() else ("-P", "-m", PACKAGE)
"""What it runs, as arguments of the interpreter; -P, so that where it is an installed package, nothing in the folder of
whoever starts it is taken for it."""

COMMAND = "_fork-server"
_MODULES = (
    *(f"{PACKAGE}.{name}" for name in ("main", "engine_process", "model.native_predictor", "model.runtimes")),
    *("fastapi_offline", "pydantic.v1", "uvicorn.lifespan.on"),  # which others import when they are first needed
)
"""What children import. Not torch, which takes from the environment which GPUs there are."""
_SET_CHILD_SUBREAPER = 36
"""Number of the option of prctl(2) by which a process becomes the parent of its grandchildren whose parent ends."""
_ANSWER_SECONDS = 30.0
"""How long an answer may take, the imports included on a busy machine."""
_ATTEMPTS = 2
_MOST_FILES = 64
_NUMBER = struct.Struct("!i")
"""How numbers are sent: of bytes, of a process, or of an error."""
_ARGUMENT_FIELDS = slice(45, 47)
"""Of what stands behind the name in ``/proc/self/stat``: where the arguments begin and end (proc(5): arg_start)."""
_ROOM = "." * 2000
"""An argument that is only there for its room: what a process is listed with cannot become longer."""


@dataclass(frozen=True)
class Order:
    """A child that is wanted.

    Attributes:
        role: its name.
        arguments: of its command.
        environment: all of its variables.
        files: numbers of the files that it gets, under the same numbers.
        cores: those that it may run on; None: any.
    """

    role: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    files: Sequence[int]
    cores: Sequence[int] | None


class ForkServer:
    """What the supervisor has of it. It is started at once, and again where it is gone when it is needed.

    Args:
        further: modules that children import in this service, beside those of every service.
    """

    def __init__(self, further: Sequence[str] = ()) -> None:
        self._further = further
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self) -> None:
        """Let it begin with its imports."""
        # A child's first parent ends at once, so that its end is told to this process.
        if CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
            raise SentimentError("this system does not let a process look after its grandchildren (prctl)")
        self._control, theirs = socket.socketpair()
        self._control.settimeout(_ANSWER_SECONDS)
        command = [sys.executable, *PROGRAM, COMMAND, "--control", str(theirs.fileno())]
        command += [*(f"--import={module}" for module in self._further), "--room", _ROOM]
        # Matrices that numpy multiplies are small here, and a copy has no threads but one. Its figures are nobody's.
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", METRICS_VARIABLE: os.devnull}
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603
                command, env=environment, pass_fds=[theirs.fileno()], process_group=0
            )

    def start(self, order: Order) -> int:
        """Start a child, which is a child of this process; its process id.

        Raises:
            SentimentError: no process can be started.
        """
        payload = json.dumps(asdict(order)).encode()
        for _ in range(_ATTEMPTS):
            if self._control is None:
                self._begin()
            assert self._control is not None  # noqa: S101 - it has begun
            try:
                socket.send_fds(self._control, [_NUMBER.pack(len(payload))], order.files)
                self._control.sendall(payload)
                [answer] = _NUMBER.unpack(_received(self._control, _NUMBER.size))
            except (OSError, EOFError) as error:
                logger.error("the fork server is gone: %s", error)
                self.close()
                continue
            if answer > 0:
                return int(answer)
            raise SentimentError(f"{order.role} cannot be started: {os.strerror(-answer)}")
        raise SentimentError(f"{order.role} cannot be started: the fork server does not answer")

    def close(self) -> None:
        """End it, but none of those that it became; whoever loses its parent from now on is this process' no more."""
        CDLL(None).prctl(_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def serve_forks(control: socket.socket, further: Sequence[str] = ()) -> Sequence[str] | None:
    """Fork whenever a child is wanted.

    Args:
        control: of the ``ForkServer``.
        further: modules that children import in this service, beside those of every service.

    Returns:
        In a child its arguments; in the fork server None, once nobody wants any more.
    """
    _be_listed_as("fork-server", [COMMAND])
    for module in (*_MODULES, *further):
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
    with suppress(EOFError, ConnectionError):
        while True:
            size, files, _, _ = socket.recv_fds(control, _NUMBER.size, _MOST_FILES)
            if not size:
                break
            order = Order(**json.loads(_received(control, *_NUMBER.unpack(size))))
            number = _forked()
            if number == 0:
                _become(order, control.detach(), files)
                return order.arguments
            for file in files:
                os.close(file)
            control.sendall(_NUMBER.pack(number))
    return None


def run_and_end(run: Callable[[], int]) -> NoReturn:
    """What a copy does, and its end with the status of that: as the interpreter would end, except that nothing is taken
    apart, which would touch all that it shares with others, and so copy it: 75 ms on a core that others need.
    """
    status = 1
    try:
        status = run()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - waits for threads
    atexit._run_exitfuncs()  # noqa: SLF001
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _forked() -> int:
    """Make a copy of this process whose parent has ended, so that it belongs to the supervisor.

    Returns:
        Its process id, or the number of an error, negative; 0 in the copy.
    """
    told, tell = os.pipe()
    try:
        first = os.fork()
        if first == 0:
            try:
                child = os.fork()
            except OSError as error:
                child = -(error.errno or errno.EAGAIN)
            if child == 0:
                return 0
            os.write(tell, _NUMBER.pack(child))
            os._exit(0)
        os.waitpid(first, 0)
        os.set_blocking(told, False)
        [number] = _NUMBER.unpack(os.read(told, _NUMBER.size))
        return int(number)
    except OSError as error:
        return -(error.errno or errno.EAGAIN)
    finally:
        os.close(told)
        os.close(tell)


def _become(order: Order, control: int, files: Sequence[int]) -> None:
    """Make this process what was ordered: as if it had been started so."""
    os.close(control)
    os.setpgid(0, 0)
    _be_listed_as(order.role, order.arguments)
    os.environ.clear()
    os.environ.update(order.environment)
    bind_to(order.cores)
    # By way of high numbers, as one that was received may have the number that another one is to get.
    high = [fcntl.fcntl(file, fcntl.F_DUPFD, max(order.files) + 1) for file in files]
    for file in files:
        os.close(file)
    for file, number in zip(high, order.files, strict=True):
        os.dup2(file, number)
        os.close(file)


def _be_listed_as(name: str, arguments: Sequence[str]) -> None:
    """Have ``ps``, ``top`` and others show this process by its own name and arguments, where the system lets it."""
    with suppress(OSError):
        Path("/proc/self/comm").write_text(name, encoding="ascii")
        start, end = map(
            int, Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()[_ARGUMENT_FIELDS]
        )
        line = "\0".join([sys.executable, *PROGRAM, *arguments]).encode()
        # Only where nobody else's memory is: a system may hide where it is.
        if end - start > len(_ROOM):
            memmove(start, line[: end - start - 1].ljust(end - start, b"\0"), end - start)


def _received(control: socket.socket, size: int) -> bytes:
    """So many bytes.

    Raises:
        EOFError: there are fewer.
    """
    found = bytearray()
    while len(found) < size:
        part = control.recv(size - len(found))
        if not part:
            raise EOFError("it ended")
        found += part
    return bytes(found)
