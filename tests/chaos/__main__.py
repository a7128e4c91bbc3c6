"""``python -m tests.chaos [SCENARIO ...]``: the scenarios at full length, with the shipped model and a real Redis."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import gc
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvloop

from app.keys import ADMIN, CLASSIFY, new_key
from benchmarks.machine import machine
from tests.chaos import rollout as roll_outs
from tests.chaos import scenarios
from tests.chaos.parts import answers, chaotic, reviews
from tests.chaos.program import CRASH_VARIABLE, SLOW_VARIABLE
from tests.chaos.soak import Soak
from tests.redis_server import RedisServer
from tests.service import Service

STORE = Path("model_store")
MODEL = "imdb-gru"
SLOW, WAIT = 100.0, 10.0
FATAL = [f"{word} {word} {word} film" for word in ("very", "good", "bad", "great", "slow", "funny", "story", "plot")]
"""Texts of three equal words and another one; see ``program``."""
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
    "rollout",
    "slow-canary",
    "crashing-canary",
    "shadow",
    "soak",
)
"""All; those about roll-outs need two versions of a model."""


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
        with chaotic(STORE, MODEL, cache="off", spare_engine="true") as service:
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
        with chaotic(STORE, MODEL, redis_url=self.redis.url, cache_size="50", spare_engine="true") as service:
            return await scenarios.havoc(
                service,
                answers(STORE, MODEL, reviews(4000)),
                self.redis,
                seed=self.options.seed,
                rate=self.options.rate,
                seconds=self.options.havoc_seconds,
            )

    async def rollout(self) -> Any:
        with self._two_versions(guard="off", engines=str(self.options.engines)) as (service, key, expected):
            return await roll_outs.rollout(
                service, self.model, expected, key, rate=self.options.rollout_rate, quiet=15, pause=self.options.pause
            )

    async def slow_canary(self) -> Any:
        return await self._bad_canary(SLOW_VARIABLE, FATAL[:0])

    async def crashing_canary(self) -> Any:
        return await self._bad_canary(CRASH_VARIABLE, FATAL)

    async def _bad_canary(self, fault: str, more: Sequence[str]) -> Any:
        faults = {fault: self.versions[1]}
        with self._two_versions(more, faults) as (service, key, expected):
            # One in fifty is a text that ends the engine, where there are any.
            texts = [*list(expected[min(expected)])[: 49 * len(more) or None], *more]
            rate = min(self.options.rollout_rate, 60)
            return await roll_outs.bad_canary(service, self.model, expected, key, rate=rate, seconds=10, texts=texts)

    async def shadow(self) -> Any:
        with self._two_versions() as (service, key, expected):
            return await roll_outs.shadowed(
                service,
                self.model,
                expected,
                key,
                rate=self.options.rollout_rate,
                seconds=self.options.shadow_seconds,
                rounds=self.options.rounds,
            )

    @property
    def model(self) -> str:
        return self.versions[0].partition("/")[0]

    @property
    def versions(self) -> list[str]:
        return list(self.options.versions)

    @contextmanager
    def _two_versions(
        self, more: Sequence[str] = (), faults: Mapping[str, str] | None = None, **settings: str
    ) -> Iterator[tuple[Service, str, roll_outs.Expected]]:
        """A service with the first version, a key for it, and what both answer."""
        texts = [*reviews(300), *more]
        expected = {int(it.partition("/")[2]): answers(STORE, it, texts) for it in self.versions}
        key, kept = new_key("operator", (ADMIN, CLASSIFY))
        with tempfile.TemporaryDirectory() as folder:
            keys = Path(folder) / "keys"
            keys.write_text(kept.line + "\n")
            settings = {"api_keys": str(keys), "metrics": "public", "cache": "off", "spare_engine": "true", **settings}
            with chaotic(STORE, self.versions[0], None, faults, **settings) as service:
                yield service, key, expected

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
    # All that was imported is looked through for garbage otherwise: a tenth of a second in which no request leaves, and
    # the service seems to stall.
    gc.disable()
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("scenarios", nargs="*", choices=[*NAMES, []], help=f"default: all; {', '.join(NAMES)}")
    parser.add_argument("--seconds", type=float, default=60, help="length of each overload")
    parser.add_argument("--rate", type=float, default=200, help="requests per second where nothing is overloaded")
    parser.add_argument("--havoc-seconds", type=float, default=300)
    parser.add_argument("--soak-minutes", type=float, default=25)
    parser.add_argument("--warm-minutes", type=float, default=4, help="eightfold load before the soak")
    parser.add_argument("--soak-rate", type=float, default=150)
    parser.add_argument("--rollout-rate", type=float, default=300, help="requests per second of the roll-outs")
    parser.add_argument("--engines", type=int, default=1, help="of the version that is served in a roll-out")
    parser.add_argument("--pause", type=float, default=5, help="seconds after each step and kill of a roll-out")
    parser.add_argument("--rounds", type=int, default=6, help="of the shadow: without and with it, in turns")
    parser.add_argument("--shadow-seconds", type=float, default=20, help="of each half of a round")
    parser.add_argument(
        "--versions", nargs=2, metavar="NAME/VERSION", default=["reviews-gru/2", "reviews-gru/3"], help="of one model"
    )
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
