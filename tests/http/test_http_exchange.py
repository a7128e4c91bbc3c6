"""Requests past ASGI: which ones come so, that one text needs no task, and what ends an exchange."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from app.errors import EngineUnavailableError
from app.http.handler import ClassifyHandler
from app.http.http_exchange import Exchange, Head
from app.http.middleware import RequestRecorder
from app.http.server.protocol import ServiceProtocol
from app.sentiment import Scores
from app.serving.cache import MemoryCache
from app.serving.classifier import Classifier, ClassifierLimits
from app.serving.redis_cache import RedisCache
from app.settings import Settings
from app.store import StoredModel
from app.text.tokenizer import load_tokenizer
from tests.fakes import HandEngine
from tests.http import wire
from tests.redis_server import free_port
from tests.service import Service, serving
from tests.serving.test_cache import redis_cache
from tests.waiting import until

BODY = b'{"text": "a good film"}'


class Recording:
    """A connection that keeps what is written to it."""

    def __init__(self) -> None:
        self.head = self.body = b""

    def respond(self, head: bytes, body: bytes) -> None:
        assert not self.head
        self.head, self.body = head, body


class Setting:
    """The handler in front of a real classifier and an engine that computes by hand."""

    def __init__(
        self,
        model: StoredModel,
        *,
        cache: bool = True,
        timeout: float = 5.0,
        most: int = 10,
        shared: RedisCache | None = None,
    ) -> None:
        self.engine = HandEngine()
        self.timeout = timeout
        limits = ClassifierLimits(max_characters=100, max_texts_in_flight=most, timeout=timeout)
        memory = MemoryCache(10) if cache else None
        self.classifier = Classifier(model, load_tokenizer(model), self.engine, limits, memory, shared)
        self.handler = ClassifyHandler(lambda: self.classifier, RequestRecorder(), Settings(timeout=timeout))
        self.connection = Recording()

    def begin(self, body: bytes = BODY, number: bytes = b"abc") -> Exchange:
        self.connection = Recording()
        exchange = self.handler.open(self.connection, Head([(b"x-request-id", number)], self.timeout))
        self.handler.handle(exchange, body)
        return exchange


@pytest.fixture
def setting(tiny_model: StoredModel) -> Setting:
    return Setting(tiny_model)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b"[]", "invalid_request"),
        (b'{"text": 1}', "invalid_request"),
        (b'{"text": "a", "text": "b"}', "invalid_request"),
        (b'{"text": "a", "more": 1}', "invalid_request"),
        (b'{"text": ""}', "blank_text"),
        (b'{"text": "..."}', "no_words"),
        (b'{"text": "' + b"long " * 50 + b'"}', "text_too_long"),
    ],
)
async def test_mistakes_are_explained(setting: Setting, body: bytes, code: str) -> None:
    """Past ASGI as by ASGI; nothing is started."""
    await complete(setting.begin(body))
    assert setting.connection.head.startswith(b"HTTP/1.1 422 ")
    assert json.loads(setting.connection.body)["code"] == code
    assert not setting.engine.texts


@pytest.mark.parametrize("name", [b"content-type", b"x-timeout-seconds"])
async def test_a_head_with_a_mistake_is_explained_unparsed(setting: Setting, name: bytes) -> None:
    """Whatever its body is."""
    head = setting.handler.head([(name, b"soon")])
    setting.handler.handle(setting.handler.open(setting.connection, head), b"{")
    code = json.loads(setting.connection.body)["code"]
    assert code == {b"content-type": "unsupported_media_type", b"x-timeout-seconds": "invalid_header"}[name]


async def test_several_texts_are_a_task(setting: Setting) -> None:
    """Which is cancelled when the client leaves, and their texts are given up."""
    setting.engine.automatic = True
    request = setting.begin(b'{"texts": ["a good film", "", "a bad film"]}')
    await complete(request)
    assert [entry.get("label") for entry in json.loads(setting.connection.body)["results"]][1] is None
    setting.engine.automatic = False
    gone = setting.begin(b'{"texts": ["another film", "and another"]}')
    await until(lambda: bool(setting.engine.waiting))
    gone.disconnected = True
    gone.set()
    assert gone.response_complete
    await until(lambda: next(iter(setting.engine.waiting)).cancelled())
    await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})
    assert not setting.connection.head


async def test_a_client_that_leaves_at_once_is_forgotten(setting: Setting) -> None:
    """Before its task has begun."""
    request = setting.begin(b'{"texts": ["a good film"]}')
    request.disconnected = True
    request.set()
    await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})
    assert not setting.engine.texts
    assert setting.classifier.idle


async def test_a_text_is_answered_when_it_has_landed(setting: Setting) -> None:
    """The answer carries the request's id, and from then on comes out of the cache at once."""
    request = setting.begin()
    assert not request.response_complete
    assert not setting.connection.head
    setting.engine.compute()
    await asyncio.sleep(0.01)
    assert request.response_complete
    assert setting.connection.head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"x-request-id: abc\r\n" in setting.connection.head
    first = json.loads(setting.connection.body)
    again = setting.begin()
    assert again.response_complete
    assert json.loads(setting.connection.body) == {**first, "cached": True}


