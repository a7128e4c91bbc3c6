"""What production costs: requests/s with keys, web origins, Redis and traces, of this tree and of an earlier one.

``python -m benchmarks.deployed --corpus CORPUS [--tree old=FOLDER] [--rounds 15] [--seconds 1]``

A service of each tree and configuration runs as ``python -m app serve`` in its tree. wrk loads one at a time, with
film reviews that no cache knows; the others rest. Every interval stands right beside one of the same tree's bare
service and one of the other tree: the ratios in the table are medians of those of such neighbours, with their middle
half, so that a machine whose speed changes tells against nobody. What Redis answers is compared with what the memory of
the workers answers. Needs wrk and, for Redis, redis-server.
"""

from __future__ import annotations

import argparse
import http.server
import json
import os
import random
import re
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from app.training.corpus import load_corpus
from benchmarks import load

_START_SECONDS = 60.0
_ORIGIN = "https://shop.example"
_REDIS_PORT = 16_399
_COLLECTOR_PORT = 16_398
_SCRAPE_SECONDS = 1.0
_KNOWN_TEXTS = 2_000
"""Texts that are asked for again and again where every text is a hit."""


@dataclass(frozen=True)
class Configuration:
    """What a service is run with.

    Attributes:
        name: in the table.
        keys: whether every request has an API key.
        cors: whether every request comes from a page of another origin.
        redis: whether results are cached, in the process and in Redis.
        scraped: whether metrics are read every second.
        traced: whether one trace in ten is recorded and sent.
        known: whether the same texts are asked for again and again; with Redis, one result is kept in the process.
        beside: name of the row that it is compared with.
    """

    name: str
    keys: bool = False
    cors: bool = False
    redis: bool = False
    scraped: bool = False
    traced: bool = False
    known: bool = False
    beside: str = "bare"


BARE = {"bare, 1 connection": 1, "bare": 32, "bare, 128 connections": 128}
"""Rows of the table of a service with none of that, and their connections."""

PRODUCTION = (
    Configuration("API keys", keys=True),
    Configuration("CORS", cors=True),
    Configuration("Redis, every text a miss", redis=True),
    Configuration("keys, CORS, Redis", keys=True, cors=True, redis=True),
    Configuration("keys, CORS, Redis, scraped", keys=True, cors=True, redis=True, scraped=True),
    Configuration("traces, one in ten recorded", traced=True),
    Configuration("memory, every text a hit", known=True),
    Configuration("Redis, every text a hit", redis=True, known=True, beside="memory, every text a hit"),
)
"""Rows over 32 connections."""


