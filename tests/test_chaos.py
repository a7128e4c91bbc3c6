"""The chaos suite in short: faults under load, and every request gets the right answer or an honest refusal.

``make chaos`` runs the same at full length, and holds it to times too; those of a shared machine say little.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.chaos import scenarios
from tests.chaos.parts import answers, chaotic, reviews
from tests.chaos.soak import slope
from tests.redis_server import RedisServer

pytestmark = pytest.mark.extra


@pytest.fixture(scope="module")
def known(tiny_store: Path) -> Mapping[str, float]:
    """Texts with their answers."""
    return answers(tiny_store, "tiny", reviews(400))


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.stop()


def test_overload(tiny_store: Path, known: Mapping[str, float]) -> None:
    """Five times what the engine computes: what is admitted is answered right, the rest refused with advice."""
    with chaotic(tiny_store, "tiny", 100, cache="off", threads="1", max_queue_seconds="1") as service:
        figures = asyncio.run(scenarios.overload(service, known, capacity=100, offered=500, seconds=6, max_wait=1))
    assert figures["goodput per second"] > 30


def test_a_killed_engine(tiny_store: Path, known: Mapping[str, float]) -> None:
    """Everything in flight is answered by the next one."""
    with chaotic(tiny_store, "tiny", cache="off") as service:
        asyncio.run(scenarios.kill(service, known, "engine", times=2, rate=50, pause=3))


def test_a_killed_worker(tiny_store: Path, known: Mapping[str, float]) -> None:
    """Only its own connections break."""
    with chaotic(tiny_store, "tiny", cache="off") as service:
        asyncio.run(scenarios.kill(service, known, "worker", times=2, rate=50, pause=3))


def test_redis_faults(tiny_store: Path, known: Mapping[str, float], redis: RedisServer) -> None:
    """Killed, paused and restarted: every request is answered right."""
    asyncio.run(scenarios.redis_faults(tiny_store, "tiny", known, redis, rate=40, seconds=2.5))


def test_texts_of_clients_that_left(tiny_store: Path, known: Mapping[str, float]) -> None:
    """A paused engine, 400 texts, 200 clients gone: 200 right answers, and exactly 200 texts computed."""
    with chaotic(tiny_store, "tiny") as service:
        asyncio.run(scenarios.abandoned(service, known))


def test_sigterm(tiny_store: Path, known: Mapping[str, float]) -> None:
    """What was sent before it and in the grace time is answered; readiness says 503; the exit status is 0."""
    with chaotic(tiny_store, "tiny", shutdown_grace="2") as service:
        asyncio.run(scenarios.terminate(service, known, rate=50, grace=2.0))


@pytest.mark.parametrize("seed", [1])
def test_havoc(tiny_store: Path, known: Mapping[str, float], redis: RedisServer, seed: int) -> None:
    """Faults of every kind in a seeded random order: no wrong answer, no 500, no request without an end."""
    with chaotic(tiny_store, "tiny", redis_url=redis.url, cache_size="50") as service:
        figures = asyncio.run(scenarios.havoc(service, known, redis, seed=seed, rate=50, seconds=25))
    assert figures["outcomes"]["right"] > 500


def test_growth_is_told_from_noise() -> None:
    """The slope of the soak: flat where values only scatter, not where they grow by a twentieth an hour."""
    flat = slope([(float(at), 100 + (at * 7919 % 13) / 13) for at in range(0, 3600, 10)])
    growing = slope([(float(at), 100 + at / 3600 * 5 + (at * 7919 % 13) / 13) for at in range(0, 3600, 10)])
    assert flat.flat
    assert not growing.flat
    assert growing.per_hour == pytest.approx(5, abs=0.5)
