"""A Ray cluster of two nodes on this machine: ``python -m benchmarks.ray_cluster CORES FOLDER`` prints its address and
the process id of the second node as JSON, and ends it when standard input ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
SYSTEM = {
    "health_check_period_ms": 1_000,
    "health_check_timeout_ms": 60_000,
    "health_check_failure_threshold": 3,
}
"""A node whose process is gone is taken for dead after three seconds, one that is slow is not."""

PATIENCE = {"RAY_raylet_start_wait_time_s": "180", "RAY_worker_register_timeout_seconds": "180"}
"""Ray gives up a start sooner than a busy machine has done it."""


@dataclass
class RayCluster:
    """Two nodes.

    Attributes:
        address: of the head, for those who join.
        second: process id of the second node.
        process: started both.
    """

    address: str
    second: int
    process: subprocess.Popen[str]

    def add_second(self) -> None:
        """Have another node in the place of the second one, which was killed."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.second = self.told()["second"]

    def told(self) -> Any:
        """What the process of the cluster says next."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the cluster has ended"
        return json.loads(line)

    def kill_second(self) -> None:
        """End the second node and all its processes with SIGKILL, as by a power cut."""
        for process in [self.second, *descendants(self.second)]:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def descendants(process: int) -> list[int]:
    """Processes that a process started, and those that they did."""
    found: list[int] = []
    for children in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError):  # a thread that has just ended
            for child in map(int, children.read_text().split()):
                found += [child, *descendants(child)]
    return found


def environment() -> dict[str, str]:
    """Variables for programs on the cluster: they import the tree that this file is in, and have no settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SENTIMENT_", "RAY_"))}
    return {**kept, **PATIENCE, "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0", "PYTHONUNBUFFERED": "1"}


@contextmanager
def ray_cluster(cores: float, **variables: str) -> Iterator[RayCluster]:
    """A cluster whose nodes count so many cores each, started with further variables. It has ended afterwards."""
    # Short: Ray makes Unix sockets below it.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        output = Path(folder) / "output.txt"
        command = [sys.executable, "-m", "benchmarks.ray_cluster", str(cores), folder]
        with output.open("wb") as file:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                env={**environment(), **variables},
                text=True,
            )
        assert process.stdin is not None
        assert process.stdout is not None
        cluster = RayCluster("", 0, process)
        try:
            vars(cluster).update(cluster.told())
            yield cluster
        except BaseException:
            print(output.read_text())
            raise
        finally:
            started = descendants(process.pid)
            process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                process.wait(60)
            process.stdout.close()
            for left in (process.pid, *started):
                with suppress(ProcessLookupError):
                    os.kill(left, signal.SIGKILL)
            process.wait(60)


def main() -> None:
    """Run it until standard input ends. Each line there adds a node in the place of the second one."""
    os.environ["RAY_TMPDIR"] = sys.argv[2]
    from ray.cluster_utils import Cluster
    from ray.util import get_node_ip_address

    # Not the loopback, which nodes do not accept.
    own_address: str = get_node_ip_address()  # type: ignore[no-untyped-call]
    node: dict[str, Any] = {
        "num_cpus": float(sys.argv[1]),
        "node_ip_address": own_address,
        "object_store_memory": 200_000_000,
    }
    head = {"_system_config": SYSTEM, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={**node, **head})
    while True:
        second = cluster.add_node(**node)
        [raylet] = second.all_processes["raylet"]
        print(json.dumps({"address": cluster.address, "second": raylet.process.pid}), flush=True)
        if not sys.stdin.readline():
            break
    cluster.shutdown()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
