"""Connections that are slow, endless or too many: each is refused, in its turn and in time, over real sockets."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from app.http.body import MAX_DISCARDED
from app.http.server.connection_limits import MAX_HEAD, MAX_HEADERS, MAX_PIPELINED
from tests.chaos.parts import paused
from tests.http.shapes import assert_problem
from tests.http.wire import CLOSE, chunks, exchange, read_responses, request
from tests.service import Service, serving
from tests.waiting import LIMIT, wait_until

GOOD = b'{"text":"good film"}'
CONNECTIONS = 4


@pytest.fixture(scope="module")
def service(tiny_store: Path) -> Iterator[Service]:
    """One worker with as much patience as a busy machine may need."""
    patience = dict.fromkeys(("head_timeout", "body_timeout", "keep_alive_timeout"), "60")
    with serving(tiny_store, workers="1", log_level="debug", max_connections=str(CONNECTIONS), **patience) as running:
        yield running
        assert "Traceback" not in running.output.read_text()


@pytest.fixture(scope="module")
def hasty(tiny_store: Path) -> Iterator[Service]:
    """One worker with little patience."""
    patience = {"head_timeout": "0.5", "body_timeout": "0.5", "keep_alive_timeout": "0.5"}
    with serving(tiny_store, workers="1", log_level="debug", **patience) as running:
        yield running
        assert "Traceback" not in running.output.read_text()


@pytest.fixture(autouse=True)
def still_right(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each of these, the service answers as before."""
    used = request.getfixturevalue("hasty" if "hasty" in request.fixturenames else "service")
    yield
    # Connections that have ended are counted for a moment, and this client may be slow itself.
    wait_until(lambda: httpx.post(f"{used.url}/classify", content=GOOD).status_code == 200)


def connect(service: Service) -> socket.socket:
    address = urlsplit(service.url)
    assert address.hostname
    assert address.port
    return socket.create_connection((address.hostname, address.port), LIMIT)


def drip(connection: socket.socket, data: bytes) -> None:
    """Send one byte at a time until all is sent or nobody wants more."""
    with suppress(ConnectionError):
        for byte in data:
            connection.sendall(bytes([byte]))
            time.sleep(0.05)


def only(responses: list[httpx.Response]) -> httpx.Response:
    [response] = responses
    assert response.headers["connection"] == "close"
    return response


@pytest.mark.parametrize("start", [b"", b"GET /health/live HTTP/1.1\r\nHost: a\r\n"])
def test_an_endless_header_is_refused(service: Service, start: bytes) -> None:
    """A header that does not end gets 431 as a problem, and the connection ends."""
    with connect(service) as connection:
        connection.sendall(start or b"GET /health/live HTTP/1.1\r\nHost: a\r\nX-Long: ")
        with suppress(ConnectionError):
            connection.sendall(b"X-Long: " + b"x" * (MAX_HEAD + 1))
        assert_problem(only(read_responses(connection)), 431, "header_too_large")


def test_a_head_that_is_too_large_but_whole(service: Service) -> None:
    """It is refused also where it arrives in one piece, its end included."""
    with connect(service) as connection:
        connection.sendall(request(b"X-A: " + b"a" * (MAX_HEAD + 1), body=GOOD))
        assert_problem(only(read_responses(connection)), 431, "header_too_large")


@pytest.mark.parametrize(("number", "status"), [(MAX_HEADERS - 3, 200), (10_000, 431)])
def test_a_flood_of_headers(service: Service, number: int, status: int) -> None:
    """There may be so many headers, however short."""
    [response] = exchange(service.url, request(CLOSE, *[b"a: b"] * number, body=GOOD))
    assert response.status_code == status


@pytest.mark.parametrize(
    "tail", [b"X-A: " + b"a" * 3 * MAX_HEAD, b"x: y\r\n" * MAX_HEAD], ids=["one endless", "endlessly many"]
)
def test_a_flood_of_trailers(service: Service, tail: bytes) -> None:
    """What follows a body in chunks is bounded as what precedes it."""
    head = request(b"Transfer-Encoding: chunked", body=b"", length=False)
    with connect(service) as connection, suppress(ConnectionError):
        connection.sendall(head + chunks(GOOD)[:-2])
        for start in range(0, len(tail), 1000):
            connection.sendall(tail[start : start + 1000])
        assert_problem(only(read_responses(connection)), 431, "header_too_large")


def test_trailers_are_no_headers(service: Service) -> None:
    """A trailer cannot change how a request is treated."""
    head = request(CLOSE, b"Transfer-Encoding: chunked", body=b"", length=False)
    [response] = exchange(service.url, head + chunks(GOOD)[:-2] + b"X-Timeout-Seconds: nonsense\r\n\r\n")
    assert response.status_code == 200


def test_a_long_body_is_no_long_head(service: Service) -> None:
    """Bodies far beyond the bound on heads are served, also when several requests arrive in one piece."""
    body = json.dumps({"texts": ["good film " * 9000] * 9}).encode()
    assert len(body) > 4 * MAX_HEAD
    responses = exchange(service.url, request(body=body) * 3 + request(CLOSE, body=body))
    assert [response.status_code for response in responses] == [200] * 4


