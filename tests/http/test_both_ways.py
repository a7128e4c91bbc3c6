"""The fast path and the application answer byte for byte alike, whatever of production is switched on."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from app.http.application import build_application
from app.http.auth.rate_counters import RateCounters
from app.http.fast_path import FastPath
from app.http.fast_request import FastRequest
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
"""What the application has to explain once the fast path, and the rate limit, have looked at it."""
LIMIT = 9

FAST, LASTING, SLOW = b"/classify", b"/v1/classify", b"/classify?"
"""An empty query is the same path, and nothing that the fast path takes."""


@dataclass(frozen=True)
class Asked:
    """One request, and whether the fast path answers it where there are keys, and where there are none."""

    headers: tuple[bytes, ...] = ()
    text: str = "a good film"
    computed: bool = True
    fast: bool = True
    free: bool = True


@dataclass(frozen=True)
class Answered:
    """Everything of the answers, and which of them the fast path gave."""

    answers: list[tuple[bytes, list[bytes], bytes]] = field(default_factory=list)
    fast: list[bool] = field(default_factory=list)


ASKED = [
    Asked((KEY,)),
    Asked((KEY,)),
    Asked((), fast=False),
    Asked((b"X-API-Key: %b" % USER.encode(),)),
    Asked((b"Authorization: Bearer wrong",), fast=False),
    Asked((b"Authorization: Bearer %b" % OPERATOR.encode(),), fast=False),
    Asked((KEY,), WORDLESS, fast=False, free=False),
    Asked((KEY, ALLOWED), "another film"),
    Asked((KEY, FOREIGN), "another film"),
    Asked((FOREIGN, b"X-API-Key: wrong"), fast=False),
    Asked((KEY, ALLOWED, b"X-Timeout-Seconds: 5"), "a film in time"),
    Asked((KEY, ALLOWED, b"X-Timeout-Seconds: 0.01"), "a late film", computed=False),
    Asked((KEY, ALLOWED, b"X-Timeout-Seconds: soon"), fast=False, free=False),
    Asked((KEY, ALLOWED, b"X-Timeout-Seconds: 5"), "over the limit"),
    Asked((ALLOWED, b"X-Timeout-Seconds: 5"), fast=False),
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


class Watched(FastPath):
    """Remembers whether it answered the last request."""

    answered = False

    def begin(self, *arguments: Any) -> FastRequest | None:
        request = super().begin(*arguments)
        self.answered = request is not None
        return request


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
    path: Watched = app.state.fast_path
    path.__class__ = Watched
    config, state = uvicorn.Config(app, log_config=None, lifespan="off"), ServerState()
    state.default_headers = [(b"date", b"then")]
    config.load()
    server = await asyncio.get_running_loop().create_server(
        lambda: ServiceProtocol(config, state, {}, fast_path=path, root_path=settings.get("root_path")), "127.0.0.1", 0
    )
    async with server:
        yield engine, path, server.sockets[0].getsockname()
    for opened in (shared, counters):
        if opened is not None:
            await opened.close()


async def ask_all(model: StoredModel, redis: RedisServer | None, settings: dict[str, Any], target: bytes) -> Answered:
    """Send all requests, one after the other on one connection, as a client that keeps it does."""
    found = Answered()
    async with serving(model, redis, settings) as (engine, path, address):
        reader, writer = await asyncio.open_connection(*address)
        start = b"POST %b%b HTTP/1.1" % ((settings.get("root_path") or "").encode(), target)
        for number, asked in enumerate(ASKED):
            engine.automatic, path.answered = asked.computed, False
            body = json.dumps({"text": asked.text}).encode()
            writer.write(wire.request(b"X-Request-Id: %d" % number, *asked.headers, start=start, body=body))
            head = (await reader.readuntil(b"\r\n\r\n")).rstrip()
            status, *headers = head.split(b"\r\n")
            [length] = [line for line in headers if line.startswith(b"content-length: ")]
            content = await reader.readexactly(int(length.split()[1]))
            if redis is not None:
                # It has a clock of its own.
                headers = [re.sub(rb"^(retry-after): \d+$|(?<=;t=)\d+", rb"\1", line) for line in headers]
            found.answers.append((status, sorted(headers), content))
            found.fast.append(path.answered)
            engine.waiting.clear()
        writer.close()
    return found


def taken(*, keys: bool, limit: bool, redis: bool) -> list[bool]:
    """Which requests the fast path should have answered: all that may pass and have a usual answer."""
    counted, expected = 0, []
    for asked in ASKED:
        counted += KEY in asked.headers or asked.headers[:1] == (b"X-API-Key: %b" % USER.encode(),)
        usual = asked.fast if keys else asked.free
        # Before Redis has answered nobody looks for words, or knows that the limit is reached.
        usual = usual or (redis and asked.text == WORDLESS)
        expected.append(usual and not (limit and counted > LIMIT and not redis))
    return expected


@pytest.mark.parametrize("redis", [False, pytest.param(True, marks=pytest.mark.extra)], indirect=True)
@pytest.mark.parametrize("switched_on", ["", "keys", "limit", "origins", "any origin", "keys limit origins root"])
async def test_both_ways_answer_alike(
    tiny_model: StoredModel, keys: Path, redis: RedisServer | None, switched_on: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Status, every header and the body; refusals, deadlines and answers out of a cache too. And the fast path is the
    way of all that may pass, not only of a service without keys; under both paths."""
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
    fast = await ask_all(tiny_model, redis, settings, FAST)
    slow = await ask_all(tiny_model, redis, settings, SLOW)
    assert fast.answers == slow.answers
    assert await ask_all(tiny_model, redis, settings, LASTING) == fast
    assert not any(slow.fast)
    assert fast.fast == taken(keys=guarded, limit=limited, redis=redis is not None)
    statuses = {answer[0].split()[1] for answer in fast.answers}
    assert statuses >= ({b"200", b"401", b"403"} if guarded else {b"200", b"504", b"422"})
    assert (b"429" in statuses) == limited
