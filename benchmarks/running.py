"""A started server: asked over HTTP, its answers and its metrics checked, and ended with everything it started."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import processes
from benchmarks.servers import ROOT, Parameters, Server, environment

START_TIMEOUT = 120.0
START_ATTEMPTS = 3
_HOST = "127.0.0.1"
_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(\{[^}]*\})? (\S+)", re.MULTILINE)


class ServerError(Exception):
    """A server did not start, answered wrongly or broke; the message is for the report."""


@dataclass(frozen=True)
class Running:
    """A server that answers.

    Attributes:
        server: which.
        port: where.
        start_seconds: from the start of its process to readiness.
        attempt: which start succeeded, from 1.
    """

    server: Server
    port: int
    start_seconds: float
    attempt: int

    @property
    def url(self) -> str:
        return f"http://{_HOST}:{self.port}{self.server.kind.path}"

    def post(self, document: Any) -> Any:
        """POST a document; the decoded answer."""
        return self.timed_post(document)[0]

    def timed_post(self, document: Any) -> tuple[Any, float]:
        """The decoded answer, and the seconds from connecting to the last byte of the answer."""
        sent = json.dumps(document).encode()
        start = time.perf_counter()
        status, body = _exchange(self.port, "POST", self.server.kind.path, sent)
        seconds = time.perf_counter() - start
        if status != 200:
            raise ServerError(f"status {status}: {body[:200]!r}")
        return json.loads(body), seconds

    def classify(self, text: str) -> tuple[str, float]:
        """Label and score of one text."""
        return self.server.kind.decode(self.post(self.server.kind.encode(text)))

    def error(self, texts: Sequence[str], labels: list[str], expected: list[list[float]]) -> float:
        """Largest difference between its scores and the reference."""
        errors = []
        for text, row in zip(texts, expected, strict=True):
            label, score = self.classify(text)
            errors.append(abs(score - row[labels.index(label)]))
        return max(errors)

    def metrics(self) -> dict[str, float]:
        """Our metrics by name, and by name and label set; summed over processes."""
        status, body = _exchange(self.port, "GET", "/metrics")
        if status != 200:
            raise ServerError(f"/metrics: status {status}")
        values: dict[str, float] = {}
        for name, labels, value in _SAMPLE.findall(body.decode("utf-8")):
            for key in {name, name + labels}:
                values[key] = values.get(key, 0.0) + float(value)
        return values


@contextmanager
def running(server: Server, python: Path, checkpoint: Parameters, logs: Path) -> Iterator[Running]:
    """Start a server, wait until it is ready, and end every process of it afterwards.

    A start that fails is tried again, for every server alike: some wait for their own parts for a second only, which a
    busy machine can exceed. A measurement is never repeated.

    Raises:
        ServerError: it did not become ready; the message holds the end of its log.
    """
    # Short: Unix sockets are made below it.
    scratch = Path(tempfile.mkdtemp(prefix="b-"))
    try:
        for attempt in range(1, START_ATTEMPTS + 1):
            try:
                started = _start(server, python, checkpoint, scratch, logs / f"{server.key}-{attempt}.log", attempt)
                break
            except ServerError:
                processes.end_all()
                if attempt == START_ATTEMPTS:
                    raise
        yield started
    finally:
        processes.end_all()
        shutil.rmtree(scratch, ignore_errors=True)


def _start(server: Server, python: Path, checkpoint: Parameters, scratch: Path, log: Path, attempt: int) -> Running:
    if survivors := processes.descendants():
        raise ServerError(f"{len(survivors)} processes of an earlier server still run")
    port, second_port = processes.free_port(), processes.free_port()
    started = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(python), *(argument.format(port=port) for argument in server.kind.arguments)],
            cwd=ROOT,
            env=environment(server, checkpoint, port, second_port, scratch),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _wait_until_ready(Running(server, port, 0.0, attempt), process, log)
    return Running(server, port, time.monotonic() - started, attempt)


def _wait_until_ready(server: Running, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        try:
            if server.server.kind.ready is None:
                server.classify("A wonderful little film.")
                return
            if _exchange(server.port, "GET", server.server.kind.ready)[0] == 200:
                return
        except (OSError, http.client.HTTPException, ServerError, ValueError):
            pass
        if process.poll() is not None:
            raise ServerError(f"ended at start: {_tail(log)}")
        time.sleep(0.1)
    raise ServerError(f"not ready after {START_TIMEOUT:.0f} s: {_tail(log)}")


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return " | ".join(line.strip() for line in lines[-3:])[-400:] or "it wrote nothing"


def _exchange(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(_HOST, port, timeout=60)
    try:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
