"""Faults in a seeded random order under load: every request gets the right answer or an honest refusal."""

from __future__ import annotations

import os
import random
import shutil
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from tests.redis_server import RedisServer
from tests.service import Service, serving
from tests.test_service import reviews

SECONDS = 25.0
CLIENTS = 6
REFUSALS = {429, 503, 504}

pytestmark = pytest.mark.extra


class Load:
    """Clients that ask for known texts and account for every request."""

    def __init__(self, url: str, known: dict[str, float]) -> None:
        self.outcomes: Counter[str] = Counter()
        self._url = url
        self._known = list(known.items())
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask, args=(seed,)) for seed in range(CLIENTS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a request without an answer"

    def _ask(self, seed: int) -> None:
        chance = random.Random(seed)
        client = httpx.Client(timeout=45)
        while not self._stop.is_set():
            text, expected = chance.choice(self._known)
            try:
                answer = client.post(f"{self._url}/classify", json={"text": text})
            except httpx.TransportError:
                # Only a killed worker may do this, to the connections it held.
                client.close()
                client = httpx.Client(timeout=45)
                outcome = "connection closed"
            else:
                outcome = self._judge(answer, expected)
            with self._lock:
                self.outcomes[outcome] += 1
        client.close()

    @staticmethod
    def _judge(answer: httpx.Response, expected: float) -> str:
        if answer.status_code in REFUSALS:
            return "refused"
        if answer.status_code != 200:
            return f"status {answer.status_code}"
        return "right" if abs(answer.json()["scores"]["positive"] - expected) < 1e-5 else "wrong"


def pause(pid: int, seconds: float) -> None:
    os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(pid, signal.SIGCONT)


def wreak_havoc(service: Service, redis: RedisServer, chance: random.Random) -> Counter[str]:
    """Faults until the time is up; each is followed by a pause in which the service may recover."""

    def restart_redis() -> None:
        redis.stop()
        time.sleep(chance.uniform(0.2, 1))
        redis.start()

    faults = {
        "kill engine": lambda: os.kill(chance.choice(service.children("engine")), signal.SIGKILL),
        "kill worker": lambda: os.kill(chance.choice(service.children("worker")), signal.SIGKILL),
        "pause engine": lambda: pause(chance.choice(service.children("engine")), 0.5),
        "pause redis": lambda: pause(redis.pid, 1.0),
        "restart redis": restart_redis,
    }
    # Each fault at least once; kills no more often than the supervisor puts up with in a minute.
    order = [*faults, "pause redis", "restart redis", "pause engine"]
    chance.shuffle(order)
    done: Counter[str] = Counter()
    deadline = time.monotonic() + SECONDS
    for fault in order:
        faults[fault]()
        done[fault] += 1
        time.sleep(max(0.0, min(SECONDS / len(order), deadline - time.monotonic())))
    return done


@pytest.mark.parametrize("seed", [1])
def test_every_request_is_accounted_for(tiny_store: Path, tmp_path: Path, seed: int) -> None:
    """Parts are killed, paused and restarted: no wrong answer, no 500, no request without an end, and a recovery."""
    assert shutil.which("redis-server"), "needs the system's redis-server"
    redis = RedisServer(tmp_path)
    redis.start()
    texts = reviews(200, seed)
    try:
        with serving(tiny_store, redis_url=redis.url, workers="2", cache_size="20", precision="float32") as service:
            answers = httpx.post(f"{service.url}/classify", json={"texts": texts}, timeout=60).json()["results"]
            load = Load(service.url, {t: a["scores"]["positive"] for t, a in zip(texts, answers, strict=True)})
            load.start()
            faults = wreak_havoc(service, redis, random.Random(seed))
            load.finish()
            service.wait_ready()
    finally:
        redis.stop()
    assert len(faults) == 5
    assert load.outcomes["right"] > 500
    assert set(load.outcomes) <= {"right", "refused", "connection closed"}, load.outcomes
    assert load.outcomes["connection closed"] <= CLIENTS * faults["kill worker"], load.outcomes