async def test_with_a_shared_cache_too(tiny_model: StoredModel) -> None:
    """Nothing is computed before it was asked; a text without words is then refused as the application would."""
    async with redis_cache(f"redis://127.0.0.1:{free_port()}/0") as shared:
        setting = Setting(tiny_model, shared=shared)
        setting.engine.automatic = True
        for body, status in ((BODY, 200), (b'{"text": "..."}', 422)):
            request = setting.begin(body)
            assert not request.response_complete
            await complete(request)
            assert setting.connection.head.startswith(b"HTTP/1.1 %d " % status)
        assert json.loads(setting.connection.body)["code"] == "no_words"


async def test_identical_texts_are_computed_once(setting: Setting) -> None:
    """Two requests, one computed text; one of the clients may leave."""
    first, second = setting.begin(), setting.begin()
    assert len(setting.engine.texts) == 1
    first.disconnected = True
    first.set()
    assert first.response_complete
    setting.engine.compute()
    await asyncio.sleep(0.01)
    assert second.response_complete
    assert setting.connection.head.startswith(b"HTTP/1.1 200 ")


async def test_a_client_that_leaves_takes_its_text_along(setting: Setting) -> None:
    """Nobody waits for the text any more, so the engine is told, and nothing is written."""
    request = setting.begin()
    request.disconnected = True
    request.set()
    assert next(iter(setting.engine.waiting)).cancelled()
    await asyncio.sleep(0.01)
    assert not setting.connection.head


@pytest.fixture
def kept() -> Iterator[Callable[[type], int]]:
    """How many objects of a type were made since, while nobody looks for garbage in cycles."""
    gc.disable()
    gc.freeze()  # those that there are would be counted too, and slowly
    try:
        yield lambda kind: sum(type(found) is kind for found in gc.get_objects())
    finally:
        gc.unfreeze()
        gc.enable()


@pytest.mark.parametrize("body", [BODY, b'{"texts": ["a good film", "a bad film"]}'], ids=["one text", "several"])
@pytest.mark.parametrize("end", ["answered", "left", "reset"])
async def test_a_request_that_is_over_is_gone(
    setting: Setting, kept: Callable[[type], int], end: str, body: bytes
) -> None:
    """Garbage is looked for seldom, so neither the request nor its connection may need that."""
    before = kept(Exchange), kept(ServiceProtocol)
    loop, config = asyncio.get_running_loop(), uvicorn.Config(never, log_config=None)
    config.load()
    state = ServerState()
    server = await loop.create_server(
        lambda: ServiceProtocol(config, state, {}, handler=setting.handler), "127.0.0.1", 0
    )
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(wire.request(body=body))
        await until(lambda: bool(setting.engine.waiting))
        assert kept(Exchange) == before[0] + 1
        if end != "left":
            setting.engine.compute()
            assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        if end == "reset":
            at_once = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        writer.close()
        await until(lambda: not state.connections)
    del reader, writer
    await asyncio.sleep(0)
    setting.engine.waiting.clear()
    assert (kept(Exchange), kept(ServiceProtocol)) == before


async def never(scope: Scope, receive: Receive, send: Send) -> None:
    """The application, where no request is for it."""
    raise AssertionError


async def complete(request: Exchange) -> None:
    """Wait until it is over."""
    await until(lambda: request.response_complete)


