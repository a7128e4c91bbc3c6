"""What compose starts, as an operator meets it: together, under load, killed and stopped.

Grafana and the Redis exporter are left out: their images are looked at by nobody but the operator.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.containers.engine import docker, inspect, wait_healthy
from tests.load import Load
from tests.redis_server import free_port
from tests.waiting import wait_until

pytestmark = [pytest.mark.extra, pytest.mark.containers]

PROJECT = "sentiment-test"
SERVICES = ("app", "redis", "prometheus")
REVIEW = {"text": "A wonderful little film, I loved every minute."}


class Stack:
    """A running compose project.

    Attributes:
        url: the service's published port.
        app: the service's container.
        seconds: how long it took until everything was healthy.
    """

    def __init__(self, image: str) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._environment = {"APP_IMAGE": image, "APP_PORT": f"127.0.0.1:{port}"}
        self.seconds = 0.0
        self.app = ""

    def compose(self, *arguments: str) -> str:
        return docker("compose", "--project-name", PROJECT, *arguments, limit=120, **self._environment)

    def up(self) -> None:
        started = time.monotonic()
        self.compose("up", "--wait", "--no-build", *SERVICES)
        self.seconds = time.monotonic() - started
        self.app = self.compose("ps", "--quiet", "app")

    def query(self, expression: str) -> list[Any]:
        """Values of a PromQL expression."""
        query = ["promtool", "query", "instant", "--format", "json", "http://127.0.0.1:9090", expression]
        answer = json.loads(self.compose("exec", "--no-TTY", "prometheus", *query))
        return [float(sample["value"][1]) for sample in answer]


@pytest.fixture(scope="module")
def stack(image: str) -> Iterator[Stack]:
    """Service, Redis and Prometheus."""
    running = Stack(image)
    running.compose("down", "--volumes")
    try:
        running.up()
        yield running
    finally:
        running.compose("down", "--volumes")


def configuration(*files: str) -> dict[str, Any]:
    """What compose understands of the files, without anybody's settings."""
    names = [part for file in files for part in ("--file", file)]
    text = docker("compose", *names, "config", "--format", "json")
    services: dict[str, Any] = json.loads(text)["services"]
    return services


def test_it_becomes_healthy(stack: Stack) -> None:
    """From nothing, once built; what it took is printed."""
    print(f"healthy after {stack.seconds:.1f} s")
    assert inspect(stack.app, "{{json .State.Health.Status}}") == "healthy"


def test_it_classifies_through_the_published_port(stack: Stack) -> None:
    """By the pinned version; Redis, which forgets what is least used, has the result."""
    answer = httpx.post(f"{stack.url}/classify", json=REVIEW, timeout=30).json()
    pinned = configuration("docker-compose.yml")["app"]["environment"]["SENTIMENT_MODEL"]
    assert (answer["label"], f"{answer['model']}/{answer['version']}") == ("positive", pinned)
    assert stack.compose("exec", "--no-TTY", "redis", "redis-cli", "config", "get", "maxmemory-policy").endswith("lru")
    wait_until(lambda: stack.compose("exec", "--no-TTY", "redis", "redis-cli", "dbsize") != "0", "nothing was cached")


def test_files_are_scored_from_a_volume(stack: Stack) -> None:
    """The service may write to it; a file in /tmp would be in memory."""
    app = configuration("docker-compose.yml")["app"]
    assert app["environment"]["SENTIMENT_FILE_FOLDER"] in [volume["target"] for volume in app["volumes"]]
    answer = httpx.post(f"{stack.url}/files?format=csv&output=csv", content=b"text\nA lovely film.\n", timeout=30)
    assert answer.status_code == 200
    assert answer.text.splitlines()[1].startswith("A lovely film.,positive")


def test_prometheus_has_the_series(stack: Stack) -> None:
    """It scrapes the service under the name that rules and dashboards use."""
    httpx.post(f"{stack.url}/classify", json=REVIEW, timeout=30).raise_for_status()
    deadline = time.monotonic() + 30
    while not (found := stack.query("sum(sentiment_texts_total) > 0")):
        assert time.monotonic() < deadline, "no series of the service"
        time.sleep(0.5)
    print(f"sum(sentiment_texts_total) = {found[0]:.0f}")
    assert stack.query('up{job="sentiment"}') == [1]
    assert stack.query('sum(sentiment_model_info{model="reviews-gru"})') == [1]


def test_a_killed_service_comes_back(stack: Stack) -> None:
    """``kill -9`` of its first process, from outside: it is started again, gets healthy and answers."""
    restarts = inspect(stack.app, "{{.RestartCount}}")
    try:
        os.kill(inspect(stack.app, "{{.State.Pid}}"), signal.SIGKILL)
    except (PermissionError, ProcessLookupError):
        pytest.skip("only root on the engine's own machine can kill a container's process")
    print(f"healthy again after {wait_healthy(stack.app, restarts=restarts + 1):.1f} s")
    assert httpx.post(f"{stack.url}/classify", json=REVIEW, timeout=30).status_code == 200


def test_a_stop_under_load_loses_nothing(stack: Stack) -> None:
    """Every client that gets a connection gets a 200, then connections are refused; the exit status is 0.

    Asked at the container's own address: the published port is a proxy that accepts for a service that refuses.
    """
    [network] = inspect(stack.app, "{{json .NetworkSettings.Networks}}").values()
    loads = [Load(f"http://{network['IPAddress']}:8000", clients=8, kept=kept) for kept in (True, False)]
    try:
        for load in loads:
            load.start()
        time.sleep(2)
        before = sum(load.outcomes.total() for load in loads)
        started = time.monotonic()
        docker("stop", stack.app, limit=90)
        seconds = time.monotonic() - started
        for load in loads:
            load.join()
        after = sum(load.outcomes.total() for load in loads) - before
        print(f"{before} requests answered before the stop, {after} during its {seconds:.1f} s")
        assert before
        assert after
        assert [set(load.outcomes) for load in loads] == [{"200"}, {"200"}]
        assert inspect(stack.app, "{{.State.ExitCode}}") == 0
    finally:
        stack.up()


def test_every_service_is_bounded_and_restarted(engine: None) -> None:
    """Memory, log files and rights; only the service and Grafana are published."""
    services = configuration("docker-compose.yml")
    assert services.keys() == {"app", "redis", "redis-exporter", "blackbox-exporter", "prometheus", "grafana"}
    for service in services.values():
        assert int(service["mem_limit"]) > 0
        assert service["restart"] == "unless-stopped"
        assert service["cap_drop"] == ["ALL"]
        assert service["logging"]["options"]["max-size"]
    assert {name for name, service in services.items() if "ports" in service} == {"app", "grafana"}


def test_the_gpu_file_reserves_a_device(engine: None) -> None:
    """And builds another image for it, with CUDA; without it nothing asks for a device."""
    plain = configuration("docker-compose.yml")["app"]
    app = configuration("docker-compose.yml", "docker-compose.gpu.yml")["app"]
    [device] = app["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert app["environment"]["SENTIMENT_DEVICE"] == "cuda"
    assert app["image"] != plain["image"]
    assert app["build"]["args"]["TORCH"] == "cuda"
    assert "TORCH" not in plain["build"]["args"]
    assert "deploy" not in plain
