"""Whatever bytes arrive at a real server, it answers or closes the connection, and goes on answering others."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.http.raw_requests import GOOD, LIMIT, ROWS, Row, chunked, post, sized
from tests.http.shapes import assert_problem
from tests.http.test_bad_input import BAD, Bad
from tests.http.wire import CLOSE, chunks, exchange, read_responses, request
from tests.service import Service, serving


@pytest.fixture(scope="module")
def service(tiny_store: Path) -> Iterator[Service]:
    """One worker with the limits that the shared table of bad bodies is about."""
    with serving(tiny_store, workers="1", max_texts="10", max_characters="100", max_body=str(LIMIT)) as running:
        yield running
        output = running.output.read_text()
        assert "Traceback" not in output
        assert "unhandled error" not in output


@pytest.fixture(scope="module")
def right(service: Service) -> dict[str, float]:
    """The scores of ``GOOD``."""
    scores: dict[str, float] = httpx.post(f"{service.url}/classify", content=GOOD).json()["scores"]
    return scores


def one(service: Service, row: Row) -> tuple[httpx.Response, bool]:
    """The first response to some bytes, and whether the connection answers another request after that."""
    address = urlsplit(service.url)
    with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=60) as connection:
        connection.sendall(row.data)
        received = connection.recv(65_536)
        while b"\r\n\r\n" not in received or not _whole(received):
            received += connection.recv(65_536)
        with suppress(ConnectionError):
            connection.sendall(request(CLOSE, start=b"GET /health/live HTTP/1.1"))
        first, *others = read_responses(connection, received)
    return first, [response.status_code for response in others] == [200]


def _whole(received: bytes) -> bool:
    head, _, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    return length is not None and len(body) >= int(length[1])


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_raw_requests(service: Service, row: Row, right: dict[str, float]) -> None:
    """Each has its one status, refusals have the shape of every error, what is said of the connection is true, and the
    next request is answered right."""
    response, kept = one(service, row)
    assert response.status_code == row.status, response.text
    assert (kept, response.headers.get("connection") == "close") == (row.kept, not row.kept)
    [after] = exchange(service.url, closing())
    assert after.status_code == 200
    assert after.json()["scores"] == right
    if row.code:
        assert_problem(response, row.status, row.code)
    if row.status == 405:
        assert response.headers["allow"] == "POST"


def closing(
    *headers: bytes, body: bytes = GOOD, length: bool = True, start: bytes = b"POST /classify HTTP/1.1"
) -> bytes:
    """The last request on its connection."""
    return post(CLOSE, *headers, body=body, length=length, start=start)


# Exclamation and question marks are words of the tiny vocabulary, and the limit of 413 is another one there.
REAL = {name: bad for name, bad in BAD.items() if name not in ("only punctuation", "body too large")}


@pytest.mark.parametrize("bad", REAL.values(), ids=REAL.keys())
def test_bad_bodies_against_everything_real(service: Service, bad: Bad) -> None:
    """Server, classifier and tokenizer explain the same mistakes as the HTTP layer alone does."""
    headers = {"content-type": "application/json", **bad.headers}
    response = httpx.post(f"{service.url}/classify", content=bad.body, headers=headers)
    assert bad.names in assert_problem(response, bad.status, bad.code)["detail"]


def test_odd_texts_beside_good_ones(service: Service) -> None:
    """Each odd text has its own answer or error, and the good ones around it are answered."""
    odd = {
        "\0": "no_words",
        "😀👍🏽": "no_words",
        "\u202e\u200f": "no_words",
        "\u0301\u0301": "no_words",
        "\ufeff": "no_words",
        "x" * 101: "text_too_long",
        "\u2003\n": "blank_text",
        "סרט נהדר": "",
        "e\u0301" * 50: "",
        "good\0film": "",
        "\U0010ffff film": "",
        "ﬁlm １０": "",
    }
    texts = [text for strange in odd for text in ("good film", strange)][:20]
    for part in (texts[:10], texts[10:], [*list(odd)[10:], "good film"]):
        response = httpx.post(f"{service.url}/classify", json={"texts": part})
        assert response.status_code == 200, response.text
        found = [entry.get("error", {}).get("code", "") for entry in response.json()["results"]]
        assert found == [odd.get(text, "") for text in part]


def test_a_megabyte_without_spaces(tiny_store: Path) -> None:
    """One endless word is one token, whatever letters it has; a body of escapes is as good as one of letters."""
    with serving(tiny_store, workers="1", max_characters="1000000") as service:
        for letter in ("a", "é", "字", "e\u0301"):
            text = letter * (1_000_000 // len(letter))
            for escaped in (True, False):
                body = json.dumps({"text": text}, ensure_ascii=escaped).encode()
                response = httpx.post(f"{service.url}/classify", content=body, timeout=60)
                assert response.status_code == 200, response.text
                assert response.json()["tokens"] >= 1


def test_head_has_no_body(service: Service) -> None:
    """An error to HEAD is headers only."""
    [response] = exchange(service.url, closing(start=b"HEAD /classify HTTP/1.1"))
    assert response.status_code == 405
    assert response.content == b""


def test_head_is_answered_wherever_get_is(service: Service) -> None:
    """By the same status and headers (RFC 9110, section 9.3.2), and by no body."""
    paths: dict[str, dict[str, object]] = httpx.get(f"{service.url}/openapi.json").json()["paths"]
    known = [path.format(name="tiny", version=1) for path, operations in paths.items() if "get" in operations]
    assert {"/", "/health/ready", "/metrics", "/v1/models", "/v2"} <= set(known)
    for target in (*known, "/docs", "/openapi.json", "/page/page.js", "/docs/assets/swagger-ui.css", "/nothing"):
        asked = f"{target} HTTP/1.1".encode()
        [whole] = exchange(service.url, request(CLOSE, start=b"GET " + asked))
        [head] = exchange(service.url, request(CLOSE, start=b"HEAD " + asked))
        assert (head.status_code, head.content) == (whole.status_code, b""), target
        for headers in (whole.headers, head.headers):
            del headers["x-request-id"], headers["date"]
            if target == "/metrics":
                assert int(headers.pop("content-length")) > 1000
        assert head.headers == whole.headers, target


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (closing(), 200),
        (closing(b"X-Timeout-Seconds: 5"), 200),
        (closing(body=b'{"text":""}'), 422),
        (closing(start=b"GET /nothing HTTP/1.1"), 404),
        (closing(start=b"GET /health/live HTTP/1.1"), 200),
        (b"rubbish\r\n\r\n", 400),
    ],
    ids=["one text", "deadline", "refused text", "unknown path", "probe", "no request"],
)
def test_every_answer_says_when(service: Service, data: bytes, status: int) -> None:
    """Once, as RFC 9110 (sections 5.6.7 and 6.6.1) asks of a server with a clock, and by that clock."""
    [response] = exchange(service.url, data)
    assert response.status_code == status
    [date] = response.headers.get_list("date")
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", date)
    assert abs(parsedate_to_datetime(date).timestamp() - time.time()) < 60


def test_expected_continue(service: Service) -> None:
    """A client that asks before it sends is told to go on."""
    interim, final = exchange(service.url, closing(b"Expect: 100-continue"))
    assert (interim.status_code, final.status_code) == (100, 200)


def test_pipelined_requests_are_answered_in_order(service: Service) -> None:
    """Requests sent without waiting get their own answers, bad ones among them, on the same connection."""
    bodies = [GOOD, b"nonsense", b'{"text":"awful film"}', b'{"text":""}', GOOD]
    data = b"".join(request(b"X-Request-ID: r%d" % number, body=body) for number, body in enumerate(bodies))
    responses = exchange(service.url, data + closing())
    assert [response.status_code for response in responses] == [200, 422, 200, 422, 200, 200]
    assert [response.headers["x-request-id"] for response in responses[:5]] == ["r0", "r1", "r2", "r3", "r4"]
    assert responses[0].json()["scores"] == responses[4].json()["scores"] != responses[2].json()["scores"]


def test_what_follows_a_body_longer_than_said_is_not_believed(service: Service) -> None:
    """The surplus is no request; it costs its sender the connection."""
    responses = exchange(service.url, request(body=GOOD) + b"surplus\r\n\r\n")
    assert responses[-1].status_code == 400


@pytest.mark.parametrize("data", [sized(b" 5000"), chunked(chunks(GOOD)[:-5]), closing()[:30], closing()[:-1], b""])
def test_a_client_that_stops_in_the_middle(service: Service, data: bytes) -> None:
    """Half a request gets no answer, and its connection ends."""
    assert exchange(service.url, data, leave=True) == []


@pytest.mark.parametrize("sent", [b"a b", b"a" * 129, b'"', b"\xe9", b""])
def test_a_strange_request_id_is_replaced(service: Service, sent: bytes) -> None:
    """What comes back is an id of the service's own."""
    [response] = exchange(service.url, closing(b"X-Request-ID: " + sent))
    assert re.fullmatch(r"[0-9a-f]{12}-[0-9a-f]+", response.headers["x-request-id"])


def test_a_request_id_in_refusals_of_the_connection(service: Service) -> None:
    """Each has one of its own, and is counted."""
    before = service.metrics().get('sentiment_rejected_total{reason="bad_request"}', 0)
    found = {exchange(service.url, b"\x00\r\n\r\n")[0].headers["x-request-id"] for _ in range(3)}
    assert len(found) == 3
    assert service.metrics()['sentiment_rejected_total{reason="bad_request"}'] == before + 3


def test_rubbish_is_no_line_in_the_log(service: Service) -> None:
    """Who sends it could otherwise fill a disk."""
    before = service.output.read_text()
    for data in (b"\x00\r\n\r\n", closing(b"Connection: Upgrade", b"Upgrade: h2c"), closing(body=b"{")):
        exchange(service.url, data)
    assert service.output.read_text() == before
