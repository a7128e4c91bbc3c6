"""The service on a Ray cluster of two real nodes, started as somebody starts it there."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from benchmarks.ray_cluster import ROOT, RayCluster, environment
from sentiment_service import Sentiment
from tests.checkpoints import add_checkpoint
from tests.redis_server import free_port
from tests.reviews import written_reviews

pytestmark = pytest.mark.extra

CONNECTIONS, REQUESTS = 32, 40
DEADLINE = 30.0
"""Seconds that a request has by the settings."""
POOLS = "--proxies head-only --engines 2 --fronts 2 --front-cpus 0.3"
FIRST, SECOND = f"{POOLS} --engine-cpus 1.5", f"{POOLS} --engine-cpus 0.15"
"""Of two cores on each node: so each has one front, one engine of the first model, and then one of the second."""


class Answered(NamedTuple):
    """What became of one request."""

    text: str
    status: int
    body: dict[str, object]
    seconds: float


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store to which a second version is added."""
    root = tmp_path_factory.mktemp("store")
    add_checkpoint(root)
    return root


@pytest.fixture(scope="module")
def url(cluster: RayCluster, store: Path) -> Iterator[str]:
    """Address of the service on both nodes, without a cache, so that each text is computed by an engine."""
    port = free_port()
    assert "tiny/1 is served" in ray_serve(cluster, store, port, FIRST)
    yield f"http://127.0.0.1:{port}"
    run(cluster, "-c", "import os, ray; from ray import serve; ray.init(os.environ['CLUSTER']); serve.shutdown()")


def ray_serve(cluster: RayCluster, store: Path, port: int, pools: str) -> str:
    """Run the command; what it says."""
    settings = {"MODEL_STORE": str(store), "MODEL": "tiny", "PORT": str(port), "CACHE": "off"}
    named = {f"SENTIMENT_{name}": value for name, value in settings.items()}
    return run(cluster, "-m", "app", "ray-serve", "--address", cluster.address, *pools.split(), **named)


def run(cluster: RayCluster, *arguments: str, **variables: str) -> str:
    """What a Python program says on standard error."""
    ended = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**environment(), "CLUSTER": cluster.address, **variables},
        capture_output=True,
        text=True,
        timeout=700,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stderr


async def load(url: str, texts: list[str], change: asyncio.Event, change_after: int) -> list[Answered]:
    """Ask for each text once over all connections; the event is set when so many are answered."""
    answered: list[Answered] = []

    async def ask(client: httpx.AsyncClient, part: list[str]) -> None:
        for text in part:
            started = time.monotonic()
            answer = await client.post("/classify", json={"text": text})
            answered.append(Answered(text, answer.status_code, answer.json(), time.monotonic() - started))
            if len(answered) == change_after:
                change.set()

    limits = httpx.Limits(max_connections=CONNECTIONS)
    async with httpx.AsyncClient(base_url=url, timeout=2 * DEADLINE, limits=limits) as client:
        await asyncio.gather(*(ask(client, texts[first::CONNECTIONS]) for first in range(CONNECTIONS)))
    return answered


def hold(answered: list[Answered], store: Path) -> None:
    """Each is right or a 503 in its time, and 99 of 100 are right."""
    with Sentiment(model="tiny", model_store=store) as sentiment:
        texts = [each.text for each in answered]
        known = dict(zip(texts, sentiment.classify(texts), strict=True))
    right = 0
    for text, status, body, seconds in answered:
        if status == 503:
            assert body["code"] in ("engine_unavailable", "overloaded"), body
            assert seconds < DEADLINE
        else:
            assert status == 200, body
            expected = known[text]
            assert expected.error is None
            assert body["scores"] == pytest.approx(expected.scores, abs=0.01)
            right += 1
    print(f"{right} of {len(answered)} right, slowest {max(each.seconds for each in answered):.1f} s")
    assert right >= 0.99 * len(answered)


def test_answers_are_those_of_the_service(url: str) -> None:
    """Results, errors and headers, each once, as `serve` gives them."""
    answer = httpx.post(f"{url}/classify", json={"texts": ["good film", ""]})
    good, blank = answer.json()["results"]
    assert good["label"] in good["scores"]
    assert blank["error"]["code"] == "blank_text"
    assert len(answer.headers.get_list("x-request-id")) == 1
    refused = httpx.post(f"{url}/classify", json={"text": 1})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")
    assert httpx.get(f"{url}/health/ready").status_code == 200
    assert (answer.json()["model"], answer.json()["version"]) == ("tiny", 1)


async def test_a_new_model_comes_without_a_gap(cluster: RayCluster, store: Path, url: str) -> None:
    """The command again, when there is a new version: every request meanwhile is answered right by the one or the
    other, and those that come when it is done by the new one."""
    add_checkpoint(store, seed=1)
    port = int(url.rpartition(":")[2])
    updating = asyncio.create_task(asyncio.to_thread(ray_serve, cluster, store, port, SECOND))
    versions = set()
    async with httpx.AsyncClient(base_url=url, timeout=DEADLINE) as client:
        while not updating.done():
            answer = await client.post("/classify", json={"text": "good film"})
            assert answer.status_code == 200, answer.text
            versions.add(answer.json()["version"])
        assert "tiny/2 is served" in await updating
        assert versions <= {1, 2}
        for _ in range(20):
            assert (await client.post("/classify", json={"text": "good film"})).json()["version"] == 2


async def test_a_node_that_dies_costs_few_answers(cluster: RayCluster, store: Path, url: str) -> None:
    """Every request is answered right, or 503 within its deadline."""
    killed = asyncio.Event()
    texts = written_reviews(CONNECTIONS * REQUESTS)

    async def kill() -> None:
        await killed.wait()
        cluster.kill_second()

    answered, _ = await asyncio.gather(load(url, texts, killed, len(texts) // 3), kill())
    cluster.add_second()
    assert len(answered) == len(texts)
    hold(answered, store)
