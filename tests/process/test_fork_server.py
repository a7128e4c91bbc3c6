"""The process that children are made of: what they get, whose they are, and what becomes of it and of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import cast

import pytest
from prometheus_client.multiprocess import MultiProcessCollector

from app.process import fork_server
from app.process.fork_server import ForkServer, Order
from tests.waiting import wait_until

FIRST_CORE = min(os.sched_getaffinity(0))
CHILD = """
import atexit, json, os, socket, sys, threading, time
from app.process.fork_server import run_and_end, serve_forks

def is_open(file):
    try:
        return bool(os.fstat(file))
    except OSError:
        return False

def figures():
    from app import metrics
    metrics.begin_process()
    metrics.FILE_ROWS.inc()
    return [metrics.process.name, sorted(os.listdir(os.environ["PROMETHEUS_MULTIPROC_DIR"]))]

def tell(write, status):
    told = {
        "arguments": arguments, "pid": os.getpid(), "parent": os.getppid(), "group": os.getpgid(0),
        "environment": dict(os.environ), "cores": sorted(os.sched_getaffinity(0)),
        "files": [file for file in sorted(map(int, os.listdir("/proc/self/fd"))) if is_open(file)],
        "listed": open("/proc/self/cmdline").read(),
        "name": open("/proc/self/comm").read().strip(), "threads": len(os.listdir("/proc/self/task")),
        "imported": [name for name in ("app.main", "torch", "limits.storage") if name in sys.modules],
        "figures": figures() if "PROMETHEUS_MULTIPROC_DIR" in os.environ else None,
    }
    os.write(write, json.dumps(told).encode())
    return status

def end(how, write):
    atexit.register(os.write, write, b"registered ")
    threading.Thread(target=lambda: (time.sleep(0.2), os.write(write, b"thread "))).start()
    if how == "exit":
        sys.exit(5)
    if how == "raise":
        os.dup2(write, 2)
        raise LookupError("a defect")
    return 4

arguments = serve_forks(socket.socket(fileno=int(sys.argv[3])), ["limits.storage"])
if arguments is not None:
    command, *rest = arguments
    work = {"sleep": lambda: time.sleep(60), "tell": lambda: tell(int(rest[0]), int(rest[1]))}
    run_and_end(work.get(command, lambda: end(command, int(rest[0]))))
"""


@pytest.fixture
def forks(monkeypatch: pytest.MonkeyPatch) -> Iterator[ForkServer]:
    """One whose children tell what they are, or sleep."""
    monkeypatch.setattr(fork_server, "PROGRAM", ("-c", CHILD))
    with ForkServer() as server:
        yield server


def told(
    forks: ForkServer,
    pipe: tuple[int, int],
    *,
    status: int = 0,
    files: tuple[int, ...] = (),
    environment: Mapping[str, str] = MappingProxyType({"A": "1 ="}),
) -> dict[str, object]:
    """What a child says of itself, which has ended with the status."""
    read, write = pipe
    order = Order("worker-7", ["tell", str(write), str(status)], dict(environment), [write, *files], [FIRST_CORE])
    pid = forks.start(order)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == status
    found: dict[str, object] = json.loads(os.read(read, 65536))
    assert found["pid"] == pid
    return found


def test_a_child_is_as_if_it_had_been_started_by_itself(forks: ForkServer, pipe: tuple[int, int]) -> None:
    """A child of this process in a group of its own, with what was ordered and nothing else; also with a status."""
    found = told(forks, pipe, status=3)
    assert found["parent"] == os.getpid()
    assert found["group"] == found["pid"]
    assert found["environment"] == {"A": "1 ="}
    assert found["cores"] == [FIRST_CORE]
    assert found["files"] == [0, 1, 2, pipe[1]]
    assert found["threads"] == 1


def test_what_a_child_needs_is_imported_but_torch(forks: ForkServer, pipe: tuple[int, int]) -> None:
    """Torch takes from the environment which GPUs there are."""
    assert told(forks, pipe)["imported"] == ["app.main", "limits.storage"]


def test_figures_of_a_child_are_its_own(forks: ForkServer, pipe: tuple[int, int], tmp_path: Path) -> None:
    """Under its name and in its folder, though metrics were imported where neither was known."""
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "SENTIMENT_PROCESS_ROLE": "engine-3"}
    name, files = cast("tuple[str, list[str]]", told(forks, pipe, environment=environment)["figures"])
    assert name == "engine-3"
    assert "counter_engine-3.db" in files
    assert all(file.endswith("_engine-3.db") for file in files)
    found = MultiProcessCollector(None, str(tmp_path)).collect()  # type: ignore[no-untyped-call]
    [rows] = [it for it in found if it.name == "sentiment_file_rows"]
    assert [sample.value for sample in rows.samples] == [1]


def test_a_child_is_listed_by_its_role_and_arguments(forks: ForkServer, pipe: tuple[int, int]) -> None:
    found = told(forks, pipe)
    assert found["name"] == "worker-7"
    # The interpreter's own arguments are those of the service, whatever this test has it run.
    listed = str(found["listed"]).rstrip("\0").split("\0")
    assert listed == [sys.executable, "-m", "app", "tell", str(pipe[1]), "0"]


def test_files_get_their_numbers_whatever_numbers_they_arrive_with(forks: ForkServer, pipe: tuple[int, int]) -> None:
    """Also the numbers of the fork server's own files, and in any order."""
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(8)]
    try:
        found = told(forks, pipe, files=tuple(reversed(files)))
    finally:
        for file in files:
            os.close(file)
    assert found["files"] == sorted([0, 1, 2, pipe[1], *files])


