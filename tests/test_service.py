"""The whole service in its real processes: answers, batching, caching, restarts, drain, metrics."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from app.checksums import write_sums
from tests.chaos.parts import paused
from tests.checkpoints import WORDS, add_checkpoint
from tests.load import Load
from tests.monitoring.stack import program
from tests.redis_server import RedisServer, free_port
from tests.service import Service, serving
from tests.waiting import LIMIT, wait_until


@pytest.fixture(scope="module")
def service(tiny_store: Path) -> Iterator[Service]:
    """Two workers, one engine, exact arithmetic, no cache."""
    with serving(tiny_store, cache="off", workers="2", precision="float32") as running:
        yield running


@pytest.fixture(scope="module")
def caching(tiny_store: Path) -> Iterator[Service]:
    """One worker with a cache and room for few connections."""
    with serving(tiny_store, workers="1", max_connections="50") as running:
        yield running


def reviews(count: int, seed: int = 0) -> list[str]:
    """Different texts of one to sixty words, written by chance from the tiny vocabulary and words beyond it."""
    chance = random.Random(seed)
    words = [*WORDS, "zebra", "Quantum", "naïve"]
    return [f"{' '.join(chance.choices(words, k=chance.randint(1, 60)))} film" for _ in range(count)]


def scores(results: list[dict[str, object]]) -> list[float]:
    return [result["scores"]["positive"] for result in results]  # type: ignore[index]


def test_one_text(service: Service) -> None:
    """A text gets one object with label, score, scores, tokens, model and version, and a request id."""
    answer = httpx.post(f"{service.url}/classify", json={"text": "A very good film!"})
    assert answer.status_code == 200
    document = answer.json()
    assert document.keys() == {
        "label", "score", "scores", "tokens", "truncated", "cached", "unknown", "judgement", "model", "version"
    }  # fmt: skip
    assert document["scores"][document["label"]] == document["score"] >= 0.5
    assert sum(document["scores"].values()) == pytest.approx(1)
    assert (document["tokens"], document["model"], document["version"]) == (5, "tiny", 1)
    assert answer.headers["x-request-id"]


def test_it_says_when_it_serves(service: Service) -> None:
    """With the address, and a command to try; before that only that it starts."""
    deadline = time.monotonic() + 30
    while f"Serving tiny/1 on {service.url}\nTry:\ncurl " not in service.output.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert service.output.read_text().startswith(f"Starting tiny/1 on {service.url}\n")


def test_scores_do_not_depend_on_company(service: Service) -> None:
    """200 texts one by one, in one request and in 200 concurrent requests get the same scores, all computed."""
    texts = reviews(200)
    before = service.metrics()
    with httpx.Client(base_url=service.url, timeout=60) as client:
        single = scores([client.post("/classify", json={"text": text}).json() for text in texts])
        batch = scores(client.post("/classify", json={"texts": texts}).json()["results"])

    async def concurrently() -> list[float]:
        limits = httpx.Limits(max_connections=100)
        async with httpx.AsyncClient(base_url=service.url, timeout=60, limits=limits) as client:
            answers = await asyncio.gather(*(client.post("/classify", json={"text": text}) for text in texts))
        return scores([answer.json() for answer in answers])

    concurrent = asyncio.run(concurrently())
    assert batch == pytest.approx(single, abs=1e-5)
    assert concurrent == pytest.approx(single, abs=1e-5)
    after = service.metrics()
    computed = 'sentiment_computed_texts_total{engine="0"}'
    assert after[computed] - before.get(computed, 0) == 600
    assert not [name for name, value in after.items() if "cache_lookups" in name and "hit" in name and value]
    batches = after["sentiment_batch_size_count"] - before.get("sentiment_batch_size_count", 0)
    assert batches < 600, "batches larger than one were formed"
    # The native runtime reads texts as long as they are.
    [served] = httpx.get(f"{service.url}/models").json()["models"]
    assert (after["sentiment_padding_ratio_sum"] > 0) == (served["runtime"] == "torch")


def test_workers_and_supervisor_never_import_torch(service: Service) -> None:
    """Only the engine maps torch into its memory."""
    pids = [service.process.pid, *service.children("worker")]
    assert len(pids) == 3
    for pid in pids:
        assert "libtorch" not in Path(f"/proc/{pid}/maps").read_text()


def test_models_names_what_is_served(service: Service) -> None:
    """The store's versions are listed, and the served one says what computes."""
    [entry] = httpx.get(f"{service.url}/models").json()["models"]
    assert (entry["model"], entry["version"], entry["served"], entry["precision"]) == ("tiny", 1, True, "float32")
    assert entry["runtime"] in ("torch", "native")


