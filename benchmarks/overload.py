"""How much of what it can do the service does when three times that is asked of it: goodput under overload.

``python -m benchmarks.overload [--model reviews-gru] [--rounds 4] [--seconds 20]``

wrk sends requests of 16 texts that no cache knows: over few connections as fast as they are answered, which is the
capacity, and then over many connections that rest between an answer and their next request, so long that three times
that comes about. Most of these are refused; those that are answered are the goodput. Both take turns. Needs wrk.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import load
from benchmarks.deployed import serving
from benchmarks.shadow import WORDS

_TEXTS = 16
_BODIES = 1_000
_LONGEST = 400
_CONNECTIONS = 16
_TIMES = 3.0
_REST = 0.5
"""Mean seconds of a connection's rest under overload."""
_MOST_CONNECTIONS = 4_000
_PAUSE = 2.0
"""Seconds in which the service computes what still waits at the end of an interval, which is not counted."""


def offered(found: load.Load) -> float:
    """Requests per second, whatever became of them."""
    return found.requests / found.seconds


def measure(url: str, bodies: Path, rounds: int, seconds: int) -> str:
    """What is to be said."""

    def loaded(connections: int, rest: float) -> load.Load:
        return load.run(url, bodies, connections, seconds, 0, rest=rest)

    loaded(_CONNECTIONS, 0.0)
    connections = round(_TIMES * loaded(_CONNECTIONS, 0.0).rate * _REST)
    lines = ["| round | capacity, texts/s | offered | goodput | of the capacity |", "|---|---|---|---|---|"]
    ratios = []
    for number in range(rounds):
        free, over = loaded(_CONNECTIONS, 0.0), loaded(connections, _REST)
        time.sleep(_PAUSE)
        if free.errors:
            raise RuntimeError(f"{free.errors} of {free.requests} requests failed without an overload")
        ratios.append(over.rate / free.rate)
        texts = [_TEXTS * it for it in (free.rate, offered(over), over.rate)]
        times = offered(over) / free.rate
        cells = (f"{number + 1}", f"{texts[0]:,.0f}", f"{texts[1]:,.0f}, {times:.1f} times", f"{texts[2]:,.0f}")
        lines.append(f"| {' | '.join(cells)} | {ratios[-1]:.2f} |")
        print(lines[-1], file=sys.stderr, flush=True)
        # Those that wait for an answer do not ask: more of them, where less than three times as much came about.
        connections = min(_MOST_CONNECTIONS, round(connections * (_TIMES / times) ** 0.5))
    lines.append(f"\ngoodput of the capacity, median: {statistics.median(ratios):.2f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="reviews-gru", help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=int, default=20)
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        parser.error("wrk is needed")
    chance = random.Random(0)
    settings = {
        "SENTIMENT_MODEL": options.model,
        "SENTIMENT_PORT": "0",
        "SENTIMENT_SHUTDOWN_GRACE": "0",
        "SENTIMENT_CACHE": "false",
        "SENTIMENT_MAX_CONNECTIONS": str(_MOST_CONNECTIONS + _CONNECTIONS),
    }
    with tempfile.TemporaryDirectory() as folder, serving(Path.cwd(), settings) as url:
        bodies = Path(folder) / "bodies.jsonl"
        with bodies.open("w", encoding="utf-8") as file:
            for _ in range(_BODIES):
                lengths = (chance.randint(1, _LONGEST) for _ in range(_TEXTS))
                texts = [" ".join(chance.choices(WORDS, k=length)) for length in lengths]
                file.write(json.dumps({"texts": texts}) + "\n")
        print(measure(f"{url}/classify", bodies, options.rounds, options.seconds))


if __name__ == "__main__":
    main()
