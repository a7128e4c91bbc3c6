"""The supervisor: restarts, giving up, orderly and forced ends. Children are real processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import cast

import pytest

from app.process import sockets, supervisor
from app.process.child import CANNOT_SERVE, MAX_FAILURES, Child
from app.process.fork_server import ForkServer
from tests.waiting import LIMIT, wait_until

PARENT = """
import sys
from app.process import supervisor

class Scripted(supervisor.Supervisor):
    def _start(self, child):
        import subprocess, time
        child.process = subprocess.Popen([sys.executable, "-c", child.command[0]])
        child.last_beat, child.beaten = time.monotonic(), True

parent = Scripted(None, {}, grace=float(sys.argv[1]), patience=float(sys.argv[2]))
for number, code in enumerate(sys.argv[3:]):
    drains = "SIGUSR1" in code
    role, spare = f"{'worker' if drains else 'child'}-{number}", "spare" in code
    parent.add(supervisor.Child(role, [code], drains=drains, spare=spare))
sys.exit(parent.run())
"""
# One write, also where output is not buffered: children share the pipe.
UP = "print('up\\n', end='', flush=True)"
SLEEP = f"import time; {UP}; time.sleep(60)"
STUBBORN = r"""
import os, signal, time
signal.signal(signal.SIGTERM, lambda *_: os.write(1, b"told\n"))
os.write(1, b"up\n")
while True: time.sleep(60)
"""


DRAINING = r"""
import os, signal, sys, time
signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b"draining\n"))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(os.write(1, b"ending\n") and 0))
os.write(1, b"up\n")
while True: time.sleep(60)
"""


@contextmanager
def started(*command: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A supervisor, which is gone behind the block, come what may."""
    environment = {**os.environ, **variables}
    program = [sys.executable, "-c", *command]
    with subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as parent:
        try:
            yield parent
        finally:
            parent.kill()


def supervise(
    *children: str, grace: float = 0.0, patience: float = LIMIT
) -> AbstractContextManager[subprocess.Popen[str]]:
    return started(textwrap.dedent(PARENT), str(grace), str(patience), *children)


def wait_up(parent: subprocess.Popen[str], count: int = 1) -> None:
    assert parent.stdout is not None
    for _ in range(count):
        assert parent.stdout.readline() == "up\n"


def wait_up_again(parent: subprocess.Popen[str], count: int) -> None:
    assert parent.stdout is not None
    while count:
        line = parent.stdout.readline()
        assert line, "it ended"
        count -= line == "up\n"


def test_sigterm_ends_children_and_exits_0() -> None:
    """An orderly end is a success."""
    with supervise(SLEEP, SLEEP) as parent:
        wait_up(parent, 2)
        parent.terminate()
        assert parent.communicate(timeout=LIMIT)
        assert parent.returncode == 0


def test_children_that_keep_failing_make_it_give_up() -> None:
    """Five failures within a minute end the supervisor with status 1."""
    with supervise(f"{UP}; raise SystemExit(3)") as parent:
        output, _ = parent.communicate(timeout=LIMIT)
        assert parent.returncode == 1
        assert output.splitlines().count("up") == 5
        assert "giving up" in output


def test_a_child_that_cannot_serve_is_not_started_again() -> None:
    """One that says that no further start would help ends the supervisor at once."""
    with supervise(f"print('up', flush=True); raise SystemExit({CANNOT_SERVE})") as parent:
        output, _ = parent.communicate(timeout=LIMIT)
        assert parent.returncode == 1
        assert output.splitlines().count("up") == 1


def test_a_spare_child_that_keeps_failing_is_given_up_alone() -> None:
    """The others go on without it, and it is not started again."""
    with supervise(SLEEP, f"{UP}; raise SystemExit('spare')") as parent:
        assert parent.stdout is not None
        lines = [parent.stdout.readline()]
        while "going on without it" not in lines[-1]:
            lines.append(parent.stdout.readline())
            assert lines[-1], "it ended"
        assert lines.count("up\n") == 1 + MAX_FAILURES
        parent.terminate()
        assert "up" not in parent.communicate(timeout=LIMIT)[0]
        assert parent.returncode == 0


