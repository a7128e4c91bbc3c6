"""What is refused unread: only what is like something that was refused, only while there is no room, in full form."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from app.errors import OverloadedError
from app.http.load_shedding import MIN_BODY, LoadShedder
from app.keys import CLASSIFY, new_key
from app.settings import Settings
from tests.chaos.parts import paused
from tests.fakes import FakeClassifier
from tests.http.shapes import assert_problem
from tests.http.wire import CLOSE, exchange, read_responses, request
from tests.service import Service, serving
from tests.waiting import wait_until

LENGTH = 20_000
TEXTS = ["good film " * 124] * 16
LIST = json.dumps({"texts": TEXTS}).encode().ljust(LENGTH)


class Setting:
    """The load shedder of a service with room for ``room`` texts more."""

    def __init__(self, **settings: Any) -> None:
        self.room = 0
        self.classifier = FakeClassifier()
        self.in_flight(1)
        self.classifier.admit = self._admit  # type: ignore[method-assign]
        self.load_shedder = LoadShedder(lambda: self.classifier, Settings(**settings))

    def in_flight(self, texts: int) -> None:
        self.classifier._in_flight = texts

    def _admit(self, texts: int, tokens: int) -> None:
        if texts > self.room:
            raise OverloadedError(f"{texts} more")

    def refused(self, times: int = 1) -> None:
        for _ in range(times):
            self.load_shedder.refused(LENGTH)

    def turns_away(self, length: int = LENGTH, beginning: bytes = LIST[:10_000]) -> bool:
        suspected = self.load_shedder.suspects(length)
        return suspected and self.load_shedder.refusal(length, beginning) is not None


async def test_nothing_is_refused_unread_before_something_was_refused() -> None:
    """However full the service is."""
    assert not Setting(cache=False).turns_away()


@pytest.mark.parametrize("length", [MIN_BODY, LENGTH // 3, LENGTH * 3])
async def test_only_requests_of_the_same_size_are_like_the_refused(length: int) -> None:
    """Nobody knows how many texts are in others."""
    setting = Setting(cache=False)
    setting.refused()
    assert setting.turns_away(LENGTH - 1)
    assert not setting.turns_away(length)


MANY = json.dumps({"texts": ["a film"] * 2_000}).encode()[:LENGTH]


@pytest.mark.parametrize(
    ("room", "beginning", "refused"),
    [
        (1, json.dumps({"text": "good film " * 2_000}).encode(), False),
        (1, json.dumps({"text": 'He said "good", "bad", "ugly". ' * 600}).encode(), False),
        (1, json.dumps({"text": "good\nfilm " * 2_000}).encode(), False),
        (0, json.dumps({"text": "good film " * 2_000}).encode(), True),
        (1, MANY, True),
        (1_000, MANY, True),
        (3_000, MANY, False),
        (1, MANY.replace(b", ", b","), True),
        (15, LIST, True),
        (16, LIST, False),
        (0, LIST[:100], False),
    ],
    ids=[
        *("one text", "one that quotes", "one with escapes", "one without room", "many", "too many", "room for many"),
        *("many without spaces", "a few", "room for a few", "too little to say"),
    ],
)
async def test_a_request_is_judged_by_its_own_texts(room: int, beginning: bytes, refused: bool) -> None:
    """Not by those of the one before, whose body had the same size: a thousand texts that found no room are no reason
    to refuse a single one."""
    setting = Setting(cache=False)
    setting.refused()
    setting.room = room
    assert setting.turns_away(beginning=beginning[:10_000]) == refused


async def test_other_requests_are_read() -> None:
    """Those that are refused for their size anyway, and those that reading costs nothing."""
    setting = Setting(cache=False, max_body=LENGTH + 1)
    setting.refused()
    setting.load_shedder.refused(100)
    assert setting.turns_away(LENGTH + 1)
    assert not setting.turns_away(LENGTH + 2)
    assert not setting.turns_away(100)
    assert not setting.turns_away(10**20)


async def test_room_is_promised_once() -> None:
    """To the first of those that arrive together; and again when there has been time to use it."""
    setting = Setting(cache=False)
    setting.refused()
    setting.room = len(TEXTS)
    assert not setting.turns_away()
    assert setting.turns_away()
    await asyncio.sleep(0.1)
    assert not setting.turns_away()


async def test_an_idle_service_refuses_nothing_unread() -> None:
    """Who was let in may have sent no JSON, and then uses no room; the next one finds it at once."""
    setting = Setting(cache=False)
    setting.refused()
    setting.room = len(TEXTS)
    assert not setting.turns_away()
    setting.in_flight(0)
    assert not setting.turns_away()


async def test_what_caches_may_answer_is_read() -> None:
    """Until it has shown that they do not, then one of 16 still; and all again when they do."""
    setting = Setting()
    setting.refused()
    assert not any(setting.turns_away() for _ in range(16))
    setting.refused(40)
    assert sum(setting.turns_away() for _ in range(160)) == 150
    assert setting.load_shedder.full(LENGTH, TEXTS)
    setting.load_shedder.answered(LENGTH)
    assert not any(setting.turns_away() for _ in range(16))


async def test_a_service_with_room_is_not_full() -> None:
    """So that what is answered then says nothing about caches."""
    setting = Setting()
    assert not setting.load_shedder.full(LENGTH, TEXTS)
    setting.refused()
    assert setting.load_shedder.full(LENGTH, TEXTS)
    setting.room = len(TEXTS)
    assert not setting.load_shedder.full(LENGTH, TEXTS)


BODY = json.dumps({"texts": ["good film " * 100] * 6}).encode()
ONE_REQUEST = {"workers": "1", "cache": "off", "max_queue": "8", "max_texts": "8", "body_timeout": "1"}
RUBBISH = BODY[:-1] + b"!"
"""As many texts, but no JSON: 422 where it is read."""


@pytest.fixture(scope="module")
def service(tiny_store: Path) -> Iterator[Service]:
    """One worker with room for one request."""
    with serving(tiny_store, **ONE_REQUEST) as running:
        yield running
        assert "Traceback" not in running.output.read_text()


@contextmanager
def full(service: Service, **headers: str) -> Iterator[None]:
    """The engine stopped behind a request, and another one refused."""
    answers: list[httpx.Response] = []

    def ask() -> httpx.Response:
        return httpx.post(f"{service.url}/classify", content=BODY, headers=headers)

    with paused(service.children("engine")[0]):
        first = Thread(target=lambda: answers.append(ask()))
        first.start()
        wait_until(lambda: service.metrics()["sentiment_requests_in_flight"] == 2)  # the scrape is one too
        assert_problem(ask(), 503, "overloaded")
        yield
    first.join(60)
    assert [answer.status_code for answer in answers] == [200]


def test_a_refusal_is_complete_and_the_connection_goes_on(service: Service) -> None:
    """The response is as any other; what was not read is not taken for the next request; later it is read again."""
    head = [b"X-Request-Id: abc", b"Content-Type: application/json"]
    with full(service):
        before = service.metrics()
        refused, again, alive = exchange(
            service.url,
            request(*head, body=RUBBISH) + request(body=RUBBISH) + request(CLOSE, start=b"GET /health/live HTTP/1.1"),
        )
        for response in (refused, again):
            assert_problem(response, 503, "overloaded")
            assert int(response.headers["retry-after"]) >= 1
        assert refused.headers["x-request-id"] == "abc"
        assert refused.headers["x-content-type-options"] == "nosniff"
        assert alive.status_code == 200
        single = json.dumps({"text": "good film " * 600}).encode() + b"!"
        assert len(single).bit_length() == len(BODY).bit_length()
        assert_problem(httpx.post(f"{service.url}/classify", content=single), 422, "invalid_json")
        [read] = exchange(service.url, request(CLOSE, body=RUBBISH))  # the last on a connection is not worth it
        assert_problem(read, 422, "invalid_json")
        after = service.metrics()
        counted = 'sentiment_requests_total{method="POST",model="tiny",route="/classify",status="503",version="1"}'
        assert after[counted] - before[counted] == 2
        rejected = 'sentiment_rejected_total{reason="overloaded"}'
        assert after[rejected] - before[rejected] == 2
    assert_problem(httpx.post(f"{service.url}/classify", content=RUBBISH), 422, "invalid_json")


def test_a_refused_body_that_never_arrives(service: Service) -> None:
    """The client is told that it was too slow, and its connection ends; a client that leaves is forgotten."""
    address = urlsplit(service.url)
    with full(service):
        for leave in (True, False):
            with socket.create_connection((str(address.hostname), int(address.port or 0)), 60) as connection:
                connection.sendall(request(body=RUBBISH)[:-10])
                if not leave:
                    [response] = read_responses(connection)
                    assert_problem(response, 408, "request_timeout")
        assert service.metrics()["sentiment_requests_in_flight"] == 2


@pytest.mark.parametrize("limit", [None, "1000/minute"], ids=["no limit", "a rate limit"])
def test_who_may_ask_is_told_that_there_is_no_room(tiny_store: Path, tmp_path: Path, limit: str | None) -> None:
    """With keys too, and to pages of other origins so that they may read it. Who has no key hears of nothing else, and
    a request that counts against a limit is read."""
    key, kept = new_key("reader", (CLASSIFY,))
    keys, origin = tmp_path / "keys", "https://shop.example"
    keys.write_text(kept.line + "\n")
    settings = {"api_keys": str(keys), "metrics": "public", "cors_origins": origin}
    settings |= {} if limit is None else {"rate_limit": limit}
    with serving(tiny_store, **ONE_REQUEST, **settings) as service:
        headers = {"X-API-Key": key, "Origin": origin}
        with full(service, **headers):
            answer = httpx.post(f"{service.url}/classify", content=RUBBISH, headers=headers)
            assert_problem(answer, *((503, "overloaded") if limit is None else (422, "invalid_json")))
            assert answer.headers["access-control-allow-origin"] == origin
            for wrong in ({}, {"X-API-Key": key + "x"}):
                stranger = httpx.post(f"{service.url}/classify", content=RUBBISH, headers=wrong)
                assert stranger.status_code == 401, stranger.text