@pytest.mark.parametrize("data", [b"POST /classify HTT", b"POST /classify HTTP/1.1\r\nHost: a\r\nX-A: b\r\n"])
@pytest.mark.parametrize("dripping", [False, True])
def test_a_slow_head(hasty: Service, data: bytes, dripping: bool) -> None:
    """A head that is not complete in time is answered 408, whether nothing more of it comes or very little."""
    with connect(hasty) as connection:
        if dripping:
            drip(connection, data * 3)
        else:
            connection.sendall(data)
        assert_problem(only(read_responses(connection)), 408, "request_timeout")


@pytest.mark.parametrize("dripping", [False, True])
@pytest.mark.parametrize(
    ("path", "announced"),
    [("/classify", b"Content-Length: 80"), ("/classify", b"Transfer-Encoding: chunked")],
)
def test_a_slow_body(hasty: Service, path: str, announced: bytes, dripping: bool) -> None:
    """So is a body, in every framing, past ASGI too."""
    with connect(hasty) as connection:
        connection.sendall(request(announced, start=f"POST {path} HTTP/1.1".encode(), length=False))
        if dripping:
            drip(connection, b"28\r\n" + b" " * 40)
        assert_problem(only(read_responses(connection)), 408, "request_timeout")


@pytest.mark.parametrize("start", [b"POST /health/live HTTP/1.1", b"PUT /files HTTP/1.1"])
def test_a_slow_body_that_nobody_waits_for(hasty: Service, start: bytes) -> None:
    """Who had an answer cannot hold the connection by the rest of a body, a file's neither."""
    with connect(hasty) as connection:
        head = request(b"Content-Length: 500", start=start, length=False)
        connection.sendall(head)
        drip(connection, b" " * 60)
        [response] = read_responses(connection)
        assert response.status_code == 405


@pytest.mark.parametrize("data", [b"", b"\r\n", request(body=GOOD) + b"\r\n"], ids=["nothing", "empty line", "used"])
def test_an_idle_connection_ends(hasty: Service, data: bytes) -> None:
    """A connection on which no request begins is closed without a word, empty lines or not."""
    with connect(hasty) as connection:
        connection.sendall(data)
        assert len(read_responses(connection)) == (1 if len(data) > 2 else 0)


def test_a_refused_body_that_never_arrives(hasty: Service) -> None:
    """413 needs no body, and the connection does not wait for it for long."""
    [response] = exchange(hasty.url, request(b"Content-Length: 999999999", length=False))
    assert_problem(response, 413, "body_too_large")


def test_who_does_not_read(hasty: Service) -> None:
    """A client that asks and does not take its answers loses its connection, not the service its memory."""
    large = request(start=b"GET /docs/assets/swagger-ui-bundle.js HTTP/1.1")
    with connect(hasty) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(large * MAX_PIPELINED)
        with suppress(ConnectionError):
            for _ in range(600):
                connection.sendall(b"\r\n")
                time.sleep(0.1)
            pytest.fail("never lost")


def test_too_many_pipelined_requests(service: Service) -> None:
    """Those that may wait are answered, then the flood is refused, in this order."""
    data = request(start=b"GET /models HTTP/1.1") * 1000
    with connect(service) as connection, suppress(ConnectionError):
        connection.sendall(data)
        responses = read_responses(connection)
    statuses = [response.status_code for response in responses]
    assert statuses == [200] * (MAX_PIPELINED + 1) + [429]
    assert_problem(responses[-1], 429, "too_many_pipelined")