def settings(configuration: Configuration, model: str, folder: Path, key: str) -> dict[str, str]:
    """Environment variables of the service; writes the key file."""
    found = {"SENTIMENT_MODEL": model, "SENTIMENT_PORT": "0", "SENTIMENT_SHUTDOWN_GRACE": "0"}
    found["SENTIMENT_CACHE"] = "true" if configuration.redis or configuration.known else "false"
    if configuration.redis:
        found["SENTIMENT_REDIS_URL"] = f"redis://127.0.0.1:{_REDIS_PORT}/{int(configuration.known)}"
        if configuration.known:
            found["SENTIMENT_CACHE_SIZE"] = "1"
    if configuration.traced:
        found["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{_COLLECTOR_PORT}"
        found["OTEL_TRACES_SAMPLER"], found["OTEL_TRACES_SAMPLER_ARG"] = "parentbased_traceidratio", "0.1"
    if configuration.keys:
        keys = folder / "keys.txt"
        lines = (f"{scope} {scope} {sha256((key + scope).encode()).hexdigest()}\n" for scope in ("classify", "admin"))
        keys.write_text("".join(lines), encoding="ascii")
        keys.chmod(0o600)
        found["SENTIMENT_API_KEYS"] = str(keys)
    if configuration.cors:
        found["SENTIMENT_CORS_ORIGINS"] = _ORIGIN
    return found


@contextmanager
def serving(
    tree: Path, environment: Mapping[str, str], program: Sequence[str] = ("-m", "app", "serve")
) -> Iterator[str]:
    """A service of a tree; its address once it is ready. Ended at the end."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SENTIMENT_")}
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, *program],
            cwd=tree,
            env={**clean, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield _address(process, output.fileno())
        finally:
            process.terminate()
            process.wait(60)


def _address(process: subprocess.Popen[bytes], output: int) -> str:
    deadline = time.monotonic() + _START_SECONDS
    said = ""
    while time.monotonic() < deadline and process.poll() is None:
        said = os.pread(output, 100_000, 0).decode(errors="replace")
        if match := re.search(r"http://[\d.]+:\d+", said):
            try:
                with urllib.request.urlopen(f"{match.group()}/health/ready", timeout=5) as answer:
                    if answer.status == 200:
                        return match.group()
            except OSError:
                pass
        time.sleep(0.05)
    raise RuntimeError(f"the service did not become ready:\n{said}")


@contextmanager
def redis_server() -> Iterator[None]:
    """A Redis that keeps nothing on disk."""
    command = ["redis-server", "--port", str(_REDIS_PORT), "--save", "", "--appendonly", "no", "--bind", "127.0.0.1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        yield
    finally:
        process.terminate()
        process.wait(30)


class _Collector(http.server.BaseHTTPRequestHandler):
    """Takes spans and forgets them."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def collector() -> Iterator[None]:
    """Somebody collects spans."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", _COLLECTOR_PORT), _Collector) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def scraping(url: str, key: str) -> Iterator[None]:
    """Somebody reads the metrics every second."""
    end = threading.Event()
    request = urllib.request.Request(f"{url}/metrics", headers={"X-API-Key": key})

    def scrape() -> None:
        while not end.wait(_SCRAPE_SECONDS):
            with urllib.request.urlopen(request, timeout=10) as answer:
                answer.read()

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


@dataclass(frozen=True)
class Running:
    """A service that is there to be loaded.

    Attributes:
        configuration: what it is run with.
        url: its address.
        headers: what a request must have.
        key: allows to read metrics and to give orders.
    """

    configuration: Configuration
    url: str
    headers: Mapping[str, str]
    key: str

    def load(self, bodies: Path, seconds: float, skip: int, connections: int) -> load.Load:
        """One interval of load. What Redis holds is forgotten before, but for known texts.

        Raises:
            RuntimeError: not all requests were answered well.
        """
        if self.configuration.redis and not self.configuration.known:
            command = ["redis-cli", "-p", str(_REDIS_PORT), "flushdb"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        with scraping(self.url, self.key) if self.configuration.scraped else nullcontext():
            found = load.run(f"{self.url}/classify", bodies, connections, seconds, skip, self.headers)
        if found.errors:
            raise RuntimeError(f"{self.configuration.name}: {found.errors} of {found.requests} requests failed")
        return found


@contextmanager
def running(tree: Path, configuration: Configuration, model: str) -> Iterator[Running]:
    """A service of a tree, ended at the end."""
    key = secrets.token_urlsafe(24)
    headers = {"X-API-Key": f"{key}classify"} if configuration.keys else {}
    if configuration.cors:
        headers["Origin"] = _ORIGIN
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(tree, settings(configuration, model, Path(folder), key)) as url,
    ):
        yield Running(configuration, url, headers, f"{key}admin")


@dataclass
class Figures:
    """What intervals came to.

    Attributes:
        rates: requests/s by tree and row of the table.
        of_beside: of an interval right beside it of the same tree's bare service, or of the row's own, likewise.
        of_other: of an interval of the other tree right beside it, by row.
    """

    rates: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    of_beside: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    of_other: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def table(self, trees: Sequence[str]) -> str:
        """Markdown: medians and middle halves, a row for each configuration."""
        lines = ["| configuration |" + "".join(f" {name}, requests/s | of its bare |" for name in trees)]
        lines[0] += f" {trees[0]} of {trees[1]} |" if len(trees) == 2 else ""
        lines.append("|---" * (lines[0].count("|") - 1) + "|")
        for name in (*BARE, *(configuration.name for configuration in PRODUCTION)):
            cells = [name]
            for tree in trees:
                cells += [_middle(self.rates[tree, name], ",.0f"), _middle(self.of_beside.get((tree, name), ()), ".2f")]
            if len(trees) == 2:
                cells.append(_middle(self.of_other[name], ".2f"))
            lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines)


def _middle(found: Sequence[float], form: str) -> str:
    if len(found) < 2:
        return "".join(format(value, form) for value in found)
    low, median, high = statistics.quantiles(found, n=4, method="inclusive")
    return f"{median:{form}} ({low:{form}} to {high:{form}})"


def measure(
    trees: Mapping[str, Mapping[str, Running]], bodies: Path, known: Path, rounds: int, seconds: float
) -> Figures:
    """Load all services in turn.

    Args:
        trees: services of one tree or two by name: the bare one, then those of ``PRODUCTION``.
        bodies: see ``load.run``.
        known: those of texts that are asked for again and again.
        rounds: intervals of each, in another order each time.
        seconds: of each.
    """
    figures, texts, skip = Figures(), len(bodies.read_bytes().splitlines()), 0

    def loaded(service: Running, connections: int) -> float:
        nonlocal skip
        if service.configuration.known:
            return service.load(known, seconds, 0, connections).rate
        found = service.load(bodies, seconds, skip, connections)
        skip = (skip + found.requests) % texts
        return found.rate

    for service in (service for services in trees.values() for service in services.values()):
        # Each worker must have had every known text.
        for _ in range(5 if service.configuration.known else 1):
            loaded(service, 32)
    rows = [(name, "bare", connections, "") for name, connections in BARE.items()]
    rows += [(configuration.name, configuration.name, 32, configuration.beside) for configuration in PRODUCTION]
    for number in range(rounds):
        chance = random.Random(number)
        for name, served, connections, beside in chance.sample(rows, len(rows)):
            rates = {}
            for tree in chance.sample(list(trees), len(trees)):
                # What is compared is measured back to back: the machine's own speed changes within seconds.
                sides = chance.sample((beside, served), 2) if beside else [served]
                found = {side: loaded(trees[tree][side], connections) for side in sides}
                rates[tree] = found[served]
                figures.rates[tree, name].append(found[served])
                if beside:
                    figures.of_beside[tree, name].append(found[served] / found[beside])
                print(f"round {number + 1}: {name}, {tree}: {found[served]:,.0f}/s", file=sys.stderr, flush=True)
            if len(rates) == 2:
                this, other = (rates[tree] for tree in trees)
                figures.of_other[name].append(this / other)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True, help="archive or folder of the film reviews")
    parser.add_argument("--tree", metavar="NAME=FOLDER", help="another tree to compare")
    parser.add_argument("--model", default="imdb-gru/4", help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=int, default=1)
    options = parser.parse_args()
    for program in ("wrk", "redis-server"):
        if shutil.which(program) is None:
            parser.error(f"{program} is needed")
    trees = {"this": Path.cwd()}
    if options.tree:
        name, _, other = options.tree.partition("=")
        trees[name] = Path(other)
    with tempfile.TemporaryDirectory() as folder, redis_server(), collector(), ExitStack() as stack:
        corpus = load_corpus(options.corpus)
        bodies = Path(folder) / "bodies.jsonl"
        texts = [review.text for review in (*corpus.test, *corpus.train, *corpus.unsup)]
        lines = [json.dumps({"text": text}) + "\n" for text in texts]
        bodies.write_text("".join(lines), encoding="utf-8")
        known = Path(folder) / "known.jsonl"
        known.write_text("".join(lines[:_KNOWN_TEXTS]), encoding="utf-8")
        services = {
            name: {
                configuration.name: stack.enter_context(running(tree, configuration, options.model))
                for configuration in (Configuration("bare"), *PRODUCTION)
            }
            for name, tree in trees.items()
        }
        print(measure(services, bodies, known, options.rounds, options.seconds).table(list(trees)))


if __name__ == "__main__":
    main()
