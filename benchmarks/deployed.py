"""What production costs: requests/s with keys, web origins and Redis, of this tree and of an earlier one, side by side.

``python -m benchmarks.deployed --corpus CORPUS [--tree old=FOLDER] [--rounds 3] [--seconds 5]``

Every figure is of a service of its own, started for it as ``python -m app serve`` in its tree, warmed up, loaded by wrk
with different film reviews over 32 connections (no text comes twice), and ended. Trees and configurations take turns in
every round; the table has the median of the rounds and their range, and what that is of the same tree's bare figure.
Needs wrk and, for Redis, redis-server.
"""

from __future__ import annotations

import argparse
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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from app.training.corpus import load_corpus
from benchmarks import load

_START_SECONDS = 60.0
_ORIGIN = "https://shop.example"
_REDIS_PORT = 16_399
_WARM_UP_SECONDS = 1.0
_SCRAPE_SECONDS = 1.0


@dataclass(frozen=True)
class Configuration:
    """What a service is run with.

    Attributes:
        name: in the table.
        connections: of the load.
        keys: whether every request has an API key.
        cors: whether every request comes from a page of another origin.
        redis: whether results are cached, in the process and in Redis; every text is a miss.
        scraped: whether metrics are read every second.
    """

    name: str
    connections: int = 32
    keys: bool = False
    cors: bool = False
    redis: bool = False
    scraped: bool = False


CONFIGURATIONS = (
    Configuration("bare, 1 connection", 1),
    Configuration("bare"),
    Configuration("bare, 128 connections", 128),
    Configuration("API keys", keys=True),
    Configuration("CORS", cors=True),
    Configuration("Redis, every text a miss", redis=True),
    Configuration("keys, CORS, Redis, scraped", keys=True, cors=True, redis=True, scraped=True),
)


def settings(configuration: Configuration, model: str, folder: Path, key: str) -> dict[str, str]:
    """Environment variables of the service; writes the key file."""
    found = {"SENTIMENT_MODEL": model, "SENTIMENT_PORT": "0", "SENTIMENT_SHUTDOWN_GRACE": "0"}
    found["SENTIMENT_CACHE"] = "true" if configuration.redis else "false"
    if configuration.redis:
        found["SENTIMENT_REDIS_URL"] = f"redis://127.0.0.1:{_REDIS_PORT}/0"
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


def measured(tree: Path, configuration: Configuration, model: str, bodies: Path, seconds: float) -> load.Load:
    """One interval of load on a fresh service.

    Raises:
        RuntimeError: it did not start, or not all requests were answered well.
    """
    key = secrets.token_urlsafe(24)
    headers = {"X-API-Key": f"{key}classify"} if configuration.keys else {}
    if configuration.cors:
        headers["Origin"] = _ORIGIN
    with tempfile.TemporaryDirectory() as folder:
        environment = settings(configuration, model, Path(folder), key)
        with serving(tree, environment) as url:
            target = f"{url}/classify"
            warmed = load.run(target, bodies, configuration.connections, _WARM_UP_SECONDS, 0, headers)
            skip = warmed.requests
            if configuration.scraped:
                with scraping(url, f"{key}admin"):
                    found = load.run(target, bodies, configuration.connections, seconds, skip, headers)
            else:
                found = load.run(target, bodies, configuration.connections, seconds, skip, headers)
    if found.errors:
        raise RuntimeError(f"{configuration.name}: {found.errors} of {found.requests} requests failed")
    return found


def table(rates: Mapping[tuple[str, str], Sequence[float]], trees: Sequence[str]) -> str:
    """Markdown: a row for each configuration."""
    lines = ["| configuration |" + "".join(f" {name} | of its bare |" for name in trees)]
    lines[0] += " new of old |" if len(trees) == 2 else ""
    lines.append("|---" * (lines[0].count("|") - 1) + "|")
    medians = {place: statistics.median(found) for place, found in rates.items()}
    for configuration in CONFIGURATIONS:
        row = f"| {configuration.name} |"
        for tree in trees:
            found, bare = rates[tree, configuration.name], medians[tree, "bare"]
            middle = medians[tree, configuration.name]
            row += f" {middle:,.0f} ({min(found):,.0f} to {max(found):,.0f}) |"
            row += f" {middle / bare:.2f} |" if configuration.connections == 32 else " |"
        if len(trees) == 2:
            row += f" {medians[trees[0], configuration.name] / medians[trees[1], configuration.name]:.2f} |"
        lines.append(row)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True, help="archive or folder of the film reviews")
    parser.add_argument("--tree", action="append", default=[], metavar="NAME=FOLDER", help="another tree to compare")
    parser.add_argument("--model", default="imdb-gru/4", help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5)
    options = parser.parse_args()
    for program in ("wrk", "redis-server"):
        if shutil.which(program) is None:
            parser.error(f"{program} is needed")
    trees = {
        "this": Path.cwd(),
        **{name: Path(folder) for name, _, folder in (of.partition("=") for of in options.tree)},
    }
    rates: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, redis_server():
        corpus = load_corpus(options.corpus)
        bodies = Path(folder) / "bodies.jsonl"
        texts = [review.text for review in (*corpus.test, *corpus.train, *corpus.unsup)]
        bodies.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
        for number in range(options.rounds):
            # In another order each time: a machine that gets slower is not to tell against what comes last.
            for configuration in random.Random(number).sample(CONFIGURATIONS, len(CONFIGURATIONS)):
                for name, tree in list(trees.items())[:: 1 if number % 2 == 0 else -1]:
                    if configuration.redis:
                        subprocess.run(
                            ["redis-cli", "-p", str(_REDIS_PORT), "flushall"], check=True, stdout=subprocess.DEVNULL
                        )
                    found = measured(tree, configuration, options.model, bodies, options.seconds)
                    rates.setdefault((name, configuration.name), []).append(found.rate)
                    print(f"round {number + 1}: {configuration.name}, {name}: {found.rate:,.0f}/s", file=sys.stderr)
    print(table(rates, list(trees)))


if __name__ == "__main__":
    main()
