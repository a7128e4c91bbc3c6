"""HTTP clients of other languages, and a proxy in front: each asks a real service and gets the right answer."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.settings import Settings
from tests.monitoring.stack import program
from tests.proxy import nginx
from tests.service import Service, serving

pytestmark = pytest.mark.extra

NGINX_KEEPS = 60
"""Seconds for which nginx keeps an idle connection to the service (``keepalive_timeout`` of an upstream)."""
PREFIX = "/sentiment/api"
CLIENTS = Path(__file__).parent / "clients"
ONE, LIST = {"text": "good film"}, {"texts": ["good film", "dull film"]}
CURL = ["-sS", "-H", "Content-Type: application/json", "-w", "\\n", "-d", "BODY", "URL"]
COMMANDS = {
    "java": (["java", str(CLIENTS / "Ask.java"), "URL", "BODY"], 3),
    "node": (["node", str(CLIENTS / "ask.mjs"), "URL", "BODY"], 3),
    **{
        f"curl {' '.join(options)}": (
            ["curl", *options, *CURL, "--next", *options, *CURL],
            2,
        )
        for options in (
            *([], ["--http2"], ["--http1.0"], ["--compressed"], ["-H", "Transfer-Encoding: chunked"]),
            *(["-H", "Expect: 100-continue"], ["--http2", "-H", "Transfer-Encoding: chunked"]),
        )
    },
}
"""Commands, and how many lines they print, which may begin with a status."""


@pytest.fixture(scope="module")
def service(tiny_store: Path) -> Iterator[Service]:
    """One worker that proxies reach below a prefix."""
    with serving(tiny_store, workers="1", root_path=PREFIX) as running:
        yield running
        assert "Traceback" not in running.output.read_text()


@pytest.mark.parametrize("body", [ONE, LIST], ids=["one text", "a list"])
@pytest.mark.parametrize("name", COMMANDS)
def test_clients(service: Service, name: str, body: dict[str, Any]) -> None:
    """Whatever they offer, ask for or keep open, they get what Python's client gets."""
    (tool, *arguments), lines = COMMANDS[name]
    given = {"URL": f"{service.url}/classify", "BODY": json.dumps(body)}
    command = [program(tool), *(given.get(argument, argument) for argument in arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stderr
    answers = [json.loads(line.removeprefix("200 ")) for line in ended.stdout.splitlines()]
    assert len(answers) == lines
    right = httpx.post(f"{service.url}/classify", json=body).json()
    for answer in (*answers, right):
        for part in answer.get("results", [answer]):
            del part["cached"]
    assert answers == [right] * lines


def test_a_proxy_keeps_connections(service: Service, tmp_path: Path) -> None:
    """They stay open for longer than those to the clients, so that none is closed under a request."""
    assert Settings().keep_alive_timeout > NGINX_KEEPS
    with nginx(service.url, tmp_path) as address, httpx.Client(base_url=address) as client:
        assert [client.post("/classify", json=ONE).status_code for _ in range(100)] == [200] * 100
        assert client.post("/classify", json=LIST).status_code == 200
        assert client.get("/models").status_code == 200


@pytest.mark.parametrize("prefix", [PREFIX, "/stripped"])
def test_behind_a_path(tiny_store: Path, tmp_path: Path, prefix: str) -> None:
    """Page, documentation and operations work below a prefix, whether the proxy strips it or not."""
    with (
        serving(tiny_store, workers="1", root_path=prefix) as service,
        nginx(service.url, tmp_path) as address,
        httpx.Client(base_url=address, follow_redirects=True) as client,
    ):
        page = client.get(prefix)
        assert (page.status_code, page.url.path) == (200, f"{prefix}/")
        docs = client.get(f"{prefix}/docs")
        for shown in (page, docs):
            for link in links(shown.text):
                assert client.get(shown.url.join(link)).status_code == 200, link
        document = client.get(f"{prefix}/openapi.json").json()
        assert document["servers"] == [{"url": prefix}]
        for body in (ONE, LIST):
            assert client.post(f"{document['servers'][0]['url']}/classify", json=body).status_code == 200
        assert client.post(f"{prefix}/files?format=csv", content=b"text\ngood film\n").status_code == 200
        assert client.get(f"{prefix}/health/ready").status_code == 200
        assert httpx.get(f"{service.url}/health/ready").status_code == 200


def links(page: str) -> list[str]:
    """Addresses in a page that it loads or links."""
    found = re.findall(r"(?:src|href)=\"([^\"#]+)\"|url: '([^']+)'", page)
    return [first or second for first, second in found]
