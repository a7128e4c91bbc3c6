"""An upgrade of image, model and settings behind the proxy, as an operator runs it, while clients ask."""

from __future__ import annotations

import http.client
import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.containers.conftest import build
from tests.containers.engine import ROOT, SLIM, container, docker, inspect, operators_environment, wait_healthy
from tests.load import Paced
from tests.redis_server import free_port
from tests.waiting import wait_until

pytestmark = [pytest.mark.extra, pytest.mark.containers]

PROXY, NEXT, BROKEN = "sentiment-proxy:test", "sentiment-service:test-next", "sentiment-service:test-broken"
FILES = "docker-compose.yml:docker-compose.proxy.yml"
SERVICES = ("app", "app-2", "proxy", "redis", "prometheus")
RATE = 40
REVIEW = {"text": "A wonderful little film, I loved every minute."}


class Pair:
    """Two instances behind the proxy.

    Attributes:
        url: the proxy's published port.
        settings: what an operator has in ``.env``.
    """

    def __init__(self) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.settings = {
            "COMPOSE_FILE": FILES,
            "COMPOSE_PROJECT_NAME": "sentiment-test-upgrade",
            "APP_IMAGE": SLIM,
            "APP_PORT": f"127.0.0.1:{port}",
            "PROXY_IMAGE": PROXY,
            "SENTIMENT_MODEL": "reviews-gru/3",
        }

    def compose(self, *arguments: str) -> str:
        return docker("compose", *arguments, limit=300, **self.settings)

    def up(self) -> None:
        self.compose("up", "--wait", "--no-build", *SERVICES)

    def instances(self) -> list[str]:
        """Identifiers of both containers."""
        return self.compose("ps", "--all", "--quiet", "app", "app-2").split()

    def upgrade(self) -> subprocess.CompletedProcess[str]:
        """Run the command that the documentation names."""
        return subprocess.run(
            ["deploy/upgrade"],
            cwd=ROOT,
            env=operators_environment(**self.settings),
            capture_output=True,
            text=True,
            timeout=1500,
            check=False,
        )