def test_failures_of_different_children_do_not_add_up() -> None:
    """Each child has its own number of failures: one kill each for five of them is no reason to give up."""
    with supervise(*[SLEEP] * MAX_FAILURES) as parent:
        wait_up(parent, MAX_FAILURES)
        for pid in map(int, Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()):
            os.kill(pid, signal.SIGKILL)
        wait_up_again(parent, MAX_FAILURES)
        parent.terminate()
        parent.communicate(timeout=LIMIT)
        assert parent.returncode == 0


def test_children_are_told_before_they_are_ended() -> None:
    """SIGTERM: told at once, ended after the grace time, exit status 0; one that dies meanwhile stays away."""
    with supervise(DRAINING, DRAINING, grace=2.0) as parent:
        wait_up(parent, 2)
        began = time.monotonic()
        parent.terminate()
        assert parent.stdout is not None
        assert [parent.stdout.readline() for _ in range(2)] == ["draining\n"] * 2
        os.kill(int(Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()[0]), signal.SIGKILL)
        output, _ = parent.communicate(timeout=LIMIT)
        assert output.splitlines().count("ending") == 1
        assert "up" not in output
        assert time.monotonic() - began >= 2
        assert parent.returncode == 0


def test_who_answers_ends_before_what_is_needed_for_that() -> None:
    """Also where that was added later, as the engine of a version that was loaded while others served."""
    needed = DRAINING.replace("SIGUSR1", "SIGUSR2").replace("ending", "needed")
    with supervise(DRAINING, needed) as parent:
        wait_up(parent, 2)
        parent.terminate()
        output, _ = parent.communicate(timeout=LIMIT)
        assert parent.returncode == 0
        assert [line for line in output.splitlines() if line in ("ending", "needed")] == ["ending", "needed"]


def test_an_interrupt_needs_no_grace_time() -> None:
    """Ctrl-C ends in order, and now."""
    with supervise(DRAINING, grace=10 * LIMIT) as parent:
        wait_up(parent)
        parent.send_signal(signal.SIGINT)
        output, _ = parent.communicate(timeout=LIMIT)
        assert output.splitlines().count("ending") == 1
        assert parent.returncode == 0


def test_a_second_signal_ends_at_once() -> None:
    """A child that will not end is killed when the operator insists, and the status says it was not orderly."""
    with supervise(STUBBORN, patience=10 * LIMIT) as parent:
        wait_up(parent)
        parent.terminate()
        assert parent.stdout is not None
        assert parent.stdout.readline() == "told\n"
        parent.terminate()
        parent.communicate(timeout=LIMIT)
        assert parent.returncode == 1


def test_a_child_that_will_not_end_is_killed_after_the_grace_time() -> None:
    """The end takes no longer than the grace time."""
    with supervise(STUBBORN, patience=0.5) as parent:
        wait_up(parent)
        parent.terminate()
        parent.communicate(timeout=LIMIT)
        assert parent.returncode == 1


def test_a_hung_engine_is_killed_and_replaced(tiny_store: Path) -> None:
    """An engine that gives no sign of life is killed; the service recovers by itself."""
    from tests.service import serving

    with serving(tiny_store, workers="1", engine_timeout="2") as service:
        [engine] = service.children("engine")
        os.kill(engine, signal.SIGSTOP)
        wait_until(lambda: engine not in service.children("engine"), "never killed")
        service.wait_ready()


UNNOTICED = '''
import os, signal, sys, time
from app.process import fork_server, supervisor

class Scripted(supervisor.Supervisor):
    def _start(self, child):
        super()._start(child)
        print("up", flush=True)

    def _wake(self):
        super()._wake()
        [child] = self._children
        if not child.failures:
            os.kill(child.process.pid, signal.SIGKILL)
            os.waitid(os.P_PID, child.process.pid, os.WEXITED | os.WNOWAIT)

fork_server.PROGRAM = ("-c", """
import socket, sys, time
from app.process.fork_server import serve_forks
if serve_forks(socket.socket(fileno=int(sys.argv[3]))) is not None:
    time.sleep(60)
""")
signal.alarm(60)
parent = Scripted(fork_server.ForkServer(), {}, grace=0.0, patience=2.0)
parent.add(supervisor.Child("child-0", [], heartbeat=30.0))
sys.exit(parent.run())
'''