def test_every_process_shows_itself(service: Service) -> None:
    """The engine says that it is ready, and all say that they live and what they use."""
    seen = [
        f'sentiment_process_seen_timestamp_seconds{{process="{name}"}}' for name in ("engine-0", "worker-0", "worker-1")
    ]
    deadline = time.monotonic() + LIMIT
    while True:
        found = service.metrics()
        if all(
            found.get(f"sentiment_process_resident_bytes{{{role}}}")
            for role in ('engine="0",role="engine"', 'role="worker"')
        ):
            break
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    assert found['sentiment_engine_ready{engine="0"}'] == 1
    assert all(abs(found[name] - time.time()) < 60 for name in seen)
    assert found['sentiment_process_cpu_seconds_total{engine="0",role="engine"}'] > 0.01
    assert found['sentiment_queue_wait_limit_seconds{engine="0"}'] == 10


def test_what_is_not_ready_says_so(caching: Service) -> None:
    """While the engine is away ``sentiment_engine_ready`` is 0, whatever its predecessor left behind."""
    [engine], says = caching.children("engine"), 'sentiment_engine_ready{engine="0"}'
    assert caching.metrics()[says] == 1
    # As long as the supervisor is stopped, nobody starts another one.
    with paused(caching.process.pid):
        os.kill(engine, signal.SIGKILL)
        wait_until(lambda: caching.metrics()[says] == 0)
    wait_until(lambda: caching.metrics()[says] == 1)
    assert caching.metrics()['sentiment_process_restarts_total{engine="0",role="engine"}'] == 1


def test_repeated_texts_are_answered_from_memory(caching: Service) -> None:
    """With the cache on the second answer says so, and the metrics count it."""
    hits = 'sentiment_cache_lookups_total{result="hit",tier="memory"}'
    before = caching.metrics()[hits]
    answers = [httpx.post(f"{caching.url}/classify", json={"text": "good film"}).json() for _ in range(2)]
    assert [answer["cached"] for answer in answers] == [False, True]
    assert answers[0]["scores"] == answers[1]["scores"]
    assert caching.metrics()[hits] == before + 1


def test_redis_failing_under_load_fails_no_request(tiny_store: Path, tmp_path: Path) -> None:
    """Results are shared through Redis; it dies and comes back under load, and every request is answered 200."""
    redis = RedisServer(tmp_path)
    redis.start()
    texts = reviews(300)
    try:
        # A busy machine may take longer than the default.
        settings = {"redis_url": redis.url, "redis_timeout": "10", "cache_size": "1"}
        with serving(tiny_store, **settings) as service, httpx.Client() as client:

            def one_pass() -> list[bool]:
                answers = [client.post(f"{service.url}/classify", json={"text": text}) for text in texts]
                assert {answer.status_code for answer in answers} == {200}
                return [answer.json()["cached"] for answer in answers]

            one_pass()
            assert sum(one_pass()) > 290
            death = threading.Timer(0.1, redis.stop)
            death.start()
            one_pass()
            death.join()
            assert not any(one_pass())
            redis.start()
            wait_until(lambda: sum(one_pass()) > 290, "never hit again")
    finally:
        redis.stop()


