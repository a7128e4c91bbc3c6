"""The closed-loop load generator: wrk, with the bodies of a file."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = Path(__file__).with_name("load.lua")
_TIMEOUT = 30


@dataclass(frozen=True, slots=True)
class Load:
    """What one interval of load came to; times in seconds.

    ``errors`` are answers of status 400 and above, and connections that failed.
    """

    connections: int
    requests: int
    seconds: float
    errors: int
    p50: float
    p90: float
    p99: float
    slowest: float

    @property
    def rate(self) -> float:
        """Good answers per second."""
        return max(0, self.requests - self.errors) / self.seconds


def available() -> bool:
    """Whether wrk is installed."""
    return shutil.which("wrk") is not None


def version() -> str:
    """What ``wrk --version`` calls itself."""
    words = subprocess.run(["wrk", "--version"], capture_output=True, text=True, check=False).stdout.split()
    return " ".join(words[:2])


def run(
    url: str,
    bodies: Path,
    connections: int,
    seconds: float,
    skip: int,
    headers: Mapping[str, str] | None = None,
    rest: float = 0.0,
) -> Load:
    """Load ``url`` through one thread for some seconds.

    Args:
        url: where to POST.
        bodies: file of one JSON document a line.
        connections: connections, each with one request in flight.
        seconds: whole seconds, at least one.
        skip: lines to skip at the start, so that intervals do not repeat each other's texts.
        headers: what every request has besides.
        rest: mean seconds of a connection between an answer and its next request; 0 for as fast as it can.

    Raises:
        RuntimeError: wrk failed; the message says how.
    """
    duration = max(1, round(seconds))
    command = ["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{duration}s"]
    for name, value in (headers or {}).items():
        command += ["--header", f"{name}: {value}"]
    command += [
        "--timeout",
        f"{_TIMEOUT}s",
        "--script",
        str(_SCRIPT),
        url,
        "--",
        str(bodies),
        str(skip),
        str(rest * 1e3),
    ]
    try:
        finished = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=duration + _TIMEOUT + 30
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError("wrk did not end") from error
    lines = finished.stdout.strip().splitlines()
    if finished.returncode or not lines or not lines[-1].startswith("{"):
        raise RuntimeError(f"wrk failed: {(finished.stderr or finished.stdout).strip()[-300:]}")
    result = json.loads(lines[-1])
    errors = result["status_errors"] + result["socket_errors"]
    if not result["requests"]:
        raise RuntimeError(f"no request was answered in {duration} s ({errors} errors)")
    return Load(
        connections,
        result["requests"],
        result["seconds"],
        errors,
        result["p50"],
        result["p90"],
        result["p99"],
        result["max"],
    )