@pytest.mark.parametrize(("how", "status"), [("return", 4), ("exit", 5), ("raise", 1)])
def test_a_child_ends_in_order(how: str, status: int, forks: ForkServer, pipe: tuple[int, int]) -> None:
    """With its status, after its threads and what it has registered; an error that nobody expected is in the log."""
    read, write = pipe
    pid = forks.start(Order("worker-7", [how, str(write)], {}, [write], None))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == status
    written = os.read(read, 10_000).decode()
    assert written.endswith("thread registered ")
    assert ("LookupError: a defect" in written) == (how == "raise")


def test_one_that_was_killed_is_started_again_and_its_children_live(forks: ForkServer, pipe: tuple[int, int]) -> None:
    """Children are nobody's but the supervisor's."""
    sleeping = forks.start(Order("worker-0", ["sleep"], {}, [pipe[1]], None))
    killed = next(pid for pid in children() if name_of(pid) == "fork-server")
    os.kill(killed, signal.SIGKILL)
    assert told(forks, pipe)["parent"] == os.getpid()
    assert sleeping in children()
    os.kill(sleeping, signal.SIGKILL)
    assert os.waitpid(sleeping, 0)[1] == signal.SIGKILL


def test_orphans_of_others_are_not_collected_afterwards() -> None:
    """A process that had one, and has closed it, does not become the parent of whatever its children leave behind."""
    ForkServer().close()
    read, write = os.pipe()
    code = f"import os, time\nif os.fork() == 0: time.sleep(0.5); os.write({write}, str(os.getppid()).encode())"
    subprocess.run([sys.executable, "-c", code], check=True, pass_fds=[write])
    with os.fdopen(read) as told:
        os.close(write)
        assert int(told.read()) != os.getpid()


def test_it_ends_with_whoever_started_it() -> None:
    """However that ends: nobody wants children any more."""
    code = "import os\nfrom app.process.fork_server import ForkServer\nForkServer()\nprint('up', flush=True)\ninput()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        [pid] = children(parent.pid)
        parent.kill()
    wait_until(lambda: not Path(f"/proc/{pid}").exists() or "Z" in state_of(pid), "never ended")


def children(pid: int | None = None) -> list[int]:
    pid = pid or os.getpid()
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def name_of(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Its ends to read and to write."""
    read, write = os.pipe()
    os.set_inheritable(write, True)
    yield read, write
    os.close(read)
    os.close(write)
