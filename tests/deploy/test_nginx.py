"""The nginx configuration that shares texts out, before three real instances."""

from __future__ import annotations

import random
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.deploy.chart import ROOT
from tests.monitoring.stack import program
from tests.redis_server import free_port
from tests.service import Service, serving
from tests.waiting import LIMIT

pytestmark = pytest.mark.extra

CONFIGURATION = (ROOT / "deploy" / "nginx" / "by_text.conf").read_text()
HASH = "    hash $sentiment_key consistent;\n"
MAIN = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    {included}
}}
"""
TEXTS, REQUESTS = 60, 150


def zipf(seed: int) -> list[str]:
    """Texts of which the second comes half as often as the first, the third a third as often."""
    chance = random.Random(seed)
    texts = [f"seed {seed} film {number}, a lovely story" for number in range(TEXTS)]
    return chance.choices(texts, [1 / rank for rank in range(1, TEXTS + 1)], k=REQUESTS)


@contextmanager
def proxy(instances: list[Service], folder: Path, configuration: str = CONFIGURATION) -> Iterator[httpx.Client]:
    """A client of an nginx with the configuration, before instances of these tests in place of those in it."""
    address = re.compile(r"    server 10\.0\.0\.1:8000(.*)\n(?:    server .*\n)*")
    servers = [f"    server {instance.url.removeprefix('http://')}" for instance in instances]
    included = address.sub(lambda match: "".join(f"{server}{match[1]}\n" for server in servers), configuration)
    port = free_port()
    included = included.replace("listen 8080;", f"listen 127.0.0.1:{port};")
    folder.mkdir()
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder, included=included))
    command = [program("nginx"), "-e", str(folder / "error.log"), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    process = subprocess.Popen(command)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            deadline = time.monotonic() + LIMIT
            while True:
                try:
                    client.get("/health/live")
                    break
                except httpx.TransportError:
                    assert process.poll() is None, (folder / "error.log").read_text()
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
            yield client
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def instances(tiny_store: Path) -> Iterator[list[Service]]:
    """Three, each with one HTTP worker, and so with one cache."""
    with ExitStack() as stack:
        yield [stack.enter_context(serving(tiny_store, workers="1")) for _ in range(3)]


def lookups(instances: list[Service], result: str) -> int:
    """Texts that were looked up in the memory of the instances, by what came of it."""
    name = re.compile(rf'sentiment_cache_lookups_total{{(?=.*tier="memory")(?=.*result="{result}").*}}')
    samples = [sample for instance in instances for sample in instance.metrics().items()]
    return int(sum(value for sample, value in samples if name.fullmatch(sample)))


def ask(client: httpx.Client, texts: list[str], **headers: str) -> None:
    """Classify them one after the other."""
    for text in texts:
        answer = client.post("/classify", json={"text": text}, headers=headers)
        assert answer.status_code == 200, answer.text


def test_a_text_is_computed_by_one_instance(instances: list[Service], tmp_path: Path) -> None:
    """The same text always lands on the same instance: over all of them each is a miss once and a hit ever after, and
    each instance has a part of them. By turns (nginx without the line of the hash) more are missed of as many texts."""
    assert CONFIGURATION.count(HASH) == 1
    hits = {}
    for seed, configuration in enumerate((CONFIGURATION, CONFIGURATION.replace(HASH, ""))):
        texts = zipf(seed)
        before = [lookups([instance], "miss") for instance in instances]
        found = lookups(instances, "hit")
        with proxy(instances, tmp_path / str(seed), configuration) as client:
            ask(client, texts)
        hits[seed] = lookups(instances, "hit") - found
        missed = [lookups([instance], "miss") - count for instance, count in zip(instances, before, strict=True)]
        print(f"{REQUESTS} requests for {len(set(texts))} texts: {hits[seed]} hits, misses by instance {missed}")
        assert hits[seed] + sum(missed) == REQUESTS
        assert all(missed)
        if configuration == CONFIGURATION:
            assert sum(missed) == len(set(texts))
    assert hits[0] > hits[1]


def test_a_header_says_what_is_the_same(instances: list[Service], tmp_path: Path) -> None:
    """Different bodies with one key land on one instance."""
    before = [lookups([instance], "miss") for instance in instances]
    with proxy(instances, tmp_path / "nginx") as client:
        ask(client, [f"part {number} of one review" for number in range(12)], **{"X-Text-Key": "review 1"})
    missed = [lookups([instance], "miss") - count for instance, count in zip(instances, before, strict=True)]
    assert sorted(missed) == [0, 0, 12]


def test_an_instance_that_goes_takes_its_own_texts_along(tiny_store: Path, tmp_path: Path) -> None:
    """Every request is answered all the same, and what the others hold stays where it is."""
    texts = [f"film {number}, a lovely story" for number in range(30)]
    with ExitStack() as stack:
        instances = [stack.enter_context(serving(tiny_store, workers="1")) for _ in range(2)]
        client = stack.enter_context(proxy(instances, tmp_path / "nginx"))
        ask(client, texts)
        gone, left = instances[0], instances[1:]
        lost = lookups([gone], "miss")
        before = lookups(left, "miss")
        assert 0 < lost < len(texts)
        assert gone.stop() == 0
        ask(client, texts)
        assert lookups(left, "miss") - before == lost
        assert lookups(left, "hit") == len(texts) - lost
