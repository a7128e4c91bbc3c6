"""What a shadow costs those who ask: p99 with a shadow of 100 % and without one, at 80 % of what the service can do.

``python -m benchmarks.shadow [--versions imdb-gru-large/2 imdb-gru-large/3] [--rounds 8] [--seconds 3]``

wrk loads the service over many connections that rest between two requests, so long that 80 % of the rate comes about
that they reach without a rest. Intervals with a shadow and without one take turns; the ratio is the median of those of
neighbours. Texts are made up; nothing is cached. Needs wrk.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import statistics
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from benchmarks import load
from benchmarks.deployed import Configuration, Running, running

_CONNECTIONS = 64
_SHARE = 0.8
_TEXTS = 5_000
WORDS = (
    "good",
    "bad",
    "film",
    "story",
    "never",
    "again",
    "loved",
    "the",
    "boring",
    "it",
    "awful",
    "not",
    "but",
    "dull",
    "was",
)


class Service:
    """A service that is loaded and given orders.

    Args:
        running: the service, with keys.
        bodies: requests, see ``load.run``.
    """

    def __init__(self, running: Running, bodies: Path) -> None:
        self._running = running
        self._bodies = bodies

    def load(self, seconds: float, rest: float) -> load.Load:
        """One interval of load.

        Raises:
            RuntimeError: a request failed.
        """
        url, headers = f"{self._running.url}/classify", self._running.headers
        found = load.run(url, self._bodies, _CONNECTIONS, seconds, 0, headers, rest)
        if found.errors:
            raise RuntimeError(f"{found.errors} of {found.requests} requests failed")
        return found

    def order(self, version: str, order: str, **arguments: Any) -> None:
        """Have something done with a version."""
        self._ask(f"/admin/models/{version}/{order}", json.dumps(arguments).encode())

    def shadowed(self) -> dict[str, int]:
        """Texts of the shadow by outcome."""
        lines = self._ask("/metrics").splitlines()
        counted = (re.match(r'sentiment_shadow_texts_total\{.*outcome="(\w+)".*\} ([\d.]+)', line) for line in lines)
        return {found[1]: int(float(found[2])) for found in counted if found}

    def _ask(self, path: str, body: bytes | None = None) -> str:
        headers = {"X-API-Key": self._running.key, "Content-Type": "application/json"}
        request = urllib.request.Request(self._running.url + path, body, headers)
        with urllib.request.urlopen(request, timeout=300) as answer:
            return str(answer.read().decode())


def measure(service: Service, shadow: str, rounds: int, seconds: int) -> str:
    """What is to be said."""
    capacity = statistics.median(service.load(seconds, 0).rate for _ in range(3))
    # A connection's turn is its rest and the time of an answer, which grows with the rate: found in a few steps.
    turn = _CONNECTIONS / (_SHARE * capacity)
    rest = turn / 2
    for _ in range(4):
        rest = max(0.0, rest + turn - _CONNECTIONS / service.load(seconds, rest).rate)
    service.order(shadow, "load-beside")
    time.sleep(seconds)
    found: dict[int, list[load.Load]] = {0: [], 100: []}
    for number in range(rounds):
        for percent in (0, 100) if number % 2 == 0 else (100, 0):
            service.order(shadow, "shadow", percent=percent)
            found[percent].append(service.load(seconds, rest))
            last = found[percent][-1]
            print(
                f"shadow of {percent} %: {last.rate:,.0f}/s, p99 {1e3 * last.p99:.1f} ms", file=sys.stderr, flush=True
            )
    lines = ["| shadow | requests/s | of capacity | p50, ms | p99, ms |", "|---|---|---|---|---|"]
    for percent, loads in found.items():
        rate = statistics.median(it.rate for it in loads)
        middles = (1e3 * statistics.median(values) for values in ([it.p50 for it in loads], [it.p99 for it in loads]))
        p50, p99 = middles
        lines.append(f"| {percent} % | {rate:,.0f} | {rate / capacity:.2f} | {p50:.1f} | {p99:.1f} |")
    ratios = [with_it.p99 / without.p99 for without, with_it in zip(found[0], found[100], strict=True)]
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
    lines.append(f"\np99 with the shadow of that without: {median:.2f} ({low:.2f} to {high:.2f})")
    lines.append(f"texts of the shadow: {service.shadowed()}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", nargs=2, default=["imdb-gru-large/2", "imdb-gru-large/3"], metavar="NAME/VERSION")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=int, default=3)
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        parser.error("wrk is needed")
    served, shadow = options.versions
    chance = random.Random(0)
    texts = [" ".join(chance.choices(WORDS, k=chance.randint(1, 60))) for _ in range(_TEXTS)]
    with tempfile.TemporaryDirectory() as folder:
        bodies = Path(folder) / "bodies.jsonl"
        bodies.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        with running(Path.cwd(), Configuration("shadow", keys=True), served) as service:
            print(measure(Service(service, bodies), shadow, options.rounds, options.seconds))


if __name__ == "__main__":
    main()