@pytest.mark.parametrize("tail", [b"\x00\x01\x02", b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nbad header\r\n\r\n"])
def test_rubbish_behind_requests_is_refused_behind_their_answers(service: Service, tail: bytes) -> None:
    """An answer is never taken for that of an earlier request."""
    first = request(start=b"GET /models HTTP/1.1")
    responses = exchange(service.url, first + request(body=b'{"texts":["good film"]}') + tail)
    assert [response.status_code for response in responses] == [200, 200, 400]
    assert_problem(responses[-1], 400, "bad_request")


@pytest.mark.parametrize("body", [b"zz\r\n", b"5\r\nabc"])
def test_a_bad_body_behind_a_request(hasty: Service, body: bytes) -> None:
    """So it is for a request whose head was good: 400 or 408, behind the answer to the one before."""
    second = request(b"Transfer-Encoding: chunked", body=body, length=False)
    responses = exchange(hasty.url, request(start=b"GET /models HTTP/1.1") + second)
    assert [response.status_code for response in responses] in ([200, 400], [200, 408])


@pytest.mark.parametrize("headers", [[b"Upgrade: h2c"], [b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"]])
def test_upgrades_are_ignored(service: Service, headers: list[bytes]) -> None:
    """A request that offers another protocol is answered in this one, its body is read, and others may follow it,
    whether they arrive in one piece or in many."""
    offer = request(b"Connection: Upgrade", *headers, body=GOOD)
    whole = exchange(service.url, (offer + request(body=GOOD)) * 19 + offer + request(CLOSE, body=GOOD))
    assert [response.status_code for response in whole] == [200] * 40
    offered = offer + request(CLOSE, body=GOOD)
    with connect(service) as connection:
        for start in range(0, len(offered), 7):
            connection.sendall(offered[start : start + 7])
        assert [response.status_code for response in read_responses(connection)] == [200, 200]


def final(responses: list[httpx.Response]) -> list[int]:
    """Statuses of what is not an interim response."""
    return [response.status_code for response in responses if response.status_code >= 200]


LIST = b'{"texts":["good film","dull film"]}'
HALF = {
    "one text": [request(body=GOOD)],
    "new texts": [request(body=b'{"text":"good film %d"}' % number) for number in range(3)],
    "a list": [request(body=LIST)],
    "in chunks": [request(b"Transfer-Encoding: chunked", body=chunks(LIST), length=False)],
    "an upgrade offered": [request(b"Connection: Upgrade", b"Upgrade: h2c", body=LIST)],
    "a file": [request(CLOSE, start=b"POST /files?format=csv HTTP/1.1", body=b"text\n" + b"good film\n" * 500)],
    "a slow question": [request(start=b"GET /models HTTP/1.1")],
    "several in a row": [request(body=LIST), request(start=b"GET /models HTTP/1.1"), request(body=GOOD)],
    "http/1.0": [request(start=b"POST /classify HTTP/1.0", body=LIST)],
}


@pytest.mark.parametrize("requests", HALF.values(), ids=HALF.keys())
def test_who_sends_no_more_is_answered(service: Service, requests: list[bytes]) -> None:
    """A client may close its sending side behind its last request (RFC 9112, section 9.6); then the server closes."""
    assert final(exchange(service.url, b"".join(requests), leave=True)) == [200] * len(requests)


@pytest.mark.parametrize("half", [request(body=GOOD)[:-3], request(body=LIST)[:30], b"\0\r\n\r\n"])
def test_half_a_request_behind_whole_ones(service: Service, half: bytes) -> None:
    """Those are answered; of the half one nothing is, but that it is none."""
    whole = request(start=b"GET /models HTTP/1.1") + request(body=LIST)
    statuses = final(exchange(service.url, whole + half, leave=True))
    assert statuses == [200, 200, *([400] if half[:1] == b"\0" else [])]


@pytest.mark.parametrize("data", [GOOD, LIST], ids=["one text", "a list"])
def test_who_sends_no_more_and_waits(service: Service, data: bytes) -> None:
    """It may take the service long; an interim response finds out whether the client is still there."""
    with connect(service) as connection:
        with paused(service.children("engine")[0]):
            connection.sendall(request(body=data.replace(b"film", b"film that waits")))
            connection.shutdown(socket.SHUT_WR)
            received = connection.recv(65_536)
            assert received.startswith(b"HTTP/1.1 100 Continue\r\n")
        assert final(read_responses(connection, received)) == [200]


@pytest.mark.parametrize("data", [GOOD, LIST], ids=["one text", "a list"])
def test_who_has_gone_is_not_waited_for(service: Service, data: bytes) -> None:
    """Its request is given up before the engine comes to it."""
    with paused(service.children("engine")[0]):
        with connect(service) as connection:
            connection.sendall(request(body=data.replace(b"film", b"film that nobody waits for")))
            wait_until(lambda: service.metrics()["sentiment_requests_in_flight"] == 2)  # the scrape is one too
        wait_until(lambda: service.metrics()["sentiment_requests_in_flight"] == 1)


def test_what_follows_a_refusal_is_not_read_for_long(hasty: Service) -> None:
    """Nor what follows an answer that did not wait for its body: the sender is stopped."""
    for first in (b"\0\r\n\r\n", request(b"Transfer-Encoding: chunked", start=b"POST /models HTTP/1.1", length=False)):
        sent, piece = 0, b"%x\r\n%b\r\n" % (1 << 20, b"a" * (1 << 20))
        with connect(hasty) as connection, suppress(ConnectionError):
            connection.sendall(first)
            while sent < 100 * MAX_DISCARDED:
                sent += connection.send(piece)
        assert sent < 2 * MAX_DISCARDED


def test_too_many_connections(service: Service) -> None:
    """Those beyond the limit are told so; probes and metrics are answered; later there is room again."""
    with ExitStack() as stack:
        busy = [stack.enter_context(connect(service)) for _ in range(CONNECTIONS)]
        for connection in busy:
            connection.sendall(request(start=b"GET /health/live HTTP/1.1"))
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")
        response = httpx.post(f"{service.url}/classify", content=GOOD)
        assert_problem(response, 503, "too_many_connections")
        assert response.headers["connection"] == "close"
        for path in ("/health/live", "/health/ready", "/metrics"):
            assert httpx.get(f"{service.url}{path}").status_code == 200
    assert service.metrics()['sentiment_rejected_total{reason="too_many_connections"}'] >= 1