def test_what_clients_and_the_system_do_is_counted(caching: Service) -> None:
    """Connections as they come and go, open files, and requests under the model's name from the first."""
    failed = 'sentiment_requests_total{method="POST",model="tiny",route="/classify",status="503",version="1"}'
    found = caching.metrics()
    assert found[failed] == 0
    assert found["sentiment_workers"] == 1
    assert found["sentiment_connections_limit"] == 50
    # The scrape is a connection too; one that has ended is counted until the service has noticed.
    wait_until(lambda: caching.metrics()["sentiment_connections"] == 1)
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(httpx.Client()).get(f"{caching.url}/health/live")
        wait_until(lambda: caching.metrics()["sentiment_connections"] == 1 + 5)
    wait_until(lambda: caching.metrics()["sentiment_connections"] == 1)
    sampled = {'sentiment_process_open_fds{role="engine"}', 'sentiment_process_max_fds{role="worker"}'}
    wait_until(lambda: sampled <= caching.metrics().keys())


@pytest.mark.extra
def test_a_cluster_stops_the_start(tiny_store: Path, tmp_path: Path) -> None:
    """With the setting and what to do instead, not with a cache that never hits."""
    program("redis-server")
    redis = RedisServer(tmp_path, "--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    redis.start()
    try:
        expected = pytest.raises(AssertionError, match="SENTIMENT_REDIS_URL: this server is a cluster")
        with expected, serving(tiny_store, workers="1", redis_url=redis.url):
            pass
    finally:
        redis.stop()


def test_a_killed_engine_comes_back_and_nothing_is_lost(tiny_store: Path) -> None:
    """Under load the engine is killed; every request is answered 200, and readiness returns."""
    with serving(tiny_store, cache="off", workers="1") as service:
        statuses: list[int] = []
        stop = threading.Event()

        def load() -> None:
            with httpx.Client(timeout=60) as client:
                while not stop.is_set():
                    statuses.append(client.post(f"{service.url}/classify", json={"text": "a good film"}).status_code)

        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            wait_until(lambda: len(statuses) > 100, "no load")
            [engine] = service.children("engine")
            os.kill(engine, signal.SIGKILL)
            readiness = f"{service.url}/health/ready"
            wait_until(lambda: httpx.get(readiness).status_code == 503, "readiness never said 503")
            service.wait_ready()
            before = len(statuses)
            wait_until(lambda: len(statuses) > before + 100, "no load any more")
        finally:
            stop.set()
            for thread in threads:
                thread.join(60)
        assert service.children("engine") != [engine]
        assert set(statuses) == {200}


def test_a_killed_worker_is_replaced(tiny_store: Path) -> None:
    """The other worker goes on, and a new one takes the place."""
    with serving(tiny_store, workers="2") as service:
        victim = service.children("worker")[0]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: len({*service.children("worker")} - {victim}) == 2, "never replaced")
        service.wait_ready()
        assert httpx.post(f"{service.url}/classify", json={"text": "good"}).status_code == 200


@pytest.mark.parametrize("kept", [True, False], ids=["kept connections", "a connection per request"])
def test_sigterm_answers_everything_that_could_be_sent(tiny_store: Path, kept: bool) -> None:
    """Whoever gets a connection gets a 200, then connections are refused; none is reset. The exit status is 0."""
    with serving(tiny_store, cache="off", workers="2") as service:
        load = Load(service.url, clients=16, kept=kept)
        load.start()
        wait_until(lambda: load.outcomes.total() > 200, "no load")
        assert service.stop() == 0
        load.join()
        assert set(load.outcomes) == {"200"}


