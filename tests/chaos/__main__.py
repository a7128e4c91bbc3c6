"""``python -m tests.chaos [SCENARIO ...]``: the scenarios at full length, with the shipped model and a real Redis."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.machine import machine
from tests.chaos import scenarios
from tests.chaos.parts import answers, chaotic, reviews
from tests.chaos.soak import Soak
from tests.redis_server import RedisServer

STORE = Path("model_store")
MODEL = "imdb-gru"
SLOW, WAIT = 100.0, 10.0
NAMES = (
    "overload",
    "real-overload",
    "kill-engine",
    "kill-one-engine",
    "kill-worker",
    "hang",
    "redis",
    "abandoned",
    "sigterm",
    "havoc",
    "soak",
)


class Suite:
    """One method per scenario."""

    def __init__(self, options: argparse.Namespace, redis: RedisServer) -> None:
        self.options = options
        self.redis = redis
        self.known = answers(STORE, MODEL, reviews(1000))

    async def overload(self) -> Any:
        with chaotic(STORE, MODEL, SLOW, cache="off", threads="1", max_queue_seconds=str(WAIT)) as service:
            return await scenarios.overload(
                service, self.known, capacity=SLOW, offered=10 * SLOW, seconds=self.options.seconds, max_wait=WAIT
            )

    async def real_overload(self) -> Any:
        known = answers(STORE, MODEL, reviews(500, longest=400))
        with chaotic(STORE, MODEL, cache="off", max_queue_seconds="1") as service:
            return await scenarios.real_overload(service, known, seconds=self.options.seconds)

    async def kill_engine(self) -> Any:
        with chaotic(STORE, MODEL, cache="off") as service:
            return await scenarios.kill(service, self.known, "engine", times=10, rate=self.options.rate, pause=16)

    async def kill_one_engine(self) -> Any:
        with chaotic(STORE, MODEL, cache="off", engines="2") as service:
            return await scenarios.kill(service, self.known, "engine", times=10, rate=self.options.rate, pause=16)

    async def kill_worker(self) -> Any:
        with chaotic(STORE, MODEL, cache="off") as service:
            return await scenarios.kill(service, self.known, "worker", times=10, rate=self.options.rate, pause=16)

    async def hang(self) -> Any:
        with chaotic(STORE, MODEL, cache="off") as service:
            return await scenarios.hang(service, self.known, rate=self.options.rate)

    async def redis_(self) -> Any:
        rate = self.options.rate / 2
        return await scenarios.redis_faults(STORE, MODEL, self.known, self.redis, rate=rate, seconds=20)

    async def abandoned(self) -> Any:
        with chaotic(STORE, MODEL) as service:
            return await scenarios.abandoned(service, self.known)

    async def sigterm(self) -> Any:
        with chaotic(STORE, MODEL, shutdown_grace="3") as service:
            return await scenarios.terminate(service, self.known, rate=self.options.rate, grace=3.0)

    async def havoc(self) -> Any:
        with chaotic(STORE, MODEL, redis_url=self.redis.url, cache_size="50") as service:
            return await scenarios.havoc(
                service,
                self.known,
                self.redis,
                seed=self.options.seed,
                rate=self.options.rate,
                seconds=self.options.havoc_seconds,
            )

    async def soak(self) -> Any:
        with chaotic(STORE, MODEL, redis_url=self.redis.url, cache_size="200") as service:
            soak = Soak(service, self.known, self.options.soak_rate, self.options.seed)
            await soak.warm_up(60 * self.options.warm_minutes)
            warm = soak.outcomes.total()
            await soak.run(60 * self.options.soak_minutes)
            figures: dict[str, Any] = {
                "requests of the warm-up": warm,
                "requests": soak.outcomes.total(),
                "outcomes": dict(soak.outcomes),
            }
            for name, found in soak.slopes().items():
                figures[name] = {**dataclasses.asdict(found), "bound": found.bound, "flat": found.flat}
            for role in ("engine", "worker"):
                figures[f"{role}, MB by the minute"] = [round(value / 1e6, 2) for value in soak.course(role)]
            figures["descriptors without clients, by quarter"] = soak.idle_descriptors
            allowed = scenarios.HONEST | {"left", "other", "refused as bad"}
            assert set(soak.outcomes) <= allowed, figures
            figures["targets"] = soak.verdict()
            return figures


def main() -> int:
    """Run scenarios one after the other; status 1 where one is not as it must be."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("scenarios", nargs="*", choices=[*NAMES, []], help=f"default: all; {', '.join(NAMES)}")
    parser.add_argument("--seconds", type=float, default=60, help="length of each overload")
    parser.add_argument("--rate", type=float, default=200, help="requests per second where nothing is overloaded")
    parser.add_argument("--havoc-seconds", type=float, default=300)
    parser.add_argument("--soak-minutes", type=float, default=25)
    parser.add_argument("--warm-minutes", type=float, default=4, help="eightfold load before the soak")
    parser.add_argument("--soak-rate", type=float, default=150)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(f"{time.strftime('%Y-%m-%d')}, {machine()}, load average {os.getloadavg()[0]:.1f}", flush=True)
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        if shutil.which("redis-server") is None:
            parser.error("needs redis-server on PATH")
        redis = RedisServer(Path(folder))
        redis.start()
        try:
            suite = Suite(options, redis)
            for name in options.scenarios or NAMES:
                failed += not _run(suite, name)
        finally:
            redis.stop()
    return 1 if failed else 0


def _run(suite: Suite, name: str) -> bool:
    scenario = getattr(suite, {"redis": "redis_"}.get(name, name.replace("-", "_")))
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            figures = runner.run(scenario())
    except AssertionError as error:
        print(f"{name} FAILED: {error}", flush=True)
        return False
    print(f"{name}: " + json.dumps(figures, indent=1), flush=True)
    return all(figures.get("targets", {}).values())


if __name__ == "__main__":
    sys.exit(main())
