"""Past ASGI and by ASGI the answers are byte for byte alike, whatever of production is switched on."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from app.http.application import build_application
from app.http.auth.rate_counters import RateCounters
from app.http.handler import ClassifyHandler
from app.http.http_exchange import Connection, Exchange, Head
from app.http.server.protocol import ServiceProtocol
from app.keys import ADMIN, CLASSIFY, new_key
from app.serving.cache import MemoryCache
from app.serving.classifier import Classifier, ClassifierLimits
from app.serving.redis_cache import RedisCache
from app.settings import Settings
from app.store import StoredModel
from app.text.tokenizer import load_tokenizer
from tests.fakes import HandEngine, no_lifespan
from tests.http import wire
from tests.redis_server import RedisServer

USER, USER_KEPT = new_key("user", [CLASSIFY])
OPERATOR, OPERATOR_KEPT = new_key("operator", [ADMIN])
KEY = b"Authorization: Bearer %b" % USER.encode()
ALLOWED, FOREIGN = b"Origin: https://a.example", b"Origin: https://b.example"
WORDLESS = "..."
"""What has an error that is found late."""
LIMIT = 9

PLAIN, LASTING, BY_ASGI = b"/classify", b"/v1/classify", b"/classify?"
"""An empty query is the same path, and nothing that the protocol knows."""


@dataclass(frozen=True)
class Asked:
    """One request, and whether the engine computes its text."""

    headers: tuple[bytes, ...] = ()
    text: str | list[str] = "a good film"
    computed: bool = True


Answered = list[tuple[bytes, list[bytes], bytes]]
"""Everything of the answers."""

ASKED = [
    Asked((KEY,)),
    Asked((KEY,)),
    Asked(()),
    Asked((b"X-API-Key: %b" % USER.encode(),)),
    Asked((b"Authorization: Bearer wrong",)),
    Asked((b"Authorization: Bearer %b" % OPERATOR.encode(),)),
    Asked((KEY,), WORDLESS),
    Asked((KEY,), ["a good film", "a bad one"]),
    Asked((KEY, ALLOWED), "another film"),
    Asked((KEY, FOREIGN), "another film"),
    Asked((FOREIGN, b"X-API-Key: wrong")),
    Asked((KEY, ALLOWED, b"X-Timeout-Seconds: 5"), "a film in time"),
    Asked((KEY, ALLOWED, b"X-Timeout-Seconds: 0.01"), "a late film", computed=False),
    Asked((KEY, ALLOWED, b"X-Timeout-Seconds: soon")),
    Asked((KEY, b"Content-Type: text/plain")),
    Asked((KEY, ALLOWED, b"X-Timeout-Seconds: 5"), "over the limit"),
    Asked((ALLOWED, b"X-Timeout-Seconds: 5")),
]


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(f"{USER_KEPT.line}\n{OPERATOR_KEPT.line}\n")
    return path


@pytest.fixture
def redis(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[RedisServer | None]:
    """A server where the test asks for one."""
    if not request.param:
        yield None
        return
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.stop()


class Watched(ClassifyHandler):
    """Remembers which of the requests came past ASGI."""

    past_asgi: list[bool]

    def open(self, connection: Connection, head: Head) -> Exchange:
        self.past_asgi.append(isinstance(connection, ServiceProtocol))
        return super().open(connection, head)


@asynccontextmanager
async def serving(
    model: StoredModel, redis: RedisServer | None, settings: dict[str, Any]
) -> AsyncIterator[tuple[HandEngine, Watched, tuple[str, int]]]:
    """The real application and protocol in front of an engine that computes at once, or never."""
    engine, shared = HandEngine(), None
    if redis is not None:
        redis.command("FLUSHALL")
        shared = RedisCache(redis.url, 2, 2.0, 60)
    limits = ClassifierLimits(max_characters=100, max_texts_in_flight=10, timeout=5.0)
    classifier = Classifier(model, load_tokenizer(model), engine, limits, MemoryCache(10), shared)
    given = Settings(timeout=5.0, **settings)
    counters = RateCounters(given) if given.rate_limit else None
    app = build_application(given, no_lifespan, lambda: classifier, counters=counters)
    handler: Watched = app.state.handler
    handler.__class__, handler.past_asgi = Watched, []
    config, state = uvicorn.Config(app, log_config=None, lifespan="off"), ServerState()
    state.default_headers = [(b"date", b"then")]
    config.load()
    server = await asyncio.get_running_loop().create_server(
        lambda: ServiceProtocol(config, state, {}, handler=handler, root_path=settings.get("root_path")),
        "127.0.0.1",
        0,
    )
    async with server:
        yield engine, handler, server.sockets[0].getsockname()
    for opened in (shared, counters):
        if opened is not None:
            await opened.close()


async def ask_all(model: StoredModel, redis: RedisServer | None, settings: dict[str, Any], target: bytes) -> Answered:
    """Send all requests, one after the other on one connection, as a client that keeps it does."""
    found: Answered = []
    async with serving(model, redis, settings) as (engine, handler, address):
        reader, writer = await asyncio.open_connection(*address)
        start = b"POST %b%b HTTP/1.1" % ((settings.get("root_path") or "").encode(), target)
        for number, asked in enumerate(ASKED):
            engine.automatic = asked.computed
            body = json.dumps({"text" if isinstance(asked.text, str) else "texts": asked.text}).encode()
            writer.write(wire.request(b"X-Request-Id: %d" % number, *asked.headers, start=start, body=body))
            head = (await reader.readuntil(b"\r\n\r\n")).rstrip()
            status, *headers = head.split(b"\r\n")
            [length] = [line for line in headers if line.startswith(b"content-length: ")]
            content = await reader.readexactly(int(length.split()[1]))
            if redis is not None:
                # It has a clock of its own.
                headers = [re.sub(rb"^(retry-after): \d+$|(?<=;t=)\d+", rb"\1", line) for line in headers]
            found.append((status, sorted(headers), content))
            engine.waiting.clear()
        writer.close()
        assert handler.past_asgi == [target != BY_ASGI] * len(ASKED)
    return found


@pytest.mark.parametrize("redis", [False, pytest.param(True, marks=pytest.mark.extra)], indirect=True)
@pytest.mark.parametrize("switched_on", ["", "keys", "limit", "origins", "any origin", "keys limit origins root"])
async def test_both_ways_answer_alike(
    tiny_model: StoredModel, keys: Path, redis: RedisServer | None, switched_on: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Status, every header and the body; refusals, deadlines and answers out of a cache too; under both paths."""
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)  # by which it is said when a limit lets more texts pass
    on = switched_on.split()
    guarded, limited = "keys" in on or "limit" in on, "limit" in on
    settings: dict[str, Any] = {"api_keys": keys} if guarded else {}
    if limited:
        settings["rate_limit"] = f"{LIMIT}/hour;1000/day"
        settings |= {"redis_url": redis.url, "redis_timeout": 2.0} if redis is not None else {}
    if "origin" in switched_on:
        settings["cors_origins"] = "*" if "any" in on else "https://a.example,https://c.example"
    if "root" in on:
        settings["root_path"] = "/sentiment"
    answers = await ask_all(tiny_model, redis, settings, PLAIN)
    assert await ask_all(tiny_model, redis, settings, BY_ASGI) == answers
    assert await ask_all(tiny_model, redis, settings, LASTING) == answers
    statuses = {answer[0].split()[1] for answer in answers}
    assert statuses >= ({b"200", b"401", b"403"} if guarded else {b"200", b"504", b"422", b"415"})
    assert (b"429" in statuses) == limited