def test_the_grace_time_is_for_load_balancers(tiny_store: Path) -> None:
    """After SIGTERM readiness says 503 at once, requests are answered and told to connect anew, and a second signal
    ends the wait."""
    with serving(tiny_store, workers="1", shutdown_grace="60") as service, httpx.Client(base_url=service.url) as client:
        assert "connection" not in client.post("/classify", json={"text": "good"}).headers
        service.process.send_signal(signal.SIGTERM)
        wait_until(lambda: client.get("/health/ready").status_code == 503, "readiness never said 503")
        time.sleep(0.5)
        for document in ({"text": "a very good film"}, {"texts": ["dull", "slow"]}):
            answer = client.post("/classify", json=document)
            assert answer.status_code == 200
            assert answer.headers["connection"] == "close"
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(30) == 1


def test_a_hung_worker_is_killed_and_replaced(tiny_store: Path) -> None:
    """A worker that gives no sign of life does not keep its connections for ever."""
    with serving(tiny_store, workers="2", engine_timeout="2") as service:
        # The other worker alone makes the service ready, and one that never gave a sign of life gets far more time.
        message = '"message": "serving tiny/1'
        wait_until(lambda: service.output.read_text().count(message) == 2, "never both serving")
        victim = service.children("worker")[0]
        os.kill(victim, signal.SIGSTOP)
        wait_until(lambda: len({*service.children("worker")} - {victim}) == 2, "never replaced")


def test_children_end_with_a_killed_supervisor(tiny_store: Path) -> None:
    """When the supervisor is gone, however it ended, engine and workers end too."""
    with serving(tiny_store, workers="1") as service:
        pids = [*service.children("engine"), *service.children("worker")]
        service.process.kill()
        service.process.wait(10)
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "they outlive their supervisor")


def test_a_damaged_checkpoint_stops_the_start(tmp_path: Path) -> None:
    """The message names the file, the exit status is 1, and nothing listens."""
    model = add_checkpoint(tmp_path)
    weights = model.path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00")
    command = [sys.executable, "-m", "app", "serve", "--model-store", str(tmp_path), "--model", "tiny", "--port", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "model.safetensors" in ended.stderr
    assert "Serving" not in ended.stdout


def test_a_checkpoint_of_another_shape_stops_the_start(tmp_path: Path) -> None:
    """Sums that hold and shapes that do not: the message names the file, and nobody tries again and again."""
    model = add_checkpoint(tmp_path)
    config = model.path / "config.json"
    config.write_text(config.read_text().replace('"hidden_size": 6', '"hidden_size": 7'))
    (model.path / "SHA256SUMS").unlink()
    write_sums(model.path)
    command = [sys.executable, "-m", "app", "serve", "--model-store", str(tmp_path), "--model", "tiny", "--port", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1
    assert ended.stderr.count("cannot serve") == 1
    assert ended.stdout.startswith("Starting tiny/1 on http://")
    assert "Serving" not in ended.stdout
    assert "model.safetensors" in ended.stderr


def test_a_damaged_tokenizer_stops_the_start(tmp_path: Path) -> None:
    """HTTP workers read it: one line that names the file, no traceback, and nobody tries again."""
    model = add_checkpoint(tmp_path)
    (model.path / "tokenizer.json").write_text("[" * 200_000)
    (model.path / "SHA256SUMS").unlink()
    write_sums(model.path)
    command = [sys.executable, "-m", "app", "serve", "--model-store", str(tmp_path), "--model", "tiny", "--port", "0"]
    environment = {**os.environ, "SENTIMENT_WORKERS": "1", "SENTIMENT_SHUTDOWN_GRACE": "0"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1
    assert ended.stderr.count("cannot serve") == 1
    assert "tokenizer.json" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_malformed_setting_stops_the_start(tiny_store: Path) -> None:
    """The message names the variable; an unknown one only warns."""
    command = [sys.executable, "-m", "app", "serve"]
    environment = {**os.environ, "SENTIMENT_PORT": "tcp://10.0.0.1:80", "SENTIMENT_SERVICE_HOST": "10.0.0.1"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert "SENTIMENT_PORT" in ended.stderr
    assert "SENTIMENT_SERVICE_HOST: unknown setting" in ended.stderr
