"""An open-loop load: requests leave when they are due, whether or not earlier ones were answered, and each is judged.

Open, because clients that wait for answers slow down with the service and so hide what it does under overload; latency
counts from the moment a request was due.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

import httptools

PATIENCE = 45.0
"""Seconds after which a request counts as one without an answer: longer than every deadline."""

_IDLE_SECONDS = 2.0
REFUSALS = {429, 503, 504}


class ClosedError(Exception):
    """The connection was closed, or not to be had, before there was a whole response."""


@dataclass
class Answer:
    """One response."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Connection(asyncio.Protocol):
    """A connection with one request at a time."""

    def __init__(self) -> None:
        self.idle_since = 0.0
        self.transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._answer = Answer()
        self._waiting: asyncio.Future[Answer] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(ClosedError())

    def on_header(self, name: bytes, value: bytes) -> None:
        self._answer.headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self._answer.body += body

    def on_message_complete(self) -> None:
        self._answer.status = self._parser.get_status_code()
        answer, self._answer = self._answer, Answer()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(answer)

    @property
    def usable(self) -> bool:
        """Whether another request may go out on it."""
        fresh = time.monotonic() - self.idle_since < _IDLE_SECONDS
        return fresh and self.transport is not None and not self.transport.is_closing()

    async def exchange(self, request: bytes) -> Answer:
        """Send a request and wait for the response.

        Raises:
            ClosedError: the connection ended first.
            TimeoutError: no response within ``PATIENCE``.
        """
        if self.transport is None:
            raise ClosedError
        self._waiting = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await asyncio.wait_for(self._waiting, PATIENCE)


class Client:
    """Requests over as many connections as it takes.

    Args:
        url: address of the service.
    """

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        assert address.hostname
        assert address.port
        self._host, self._port = address.hostname, address.port
        self._idle: list[Connection] = []

    async def connect(self) -> Connection:
        """A new connection.

        Raises:
            ClosedError: not to be had.
        """
        try:
            _, connection = await asyncio.get_running_loop().create_connection(Connection, self._host, self._port)
        except OSError as error:
            raise ClosedError from error
        return connection

    async def send(self, request: bytes) -> Answer:
        """One request and its response. See ``Connection.exchange``."""
        connection = None
        while self._idle and connection is None:
            candidate = self._idle.pop()
            connection = candidate if candidate.usable else None
            if connection is None and candidate.transport is not None:
                candidate.transport.close()
        connection = connection or await self.connect()
        answer = await connection.exchange(request)
        if answer.headers.get("connection") != "close":
            connection.idle_since = time.monotonic()
            self._idle.append(connection)
        return answer

    async def get(self, path: str, *headers: str) -> Answer:
        """GET a path."""
        return await self.send("\r\n".join([f"GET {path} HTTP/1.1", "Host: t", *headers, "", ""]).encode())

    def close(self) -> None:
        """Close all idle connections."""
        for connection in self._idle:
            if connection.transport is not None:
                connection.transport.close()
        self._idle.clear()


def classify_request(document: Mapping[str, Any] | bytes, *headers: str) -> bytes:
    """The bytes of a ``POST /classify`` with a document, or with the JSON of one."""
    return post_request("/classify", document, *headers)


def post_request(path: str, document: Mapping[str, Any] | bytes, *headers: str) -> bytes:
    """The bytes of a POST with a document, or with the JSON of one."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: t", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request.

    Attributes:
        due: ``time.monotonic()`` when it was to be sent.
        seconds: from then to the response.
        kind: ``right``, ``wrong``, ``refused 503``, ``status 500`` and the like, ``closed``, ``no answer``.
        retry_after: seconds, of a refusal that has it.
    """

    due: float
    seconds: float
    kind: str
    retry_after: float | None = None


class Load:
    """Requests with known answers at a rate, all accounted for.

    Args:
        url: address of the service.
        known: probability of ``positive`` of every text.
        rate: requests per second.
        size: texts per request; one is asked for as ``text``.
        seed: of the choice of texts.
    """

    def __init__(self, url: str, known: Mapping[str, float], rate: float, *, size: int = 1, seed: int = 0) -> None:
        self.outcomes: list[Outcome] = []
        self.client = Client(url)
        self._known = list(known.items())
        # Written once: the load shares its cores with the service, and writing it anew would take part of them.
        self._json = {text: json.dumps(text).encode() for text in known}
        self._rate = rate
        self._size = size
        self._chance = random.Random(seed)
        self._asking: set[asyncio.Task[None]] = set()

    async def run(self, seconds: float) -> None:
        """Offer load for so long, then wait for what is not answered yet."""
        started = time.monotonic()
        for number in range(int(self._rate * seconds)):
            due = started + number / self._rate
            if (pause := due - time.monotonic()) > 0:
                await asyncio.sleep(pause)
            task = asyncio.create_task(self._ask(due, self._chance.choices(self._known, k=self._size)))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)
        await asyncio.gather(*self._asking)
        self.client.close()

    async def _ask(self, due: float, chosen: Sequence[tuple[str, float]]) -> None:
        texts = b",".join(self._json[text] for text, _ in chosen)
        document = b'{"text":%b}' % texts if self._size == 1 else b'{"texts":[%b]}' % texts
        retry_after = None
        try:
            answer = await self.client.send(classify_request(document))
        except ClosedError:
            kind = "closed"
        except TimeoutError:
            kind = "no answer"
        else:
            kind = judge(answer, [expected for _, expected in chosen])
            if "retry-after" in answer.headers:
                retry_after = float(answer.headers["retry-after"])
        self.outcomes.append(Outcome(due, time.monotonic() - due, kind, retry_after))


def judge(answer: Answer, expected: Sequence[float]) -> str:
    """Kind of a response to texts with these known answers. See ``Outcome.kind``."""
    if answer.status in REFUSALS:
        return f"refused {answer.status}"
    if answer.status != 200:
        return f"status {answer.status}"
    document = json.loads(answer.body)
    results = document.get("results", [document])
    if any("error" in result for result in results):
        return "partly " + str(next(result["error"]["status"] for result in results if "error" in result))
    errors = [abs(result["scores"]["positive"] - value) for result, value in zip(results, expected, strict=True)]
    return "right" if max(errors) < 1e-5 else "wrong"


def count(outcomes: Iterable[Outcome]) -> Counter[str]:
    """Outcomes by kind."""
    return Counter(outcome.kind for outcome in outcomes)


def quantile(outcomes: Iterable[Outcome], share: float, kind: str = "right") -> float:
    """Quantile of the seconds of all outcomes of a kind; not a number where there are none."""
    seconds = sorted(outcome.seconds for outcome in outcomes if outcome.kind == kind)
    return seconds[min(len(seconds) - 1, int(share * len(seconds)))] if seconds else float("nan")
