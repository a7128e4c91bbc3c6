"""Compares this service with other ways of serving the same checkpoint, in one interleaved run on two cores.

    python -m benchmarks.bench --write

In every round each server is started, checked against the reference scores, warmed up, loaded with wrk at each number
of connections, and ended, one server at a time. See benchmarks/README.md for what the figures mean.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import load, processes, report
from benchmarks.running import Running, ServerError, running
from benchmarks.servers import DEFAULT_CACHE, ROOT, Server, all_servers, interpreter

TOLERANCE = 1e-2
RESULTS = ROOT / "build" / "bench"
LOGS = RESULTS / "logs"
BIG_REQUESTS, BIG_WARM_UP, BIG_REQUEST_TEXTS = 15, 5, 500
REPEATED_TEXTS, REPEATED_LINES, REPEATED_CONNECTIONS = 200, 20_000, 32
_WARM_UP_CONNECTIONS = 32
_SETTLE_SECONDS = 0.5

Record = dict[str, Any]


class Bench:
    """One run.

    Args:
        options: the command line.
        folder: temporary folder for texts and bodies.
    """

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options = options
        self.folder = folder
        self.checkpoint: dict[str, Any] = {}
        self.texts: list[str] = []
        self.records: list[Record] = []
        self.failures: dict[str, str] = {}

    def prepare(self) -> None:
        """Checkpoint, texts and reference scores."""
        command = [sys.executable, "-m", "benchmarks.prepare", "--out", str(self.folder)]
        command += ["--store", str(self.options.store), "--model", self.options.model]
        command += ["--texts", str(self.options.texts)]
        if self.options.corpus:
            command += ["--corpus", str(self.options.corpus.resolve())]
        subprocess.run(command, cwd=ROOT, check=True, timeout=600)
        self.checkpoint = json.loads((self.folder / "checkpoint.json").read_text(encoding="utf-8"))
        self.texts = json.loads((self.folder / "texts.json").read_text(encoding="utf-8"))

    def run(self, servers: Sequence[Server]) -> None:
        """All rounds; a server that fails is left out from then on."""
        pythons = {}
        for server in servers:
            try:
                pythons[server.key] = interpreter(server.kind, self.options.cache)
            except (RuntimeError, OSError) as error:
                self._fail(server, f"not installed: {error}")
        for number in range(1, self.options.rounds + 1):
            for server in servers:
                if server.key in self.failures:
                    continue
                _say(f"round {number}/{self.options.rounds}: {server.key}")
                try:
                    with running(server, pythons[server.key], self.checkpoint, LOGS) as started:
                        self._measure(started, number)
                except (ServerError, RuntimeError, OSError, ValueError, KeyError) as error:
                    self._fail(server, str(error) or type(error).__name__)
            if any(server.key == "ours" for server in servers) and "ours" not in self.failures:
                self._measure_in_process(number)

    def _fail(self, server: Server, message: str) -> None:
        self.failures[server.key] = message
        _say(f"left out: {server.key}: {message}")

    def _measure(self, started: Running, number: int) -> None:
        server = started.server
        if not server.answers_constant:
            error = self._check(started)
            self._record(number, server, "start", seconds=started.start_seconds, error=error, attempt=started.attempt)
        if server.is_ours and not server.cache:
            self._measure_big_requests(started, number)
        scenarios = [] if server.cache else [("unique", count) for count in self.options.connections]
        if server.cache or server.answers_constant:
            scenarios.append(("repeated", REPEATED_CONNECTIONS))
        skip = 0
        for scenario, connections in scenarios:
            bodies = self._bodies(server, scenario)
            if skip == 0 or scenario == "repeated":
                skip += load.run(started.url, bodies, _WARM_UP_CONNECTIONS, self.options.warm_up, skip).requests
                time.sleep(_SETTLE_SECONDS)
            before = started.metrics() if server.is_ours else {}
            cpu_before = processes.cpu_seconds()
            result = load.run(started.url, bodies, connections, self.options.seconds, skip)
            cpu = processes.cpu_between(cpu_before, processes.cpu_seconds())
            memory = processes.memory_bytes()
            # A few more than were counted: those in flight at the end.
            skip += result.requests + connections
            time.sleep(_SETTLE_SECONDS)
            details = engine_figures(before, started.metrics()) if server.is_ours else {}
            figures = {**asdict(result), "rate": result.rate, "cpu": cpu, "memory": memory, **details}
            self._record(number, server, scenario, **figures)
            _say(f"  {scenario:8} C={connections:<4} {result.rate:8.0f} req/s  p99 {result.p99 * 1000:.1f} ms")

        if not server.answers_constant:
            self._check(started)

    def _check(self, started: Running) -> float:
        """Largest difference from the reference scores: before the load and, from the cache where there is one, after.

        Raises:
            ServerError: it is too large.
        """
        expected = self.checkpoint["expected"]
        error = started.error(self.texts[: len(expected)], self.checkpoint["labels"], expected)
        if error > TOLERANCE:
            raise ServerError(f"scores differ from the reference by {error:.3f}")
        return error

    def _measure_big_requests(self, started: Running, number: int) -> None:
        for texts in self._big_warm_up():
            started.post({"texts": texts})
        for texts in self._big_requests():
            answer, seconds = started.timed_post({"texts": texts})
            results = answer["results"]
            if len(results) != len(texts) or any("label" not in result for result in results):
                raise ServerError("a text of a big request was not answered")
            self._record(number, started.server, "big", texts=len(texts), seconds=seconds)

    def _measure_in_process(self, number: int) -> None:
        file = self.folder / "big.json"
        requests = [*self._big_warm_up(), *self._big_requests()]
        file.write_text(json.dumps(requests), encoding="utf-8")
        command = [sys.executable, "-m", "benchmarks.inprocess", self.checkpoint["path"], str(file)]
        finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300)
        taken = list(zip(requests, json.loads(finished.stdout.splitlines()[-1]), strict=True))
        for texts, seconds in taken[BIG_WARM_UP:]:
            self.records.append(
                {"round": number, "server": "in-process", "scenario": "big", "texts": len(texts), "seconds": seconds}
            )

    def _big_warm_up(self) -> list[list[str]]:
        """Requests that are not counted, as many for the service as for the one process."""
        return [self.texts[:BIG_REQUEST_TEXTS]] * BIG_WARM_UP

    def _big_requests(self) -> list[list[str]]:
        chance = random.Random(BIG_REQUEST_TEXTS)
        count = min(BIG_REQUEST_TEXTS, len(self.texts))
        return [chance.sample(self.texts, count) for _ in range(BIG_REQUESTS)]

    def _bodies(self, server: Server, scenario: str) -> Path:
        """File of request bodies, written once for every kind of request."""
        path = self.folder / f"{server.kind.name.replace(' ', '-')[:20]}-{scenario}.jsonl"
        if not path.exists():
            texts = self.texts if scenario == "unique" else _zipf(self.texts[:REPEATED_TEXTS])
            lines = [json.dumps(server.kind.encode(text), ensure_ascii=False) + "\n" for text in texts]
            path.write_text("".join(lines), encoding="utf-8")
        return path

    def _record(self, number: int, server: Server, scenario: str, **figures: Any) -> None:
        self.records.append({"round": number, "server": server.key, "scenario": scenario, **figures})


def engine_figures(before: dict[str, float], after: dict[str, float]) -> Record:
    """What our own metrics say about an interval."""

    def grew(name: str) -> float:
        return after.get(name, 0.0) - before.get(name, 0.0)

    def mean(name: str) -> float | None:
        return grew(f"{name}_sum") / grew(f"{name}_count") if grew(f"{name}_count") else None

    lookups = [name for name in after if name.startswith("sentiment_cache_lookups_total{")]
    return {
        "computed": grew("sentiment_computed_texts_total"),
        "hits": sum(grew(name) for name in lookups if '"hit"' in name),
        "coalesced": sum(grew(name) for name in lookups if '"coalesced"' in name),
        "batch_size": mean("sentiment_batch_size"),
        "padding": mean("sentiment_padding_ratio"),
    }


def _zipf(texts: list[str]) -> list[str]:
    """Texts drawn by Zipf's law: the second half as often as the first, the third a third as often."""
    weights = [1 / rank for rank in range(1, len(texts) + 1)]
    return random.Random(REPEATED_TEXTS).choices(texts, weights, k=REPEATED_LINES)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    corpus = os.environ.get("SENTIMENT_CORPUS")
    add = parser.add_argument
    add("--servers", default="*", help="comma-separated patterns, for instance 'ours*,mosec-torch-*' (default: all)")
    add("--list", action="store_true", help="list the servers and end")
    add("--rounds", type=int, default=3)
    add("--seconds", type=float, default=6, help="measured interval for each number of connections (default: 6)")
    add("--warm-up", type=float, default=2, help="seconds of load before the first interval (default: 2)")
    add("--connections", default="1,32,128", help="comma-separated (default: 1,32,128)")
    add("--quick", action="store_true", help="one round, intervals of 2 s")
    add("--cores", type=int, default=2, help="cores that everything runs on (default: 2)")
    add("--texts", type=int, default=20_000, help="different texts (default: 20000)")
    add("--model", default="imdb-gru", help="stored model, or 'reference' for an untrained GRU of fixed size")
    add("--store", type=Path, default=ROOT / "model_store")
    add("--corpus", type=Path, default=Path(corpus) if corpus else None, help="reviews to send [SENTIMENT_CORPUS]")
    add("--cache", type=Path, default=DEFAULT_CACHE, help="where the peers are installed (default: %(default)s)")
    add("--write", action="store_true", help="put the results into benchmarks/README.md")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds, options.warm_up = 1, 2.0, 1.0
    options.connections = [int(count) for count in options.connections.split(",")]
    if options.model == "imdb-gru" and not (options.store / options.model).is_dir():
        options.model = "reference"
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    patterns = options.servers.split(",")
    servers = [server for server in all_servers() if any(fnmatch.fnmatch(server.key, each) for each in patterns)]
    if options.list:
        print("\n".join(f"{server.key:28} {server.title}" for server in servers))
        return 0
    if not load.available():
        print("error: wrk is not installed (Debian and Ubuntu: apt-get install wrk)", file=sys.stderr)
        return 1
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    processes.adopt_orphans()
    # The clean-up below runs on SIGTERM too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started = datetime.now(UTC)
    LOGS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        bench = Bench(options, Path(folder))
        try:
            bench.prepare()
            bench.run(servers)
        finally:
            processes.end_all()
    run = report.describe(options, bench.checkpoint, servers, started, sys.argv[1:] if arguments is None else arguments)
    document = {**run, "records": bench.records, "failures": bench.failures}
    path = RESULTS / f"{started:%Y%m%d-%H%M%S}.json"
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")
    _say(f"raw results: {path}")
    text = report.render(document)
    print(text)
    if options.write:
        report.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