def test_a_child_that_dies_at_any_moment_is_started_again() -> None:
    """Also between the moment in which the dead are collected and that in which the living are looked at."""
    with started(UNNOTICED) as parent:
        wait_up_again(parent, 2)
        parent.terminate()
        parent.communicate(timeout=LIMIT)
        assert parent.returncode == 0


ON_DEMAND = """
import pathlib, socket, subprocess, sys, time
from app.process import sockets, supervisor

class Scripted(supervisor.Supervisor):
    def _start(self, child):
        fds = [child.wake.fileno()] if child.wake else []
        command = [sys.executable, "-c", child.command[0], *map(str, fds)]
        child.process = subprocess.Popen(command, pass_fds=fds)
        child.started = child.last_beat = time.monotonic()

supervisor.LONGEST_REST = 0.1
parent = Scripted(None, {}, grace=0.0, patience=2.0)
parent.add(supervisor.Child("always-0", ["import time; print('up', flush=True); time.sleep(60)"]))
listener = sockets.bind_local(pathlib.Path(sys.argv[1]))
parent.add(supervisor.Child("wanted-0", [sys.argv[2]], wake=listener))
sys.exit(parent.run())
"""
ANSWERS_ONCE = "import socket, sys; socket.socket(fileno=int(sys.argv[1])).accept()[0].sendall(b'here')"
FAILS_ONCE = """
import os, socket, sys
if not os.path.exists(os.environ["MARK"]):
    open(os.environ["MARK"], "w").close()
    raise SystemExit(3)
socket.socket(fileno=int(sys.argv[1])).accept()[0].sendall(b'here')
"""


def ask(path: Path) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(LIMIT)
        client.connect(str(path))
        return client.recv(4)


@pytest.mark.parametrize("child", [ANSWERS_ONCE, FAILS_ONCE])
def test_a_child_on_demand_is_started_by_a_connection(tmp_path: Path, child: str) -> None:
    """Not before, again after it ended, also where it failed, and often without making the supervisor give up."""
    path = tmp_path / "wake"
    with started(ON_DEMAND, str(path), child, MARK=str(tmp_path / "mark")) as parent:
        wait_up(parent)
        time.sleep(0.3)
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
        assert len(children.read_text().split()) == 1
        for _ in range(7):
            assert ask(path) == b"here"
        parent.terminate()
        parent.communicate(timeout=LIMIT)
        assert parent.returncode == 0


def test_who_asks_for_a_child_that_dies_again_and_again_is_turned_away(tmp_path: Path) -> None:
    """At once, while it rests; after a first death they wait for the short rest to be over."""
    listener = sockets.bind_local(tmp_path / "wake")
    parent = supervisor.Supervisor(cast("ForkServer", None), {}, grace=0.0, patience=0.0)
    child = Child("wanted-0", [], wake=listener, started=time.monotonic() + 60, rest=1.0)
    parent.add(child)
    with listener, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "wake"))
        client.setblocking(False)
        parent._wake()
        with pytest.raises(BlockingIOError):
            client.recv(1)
        child.rest = 4.0
        parent._wake()
        assert client.recv(1) == b""
    assert child.process is None


def test_a_child_on_demand_that_cannot_serve_is_given_up_alone(tmp_path: Path) -> None:
    """Whoever needs it is refused at once, instead of waiting for what never comes; the others go on."""
    path = tmp_path / "wake"
    with started(ON_DEMAND, str(path), f"raise SystemExit({CANNOT_SERVE})") as parent:
        wait_up(parent)
        with suppress(ConnectionResetError):
            assert ask(path) == b""
        with pytest.raises(ConnectionRefusedError):
            ask(path)
        assert parent.poll() is None
        parent.terminate()
        output, _ = parent.communicate(timeout=LIMIT)
        assert output.count("wanted-0 cannot be started") == 1
        assert parent.returncode == 0
