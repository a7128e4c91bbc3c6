"""The chaos suite in short: faults under load, and every request gets the right answer or an honest refusal.

``make chaos`` runs the same at full length, and holds it to times too; those of a shared machine say little.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from app.keys import ADMIN, CLASSIFY, new_key
from tests.chaos import rollout as roll_outs
from tests.chaos import scenarios
from tests.chaos.parts import allocated_blocks, answers, chaotic, reviews
from tests.chaos.program import BLOCKS_VARIABLE, CRASH_VARIABLE
from tests.chaos.soak import KINDS, Slope, Soak, none_kept, slope
from tests.checkpoints import add_checkpoint
from tests.redis_server import RedisServer
from tests.service import Service

pytestmark = pytest.mark.extra

REQUESTS = 1000
"""Of a kind, so many that one block of memory for each would stand out."""
CLIENTS, ROUNDS = 8, 8


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


@pytest.fixture(scope="module")
def two_versions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, roll_outs.Expected]:
    """A store with two versions, and what they answer."""
    root = tmp_path_factory.mktemp("store")
    for seed in (0, 1):
        add_checkpoint(root, seed=seed)
    texts = reviews(100)
    return root, {number: answers(root, f"tiny/{number}", texts) for number in (1, 2)}


def test_a_canary_that_crashes_is_taken_back(two_versions: tuple[Path, roll_outs.Expected], tmp_path: Path) -> None:
    """By the guard, and nobody notices."""
    store, expected = two_versions
    key, kept = new_key("operator", (ADMIN, CLASSIFY))
    (tmp_path / "keys").write_text(kept.line + "\n")
    fatal = ["a a a film"] + [f"{word} {word} {word} film" for word in ("the", "was", "good", "bad", "great", "story")]
    expected = {number: {**known, **answers(store, f"tiny/{number}", fatal)} for number, known in expected.items()}
    faults = {CRASH_VARIABLE: "tiny/2"}
    with chaotic(store, "tiny/1", None, faults, api_keys=str(tmp_path / "keys"), cache="off") as service:
        work = roll_outs.bad_canary(service, "tiny", expected, key, rate=50, seconds=1, texts=[*expected[1]])
        figures = asyncio.run(work)
    assert "failed to answer" in figures["why"]


def test_a_killed_worker(tiny_store: Path, known: Mapping[str, float]) -> None:
    """Only its own connections break."""
    with chaotic(tiny_store, "tiny", cache="off") as service:
        asyncio.run(scenarios.kill(service, known, "worker", times=2, rate=50, pause=3))


def test_redis_faults(tiny_store: Path, known: Mapping[str, float], redis: RedisServer) -> None:
    """Killed, paused and restarted: every request is answered right."""
    asyncio.run(scenarios.redis_faults(tiny_store, "tiny", known, redis, rate=40, seconds=2.5))


def test_texts_of_clients_that_left(tiny_store: Path, known: Mapping[str, float]) -> None:
    """A paused engine, 100 texts, 50 clients gone: 50 right answers, and exactly 50 texts computed."""
    with chaotic(tiny_store, "tiny", timeout="120", engine_timeout="120") as service:
        asyncio.run(scenarios.abandoned(service, known, texts=100))


def test_sigterm(tiny_store: Path, known: Mapping[str, float]) -> None:
    """What was sent before it and in the grace time is answered; readiness says 503; the exit status is 0."""
    with chaotic(tiny_store, "tiny", shutdown_grace="5") as service:
        asyncio.run(scenarios.terminate(service, known, rate=50, grace=5.0))


@pytest.mark.parametrize("seed", [1])
def test_havoc(tiny_store: Path, known: Mapping[str, float], redis: RedisServer, seed: int) -> None:
    """Faults of every kind in a seeded random order: no wrong answer, no 500, no request without an end."""
    with chaotic(tiny_store, "tiny", redis_url=redis.url, cache_size="50") as service:
        figures = asyncio.run(scenarios.havoc(service, known, redis, seed=seed, rate=50, seconds=25))
    assert figures["outcomes"]["right"] > 500


def _course(per_hour: float, scatter: float = 1.0) -> list[tuple[float, float]]:
    """Samples of an hour of something of 100 that grows so, and scatters."""
    return [(float(at), 100 + at / 3600 * per_hour + scatter * (at * 7919 % 13) / 13) for at in range(0, 3600, 10)]


@pytest.mark.parametrize(
    ("per_hour", "scatter", "flat"),
    [(0.0, 1.0, True), (0.0, 20.0, True), (-5.0, 1.0, True), (0.5, 0.1, True), (1.5, 0.1, False), (5.0, 1.0, False)],
    ids=["scatters", "bounces", "falls", "drifts by less than the bound", "by more", "grows"],
)
def test_growth_is_told_from_noise(per_hour: float, scatter: float, flat: bool) -> None:
    """The slope of the soak: flat where there may be no growth, or certainly less than a hundredth an hour."""
    found = slope(_course(per_hour, scatter))
    assert found.low <= found.per_hour <= found.high
    assert found.per_hour == pytest.approx(per_hour, abs=0.1 + scatter / 10)
    assert found.flat is flat


def test_growth_that_may_pass_the_bound_is_not_flat() -> None:
    """The whole interval counts where it does not hold zero, not the estimate alone."""
    assert Slope(median=100, per_hour=0.5, low=0.1, high=0.9).flat
    assert not Slope(median=100, per_hour=0.5, low=0.1, high=1.1).flat
    assert Slope(median=100, per_hour=0.5, low=-0.1, high=1.1).flat


def test_kept_descriptors_are_told_from_bouncing_ones() -> None:
    """Without clients: what rises to where it never was is kept."""
    assert none_kept([70, 72, 70, 71])
    assert none_kept([70, 60, 50, 40])
    assert not none_kept([70, 71, 72, 73])
    assert none_kept([98, 99, 99, 100], links=4)
    assert not none_kept([98, 99, 99, 104], links=4)


def test_no_kind_of_request_keeps_memory(
    tiny_store: Path, known: Mapping[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After many requests of a kind, as many again leave no objects, though garbage in cycles is not looked for.

    The first ones do: threads start, caches fill. So rounds are repeated until one leaves nothing; with a leak none
    does.
    """
    monkeypatch.setenv(BLOCKS_VARIABLE, str(tmp_path))

    async def grown(service: Service, kind: str) -> list[int]:
        soak, [worker] = Soak(service, known, rate=0), service.children("worker")

        async def ask() -> None:
            for _ in range(REQUESTS // CLIENTS):
                await soak.ask(kind)

        async def blocks_after_a_round() -> int:
            await asyncio.gather(*(ask() for _ in range(CLIENTS)))
            await soak.leave()
            return await allocated_blocks(worker, tmp_path)

        growth: list[int] = []
        before = await blocks_after_a_round()
        while len(growth) < ROUNDS and not (growth and growth[-1] < REQUESTS / 4):
            after = await blocks_after_a_round()
            growth.append(after - before)
            before = after
        return growth

    with chaotic(tiny_store, "tiny", 1e6, workers="1", cache="off") as service:
        growth = {kind: asyncio.run(grown(service, kind)) for kind in KINDS}
    assert all(of_kind[-1] < REQUESTS / 4 for of_kind in growth.values()), growth


def test_a_soak(tiny_store: Path, known: Mapping[str, float], redis: RedisServer) -> None:
    """In short: every kind of client gets what it should, and nobody leaves a descriptor behind."""
    with chaotic(tiny_store, "tiny", redis_url=redis.url, cache_size="50") as service:
        soak = Soak(service, known, rate=50)
        asyncio.run(soak.run(20))
        assert soak.none_kept()
    assert set(soak.outcomes) <= scenarios.HONEST | {"left", "other", "refused as bad"}
    assert soak.outcomes["right"] > 500
    assert len(soak.idle_descriptors) == 4
