"""A real Prometheus, and a real Redis exporter, with this repository's configuration in a hurry."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.redis_server import free_port, on_path
from tests.waiting import LIMIT

MONITORING = Path(__file__).parent.parent.parent / "monitoring"
HURRY = 12
"""How much shorter windows and patience of the rules are than in production."""
_SHORTEST_WINDOW = 5


def program(*names: str) -> str:
    """A program from PATH, by the first name it has. In CI it must be there; elsewhere tests skip loudly."""
    for name in names:
        if found := on_path(name):
            return found
    message = f"no {names[0]} on PATH"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def hurried(duration: str, shortest: int = 1) -> str:
    """A duration of one number and unit, ``HURRY`` times shorter, in whole seconds."""
    number, unit = int(duration[:-1]), duration[-1]
    return f"{max(shortest, number * {'s': 1, 'm': 60, 'h': 3600, 'd': 86400}[unit] // HURRY)}s"


def hurried_rules(path: Path) -> dict[str, Any]:
    """A rule file with shorter windows and shorter patience, and nothing else changed."""
    document: dict[str, Any] = yaml.safe_load(path.read_text())
    for group in document["groups"]:
        group.pop("interval", None)
        for rule in group["rules"]:
            rule["expr"] = re.sub(
                r"\[(\d+[smhd])\]", lambda match: f"[{hurried(match[1], _SHORTEST_WINDOW)}]", rule["expr"]
            )
            if "for" in rule:
                rule["for"] = hurried(rule["for"])
    return document


def write_configuration(folder: Path, targets: dict[str, str]) -> Path:
    """The repository's configuration with other targets (see ``targets_of``), scraped and evaluated every second."""
    document = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    document["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    for job in document["scrape_configs"]:
        job.pop("file_sd_configs", None)
        job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
        for rule in job.get("relabel_configs", ()):
            if rule["target_label"] == "__address__":
                rule["replacement"] = targets["blackbox"]
    (folder / "rules").mkdir(parents=True)
    for path in (MONITORING / "rules").glob("*.yml"):
        (folder / "rules" / path.name).write_text(yaml.safe_dump(hurried_rules(path)))
    configuration = folder / "prometheus.yml"
    configuration.write_text(yaml.safe_dump(document))
    return configuration


class Prometheus:
    """A running server.

    Attributes:
        url: its address.
    """

    def __init__(self, client: httpx.Client) -> None:
        self.url = str(client.base_url)
        self._client = client

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an instant vector; fails on an expression that Prometheus refuses."""
        answer = self._client.get("/api/v1/query", params={"query": expression}).json()
        assert answer["status"] == "success", (expression, answer)
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def rules(self) -> list[dict[str, Any]]:
        """All rules as they are loaded."""
        groups = self._client.get("/api/v1/rules").json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def wait(self, expression: str, limit: float = 300.0) -> list[dict[str, Any]]:
        """Wait until an expression has a result, and give it."""
        deadline = time.monotonic() + limit
        while not (result := self.query(expression)):
            assert time.monotonic() < deadline, f"nothing within {limit} s: {expression}"
            time.sleep(0.5)
        return result


@contextmanager
def running(command: list[str], ready: str, output: Path) -> Iterator[None]:
    """Run a program until the block ends; waits for an address to answer 200."""
    with output.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + LIMIT
        while True:
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            try:
                if httpx.get(ready, timeout=5).status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


@contextmanager
def exporting(redis_url: str, folder: Path) -> Iterator[str]:
    """A Redis exporter; gives its address."""
    address = f"127.0.0.1:{free_port()}"
    command = [program("prometheus-redis-exporter", "redis_exporter"), "-redis.addr", redis_url]
    command += ["-web.listen-address", address]
    with running(command, f"http://{address}/metrics", folder / "redis-exporter.txt"):
        yield address


@contextmanager
def probing(folder: Path) -> Iterator[str]:
    """A blackbox exporter with the repository's configuration; gives its address."""
    address = f"127.0.0.1:{free_port()}"
    command = [program("prometheus-blackbox-exporter", "blackbox_exporter")]
    command += [f"--config.file={MONITORING / 'blackbox.yml'}", f"--web.listen-address={address}"]
    with running(command, f"http://{address}/-/healthy", folder / "blackbox-exporter.txt"):
        yield address


def targets_of(service_url: str, exporter: str, blackbox: str) -> dict[str, str]:
    """Targets of each job, for ``watching``."""
    return {
        "sentiment": service_url.removeprefix("http://"),
        "redis": exporter,
        "sentiment-probe": f"{service_url}/health/ready",
        "blackbox": blackbox,
    }


@contextmanager
def watching(targets: dict[str, str], folder: Path) -> Iterator[Prometheus]:
    """A Prometheus that scrapes the targets, by job; see ``targets_of``."""
    address = f"127.0.0.1:{free_port()}"
    command = [
        program("prometheus"),
        f"--config.file={write_configuration(folder / 'prometheus', targets)}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
    ]
    ready = running(command, f"http://{address}/-/ready", folder / "prometheus.txt")
    with ready, httpx.Client(base_url=f"http://{address}", timeout=60) as client:
        yield Prometheus(client)