@pytest.fixture(scope="module")
def images(slim: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The proxy; an image that has another model too; and one whose service cannot start."""
    build(PROXY, folder="deploy/proxy")
    folder = tmp_path_factory.mktemp("images")
    files = {
        NEXT: f"FROM {SLIM}\nCOPY model_store/reviews-gru/1 model_store/reviews-gru/1\n",
        BROKEN: f"FROM {NEXT}\nENV SENTIMENT_PORT=-1\n",
    }
    for name, content in files.items():
        path = folder / name.partition(":")[2]
        path.write_text(content)
        build(name, "--file", str(path))


@pytest.fixture(scope="module")
def pair(images: None) -> Iterator[Pair]:
    """What `docker compose up` starts with both files, but what only looks at it."""
    running = Pair()
    running.compose("down", "--volumes")
    try:
        running.up()
        yield running
    finally:
        running.compose("down", "--volumes")


@pytest.fixture
def load(pair: Pair) -> Iterator[Paced]:
    """Clients that come while a test runs."""
    with Paced(pair.url, RATE) as running:
        yield running


def test_prometheus_scrapes_both(pair: Pair) -> None:
    """Under names that stay the same when their containers do not."""
    query = ["promtool", "query", "instant", "--format", "json", "http://127.0.0.1:9090", 'up{job="sentiment"} == 1']

    def found() -> set[str]:
        answer = json.loads(pair.compose("exec", "--no-TTY", "prometheus", *query))
        return {sample["metric"]["instance"] for sample in answer}

    wait_until(lambda: found() == {"app:8000", "app-2:8000"}, "not both are scraped")


def test_image_and_model_are_upgraded_without_a_loss(pair: Pair, load: Paced) -> None:
    """First the image, then the model, there and back: every request on a new connection is answered, by one of the two
    versions."""
    models = ({"SENTIMENT_MODEL": f"reviews-gru/{version}"} for version in (1, 3))
    for changed in ({"APP_IMAGE": NEXT}, *models):
        before = pair.instances()
        pair.settings |= changed
        ended = pair.upgrade()
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert not set(before) & set(pair.instances())
    load.wait(max(RATE, 2_000 - load.outcomes.total()))
    load.stop()
    print(f"{load.outcomes.total()} requests: {dict(load.outcomes)}")
    assert load.outcomes.keys() == {"200 reviews-gru/3", "200 reviews-gru/1"}
    for name in pair.instances():
        assert inspect(name, "{{json .Config.Image}}") == NEXT
        assert "SENTIMENT_MODEL=reviews-gru/3" in inspect(name, "{{json .Config.Env}}")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"SENTIMENT_MODEL": "reviews-gru/44"}, "no version 44"),
        ({"APP_IMAGE": BROKEN}, "SENTIMENT_PORT"),
    ],
)
def test_what_cannot_serve_changes_nothing(pair: Pair, load: Paced, changed: dict[str, str], said: str) -> None:
    """A model that is not there, and an image whose service does not start: the command says so, both go on."""
    before, settings = pair.instances(), pair.settings
    pair.settings = settings | changed
    try:
        ended = pair.upgrade()
    finally:
        pair.settings = settings
    load.wait(RATE)
    load.stop()
    assert ended.returncode == 1
    assert said in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("error: ")
    assert "nothing was changed, both instances go on" in ended.stderr
    assert pair.instances() == before
    assert {outcome.split()[0] for outcome in load.outcomes} == {"200"}
    assert not pair.compose("ps", "--all", "--quiet", "--filter", "status=exited")


def test_without_the_proxy_nothing_is_upgraded(pair: Pair) -> None:
    """The command names the line that is missing."""
    alone = Pair()
    alone.settings["COMPOSE_FILE"] = "docker-compose.yml"
    ended = alone.upgrade()
    assert ended.returncode == 1
    assert "COMPOSE_FILE=docker-compose.yml:docker-compose.proxy.yml" in ended.stderr


def test_an_instance_that_ends_is_not_missed(pair: Pair) -> None:
    """Kept connections to the proxy, asked before, while and after an instance drains: all is answered."""
    with httpx.Client(base_url=pair.url, timeout=60) as client:
        ended = threading.Event()

        def stop() -> None:
            pair.compose("stop", "app")
            ended.set()

        stopping = threading.Thread(target=stop)
        statuses = [client.post("/classify", json=REVIEW).status_code]
        stopping.start()
        try:
            while not ended.is_set():
                statuses.append(client.post("/classify", json=REVIEW).status_code)
            statuses += [client.post("/classify", json=REVIEW).status_code for _ in range(20)]
        finally:
            stopping.join()
            pair.compose("start", "app")
            wait_healthy(pair.compose("ps", "--quiet", "app"))
    assert set(statuses) == {200}


def test_a_kept_connection_is_answered_while_the_service_drains(slim: str) -> None:
    """Without a proxy: idle connections are told of the end by the answer to their next request."""
    body, headers = json.dumps(REVIEW), {"Content-Type": "application/json"}
    with container("--env", "SENTIMENT_SHUTDOWN_GRACE=30", image=SLIM) as name:
        wait_healthy(name)
        [network] = inspect(name, "{{json .NetworkSettings.Networks}}").values()
        clients = [http.client.HTTPConnection(network["IPAddress"], 8000, timeout=60) for _ in range(16)]
        try:
            for client in clients:
                client.request("POST", "/classify", body, headers)
                assert client.getresponse().read()
            docker("kill", "--signal", "TERM", name)
            live = f"http://{network['IPAddress']}:8000/health/live"
            wait_until(lambda: httpx.get(live).headers.get("Connection") == "close", "it does not drain")
            for client in clients:
                client.request("POST", "/classify", body, headers)
                answer = client.getresponse()
                assert (answer.status, answer.getheader("Connection")) == (200, "close")
                answer.read()
        finally:
            for client in clients:
                client.close()
        assert docker("wait", name, limit=120) == "0"


def test_there_is_one_definition_of_an_instance(engine: None) -> None:
    """Both are the same but for their names, neither is published, and the proxy is bounded as all are."""
    text = docker("compose", "config", "--format", "json", COMPOSE_FILE=FILES)
    services: dict[str, Any] = json.loads(text)["services"]
    alone: dict[str, Any] = json.loads(docker("compose", "config", "--format", "json"))["services"]
    assert services["app"] == services["app-2"]
    assert services["app"] == {name: value for name, value in alone["app"].items() if name != "ports"}
    assert {name for name, service in services.items() if "ports" in service} == {"proxy", "grafana"}
    proxy = services["proxy"]
    assert int(proxy["mem_limit"]) > 0
    assert (proxy["restart"], proxy["cap_drop"], proxy["read_only"]) == ("unless-stopped", ["ALL"], True)
    written = yaml.safe_load(Path(ROOT / "docker-compose.proxy.yml").read_text().replace("!reset", ""))
    assert set(written["services"]["app-2"]) == {"extends", "ports"}
