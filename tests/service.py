"""A real service in real processes on a free port, for whole-service tests."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path

import httpx

from app.process.control import CONTROL_SOCKET, ControlClient

START_LIMIT = 180.0


class Service:
    """A running ``python -m app serve``.

    Attributes:
        url: its address.
        process: the supervisor.
        output: file with everything it printed.
    """

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self.process = process
        self.output = output
        self.url = ""

    def wait_ready(self) -> None:
        """Wait for readiness; fails with the service's output where it ends or takes too long."""
        deadline = time.monotonic() + START_LIMIT
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            if not self.url and (match := re.search(r"http://\S+", self.output.read_text())):
                self.url = match.group()
            try:
                if self.url and httpx.get(f"{self.url}/health/ready", timeout=5).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"not ready:\n{self.output.read_text()}")

    def metrics(self) -> dict[str, float]:
        """All samples of ``/metrics``, by name and labels as they are written."""
        response = httpx.get(f"{self.url}/metrics", timeout=60)
        assert response.status_code == HTTPStatus.OK, self.output.read_text()
        lines = (line.rpartition(" ") for line in response.text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    def children(self, role: str) -> list[int]:
        """Process ids of the engines or the HTTP workers."""
        return list(self.commands(role))

    def commands(self, role: str) -> dict[int, list[str]]:
        """Command line of each engine or HTTP worker, by process id; each is read once, as it may end at any time."""
        tasks = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        found = {}
        for pid in tasks:
            # One that has just ended is listed a moment longer than it can be read, and its command line is empty then.
            with suppress(FileNotFoundError, ProcessLookupError):
                line = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
                if any(f"_{role}" in word for word in line):
                    found[int(pid)] = line
        return found

    def engines(self) -> dict[str, int]:
        """Process id of each engine by its socket."""
        return {line[line.index("--socket") + 1]: pid for pid, line in self.commands("engine").items()}

    def cast_shadow(self, model: str, percent: float) -> None:
        """Have a loaded model judge a share of the texts too, as an operator does who has a key."""
        place = next(iter(self.engines()))
        told = asyncio.run(ControlClient(Path(place).with_name(CONTROL_SOCKET)).shadow(model, percent, "test"))
        assert told["shadow"]["model"] == model, told

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextmanager
def serving(
    store: Path, model: str = "tiny", program: Sequence[str] = ("-m", "app"), **settings: str
) -> Iterator[Service]:
    """Run the service with ``SENTIMENT_<NAME>`` settings, with one engine on any machine and none that stands
    by; stopped, come what may."""
    names = {f"SENTIMENT_{name.upper()}": value for name, value in settings.items()}
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SENTIMENT_")},
        "SENTIMENT_MODEL_STORE": str(store),
        "SENTIMENT_MODEL": model,
        "SENTIMENT_PORT": "0",
        "SENTIMENT_SHUTDOWN_GRACE": "0",
        "SENTIMENT_ENGINES": "1",
        "SENTIMENT_SPARE_ENGINE": "false",
        "PYTHONUNBUFFERED": "1",
        **names,
    }
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "output.txt"
        with output.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, *program, "serve"], env=environment, stdout=file, stderr=subprocess.STDOUT
            )
        service = Service(process, output)
        try:
            service.wait_ready()
            yield service
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait(10)