async def test_the_deadline_is_kept(tiny_model: StoredModel) -> None:
    """A text that is not computed in time is a 504, and given up; later ones get their whole time."""
    setting = Setting(tiny_model, timeout=1.0)
    first = setting.begin()
    await asyncio.sleep(0.5)
    late, setting.connection = setting.connection, Recording()
    began = time.monotonic()
    second = setting.begin(b'{"text": "another film"}')
    await complete(first)
    assert late.head.startswith(b"HTTP/1.1 504 ")
    assert json.loads(late.body)["code"] == "deadline_exceeded"
    assert json.loads(late.body)["request_id"] == "abc"
    assert next(iter(setting.engine.waiting)).cancelled()
    await complete(second)
    assert time.monotonic() - began >= 1


async def test_an_engine_fault_is_a_problem(setting: Setting) -> None:
    """What the engine could not do is said as the application says it."""
    setting.begin()
    next(iter(setting.engine.waiting)).set_exception(EngineUnavailableError("away", retry_after=2.0))
    await asyncio.sleep(0.01)
    assert setting.connection.head.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 2\r\n" in setting.connection.head.lower()
    assert json.loads(setting.connection.body)["code"] == "engine_unavailable"


async def test_log_lines_name_the_request(setting: Setting, caplog: pytest.LogCaptureFixture) -> None:
    """As those of the application do: of an answer, a refusal and a defect, whoever's turn it is to say so."""
    caplog.set_level(logging.DEBUG)
    for number, outcome in ((b"good", None), (b"late", EngineUnavailableError("away")), (b"broken", ValueError("odd"))):
        setting.begin(b'{"text": "film %b"}' % number, number)
        ticket = list(setting.engine.waiting)[-1]
        if outcome is None:
            ticket.set_result([Scores((0.5, 0.5))])
        else:
            ticket.set_exception(outcome)
    assert setting.connection.head.startswith(b"HTTP/1.1 500 ")
    assert json.loads(setting.connection.body)["request_id"] == "broken"
    found = [(record.getMessage(), record.__dict__["request_id"]) for record in caplog.records]
    assert found == [
        ("POST /classify 200", "good"),
        ("POST /classify 503", "late"),
        ("unhandled error", "broken"),
        ("POST /classify 500", "broken"),
    ]


async def test_places_are_given_back(tiny_model: StoredModel) -> None:
    """A full classifier takes no more, until somebody has been answered or has left."""
    setting = Setting(tiny_model, cache=False, most=2)
    first, _ = setting.begin(), setting.begin()
    refused = setting.begin()
    assert refused.response_complete
    assert setting.connection.head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"retry-after: 1\r\n" in setting.connection.head
    assert b"content-type: application/problem+json\r\n" in setting.connection.head
    assert json.loads(setting.connection.body)["code"] == "overloaded"
    first.disconnected = True
    first.set()
    assert setting.begin() is not None
    setting.begin()
    assert setting.connection.head.startswith(b"HTTP/1.1 503 ")
    list(setting.engine.waiting)[1].set_result([Scores((0.5, 0.5))])
    await asyncio.sleep(0.01)
    assert setting.begin() is not None


@pytest.fixture(scope="module")
def service(tiny_store: Path) -> Iterator[Service]:
    """One worker without a cache."""
    with serving(tiny_store, workers="1", cache="off") as running:
        yield running


def test_pipelined_requests_are_answered_in_order(service: Service) -> None:
    """Requests sent without waiting for answers, one text or several, keep their order."""
    texts = ["good", "bad", "a very good film", "a very bad film"]
    parts = []
    for number, text in enumerate(texts):
        body = json.dumps({"text": text} if number % 2 else {"texts": [text]}).encode()
        parts.append(wire.request(b"X-Request-Id: %d" % number, body=body))
    parts.append(wire.request(wire.CLOSE, start=b"GET /health/live HTTP/1.1"))
    responses = wire.exchange(service.url, b"".join(parts))
    assert [response.status_code for response in responses] == [200] * 5
    assert [response.headers["x-request-id"] for response in responses[:4]] == ["0", "1", "2", "3"]


def test_many_pipelined_plain_requests(service: Service) -> None:
    """A long pipeline of plain requests is answered whole."""
    body = json.dumps({"text": "a good film"}).encode()
    data = wire.request(body=body) * 50 + wire.request(wire.CLOSE, body=body)
    assert [response.status_code for response in wire.exchange(service.url, data)] == [200] * 51
