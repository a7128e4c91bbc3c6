"""The rate limit of a whole service with four HTTP workers: what is promised of a key, whoever of them is asked."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from app.keys import CLASSIFY, new_key
from tests.redis_server import RedisServer
from tests.service import Service, serving
from tests.waiting import wait_until

pytestmark = pytest.mark.extra

WORKERS, LIMIT, ASKED = 4, 40, 60
KEYS = {name: new_key(name, [CLASSIFY]) for name in ("one", "new", "each", "crowd")}


@pytest.fixture(scope="module", params=["memory", "redis"])
def service(
    request: pytest.FixtureRequest, tiny_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """Four workers, with Redis and without. Nobody is taken for hung here."""
    folder = tmp_path_factory.mktemp("rates")
    keys = folder / "keys"
    keys.write_text("".join(f"{kept.line}\n" for _, kept in KEYS.values()))
    settings = {"workers": str(WORKERS), "api_keys": str(keys), "rate_limit": f"{LIMIT}/day", "engine_timeout": "120"}
    with ExitStack() as stack:
        if request.param == "redis":
            redis = RedisServer(folder)
            stack.callback(redis.stop)
            redis.start()
            # Longer than a busy machine keeps a connection waiting: a limit that Redis fails is counted without it.
            settings |= {"redis_url": redis.url, "redis_timeout": "10"}
        running = stack.enter_context(serving(tiny_store, **settings))
        wait_until(lambda: len(running.children("worker")) == WORKERS, "not all workers")
        yield running


def ask(client: httpx.Client, name: str) -> int:
    """The status of one text, asked with a key."""
    key, _ = KEYS[name]
    return client.post("/classify", json={"text": "good film"}, headers={"X-API-Key": key}).status_code


def test_on_one_connection(service: Service) -> None:
    """All of the limit, although one worker alone is asked."""
    with httpx.Client(base_url=service.url) as client:
        assert [ask(client, "one") for _ in range(ASKED)] == [200] * LIMIT + [429] * (ASKED - LIMIT)


def test_on_new_connections(service: Service) -> None:
    """One after the other: neither more nor less."""
    statuses = []
    for _ in range(ASKED):
        with httpx.Client(base_url=service.url) as client:
            statuses.append(ask(client, "new"))
    assert statuses == [200] * LIMIT + [429] * (ASKED - LIMIT)


def test_by_every_worker(service: Service) -> None:
    """A connection to each, certainly, as the others stand still while it is made; then by turns."""
    workers = service.children("worker")
    with ExitStack() as stack:
        clients = []
        for asked in workers:
            others = [worker for worker in workers if worker != asked]
            client = stack.enter_context(httpx.Client(base_url=service.url))
            try:
                for worker in others:
                    os.kill(worker, signal.SIGSTOP)
                assert client.get("/health/live").status_code == 200
            finally:
                for worker in others:
                    os.kill(worker, signal.SIGCONT)
            clients.append(client)
        statuses = [ask(clients[number % WORKERS], "each") for number in range(ASKED)]
        assert statuses == [200] * LIMIT + [429] * (ASKED - LIMIT)
        assert service.children("worker") == workers


def test_by_many_at_once(service: Service) -> None:
    """Never more; and less by those at most that meet at the very end, where each can make way for the other."""

    def client_asks(_: int) -> list[int]:
        with httpx.Client(base_url=service.url) as client:
            return [ask(client, "crowd") for _ in range(ASKED // 6)]

    with ThreadPoolExecutor(12) as pool:
        counts = Counter(status for statuses in pool.map(client_asks, range(12)) for status in statuses)
    assert counts.keys() == {200, 429}
    assert LIMIT - 12 <= counts[200] <= LIMIT
