"""Whatever bytes arrive at a real server, it answers or closes the connection, and goes on answering others."""

from __future__ import annotations

import gzip
import json
import re
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.api.shapes import assert_problem
from tests.api.test_bad_input import BAD, Bad
from tests.api.wire import CLOSE, chunks, exchange, request
from tests.service import Service, serving

LIMIT = 200_000
GOOD = b'{"text":"good film"}'
CHUNKED = b"Transfer-Encoding: chunked"


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


def post(*headers: bytes, body: bytes = GOOD, length: bool = True, start: bytes = b"POST /classify HTTP/1.1") -> bytes:
    return request(CLOSE, *headers, start=start, body=body, length=length)


def sized(value: bytes, body: bytes = GOOD) -> bytes:
    """A request that announces the length of its body as told."""
    return post(b"Content-Length:" + value, body=body, length=False)


def chunked(body: bytes, *headers: bytes) -> bytes:
    return post(CHUNKED, *headers, body=body, length=False)


def path(target: bytes) -> bytes:
    return post(start=b"POST %s HTTP/1.1" % target)


class Odd(NamedTuple):
    data: bytes
    status: int
    code: str = ""
    """Code of the problem document; empty for an answer."""


NOT_HTTP = {
    "nul bytes": b"\x00\x01\x02\x03\r\n\r\n",
    "a tls greeting": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 100,
    "http/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "bare line feeds": post().replace(b"\r\n", b"\n"),
    "method in small letters": post(start=b"post /classify HTTP/1.1"),
    "invented method": post(start=b"BREW /classify HTTP/1.1"),
    "no target": post(start=b"POST  HTTP/1.1"),
    "space in target": path(b"/classify /b"),
    "raw byte in target": path(b"/\xff"),
    "no version": post(start=b"POST /classify "),
    "invented version": post(start=b"POST /classify HTTP/9.9"),
    "version in small letters": post(start=b"POST /classify http/1.1"),
    "header without colon": post(b"XA"),
    "header without name": post(b": b"),
    "header name not ascii": post("é: b".encode()),
    "space before colon": post(b"X-A : b"),
    "nul in a header": post(b"X-A: a\0b"),
    "folded header": post(b"X-A: b\r\n c"),
    "length hidden behind a line feed": post(b"X-A: b\nContent-Length: 0"),
    "length hidden behind a return": post(b"X-A: b\rContent-Length: 0"),
    "negative length": sized(b" -5"),
    "length of letters": sized(b" abc"),
    "length with a sign": sized(b" +20"),
    "hexadecimal length": sized(b" 0x14"),
    "empty length": sized(b" ", b""),
    "length beyond 64 bits": sized(b" 99999999999999999999"),
    "list of lengths": sized(b" 20, 20"),
    "two lengths": sized(b" 20\r\nContent-Length: 5"),
    "length and chunks": chunked(chunks(GOOD), b"Content-Length: 20"),
    "unknown transfer coding": post(b"Transfer-Encoding: xchunked", body=chunks(GOOD), length=False),
    "chunked not last": post(b"Transfer-Encoding: chunked, gzip", body=chunks(GOOD), length=False),
    "chunk size of letters": chunked(b"zz\r\n"),
    "negative chunk size": chunked(b"-1\r\n"),
    "chunk size beyond 64 bits": chunked(b"fffffffffffffffff\r\n"),
    "chunk longer than said": chunked(b"14\r\n" + GOOD + b"x0\r\n\r\n"),
}

ODD = {
    **{name: Odd(data, 400, "bad_request") for name, data in NOT_HTTP.items()},
    "length 0": Odd(sized(b" 0", b""), 422, "invalid_json"),
    "no length": Odd(post(body=b"", length=False), 422, "invalid_json"),
    "no chunks": Odd(chunked(chunks()), 422, "invalid_json"),
    "length too short": Odd(sized(b" 5"), 422, "invalid_json"),
    "upgrade to http/2": Odd(post(b"Upgrade: h2c", b"HTTP2-Settings: AAMA"), 200),
    "compressed and unannounced": Odd(post(body=gzip.compress(GOOD)), 422, "invalid_json"),
    "compressed": Odd(post(b"Content-Encoding: gzip", body=gzip.compress(GOOD)), 415, "unsupported_encoding"),
    "deflate": Odd(post(b"Content-Encoding: deflate"), 415, "unsupported_encoding"),
    "two encodings": Odd(post(b"Content-Encoding: identity, gzip"), 415, "unsupported_encoding"),
    "form": Odd(post(b"Content-Type: application/x-www-form-urlencoded"), 415, "unsupported_media_type"),
    "two content types": Odd(
        post(b"Content-Type: application/json", b"Content-Type: text/plain"), 415, "unsupported_media_type"
    ),
    "content type not ascii": Odd(post(b"Content-Type: \xe9"), 415, "unsupported_media_type"),
    "utf-16": Odd(
        post(b"Content-Type: application/json; charset=utf-16", body=GOOD.decode().encode("utf-16")),
        415,
        "unsupported_media_type",
    ),
    **{
        f"content type {value.decode()}": Odd(post(b"Content-Type: " + value), 415, "unsupported_media_type")
        for value in (
            b"application/json; charset=latin-1",
            b'application/json;version=1; CHARSET="utf-16"',
            b"application/json, text/plain",
            b"application",
            b"json",
            b"text/json",
            b"application/jsonl",
            b"*/*",
            b"a" * 10_000,
        )
    },
    **{
        f"encoding {value.decode()}": Odd(post(b"Content-Encoding: " + value), 415, "unsupported_encoding")
        for value in (b"br", b"zstd", b"compress", b"x-gzip", b"gzip, gzip", b"aes128gcm", b"nonsense")
    },
    "two encoding headers": Odd(
        post(b"Content-Encoding: identity", b"Content-Encoding: gzip"), 415, "unsupported_encoding"
    ),
    "length over the limit": Odd(sized(b" %d" % (LIMIT + 1), b"a" * (LIMIT + 1)), 413, "body_too_large"),
    "chunks over the limit": Odd(chunked(chunks(*[b"a" * 1000] * (LIMIT // 1000 + 1))), 413, "body_too_large"),
    **{
        f"timeout {value!r}": Odd(post(b"X-Timeout-Seconds: " + value), 422, "invalid_header")
        for value in (
            *(
                b"\xb2",
                "\u0661".encode(),
                "\uff11".encode(),
                b"1_0",
                b"1__0",
                b"nan",
                b"NaN",
                b"inf",
                b"-inf",
                b"infinity",
            ),
            *(
                b"1e400",
                b"1e-400",
                b"1e9999999999",
                b"0x10",
                b"0b1",
                b"+5",
                b"-5",
                b"-0",
                b".5",
                b"5.",
                b"05",
                b"1 0",
                b"1,5",
            ),
            *(b"'5'", b"5s", b"0", b"0.0", b"1000000001", b"9" * 5000, b"true", b"null", b"1e", b"1e5e5"),
        )
    },
    "two timeouts": Odd(post(b"X-Timeout-Seconds: 5", b"X-Timeout-Seconds: 5"), 422, "invalid_header"),
    "one timeout in two": Odd(post(b"X-Timeout-Seconds: 5, 5"), 422, "invalid_header"),
    "deeply nested object": Odd(post(body=b'{"text":' * 20_000 + b"1" + b"}" * 20_000), 422, "invalid_json"),
    "deeply nested where text belongs": Odd(
        post(body=b'{"text":' + b"[" * 150 + b"]" * 150 + b"}"), 422, "invalid_request"
    ),
    "huge exponent": Odd(post(body=b'{"text":1e999999999}'), 422, "invalid_request"),
    "huge integer": Odd(post(body=b'{"texts":[' + b"9" * 4000 + b"]}"), 422, "invalid_request"),
    "same field a thousand times": Odd(
        post(body=b"{" + b",".join([b'"text":"good film"'] * 1000) + b"}"), 422, "invalid_request"
    ),
    "null beside texts": Odd(post(body=b'{"text":null,"texts":["good film"]}'), 422, "invalid_request"),
    "prototype": Odd(post(body=b'{"__proto__":{"text":"a"},"text":"good film"}'), 422, "invalid_request"),
    **{
        f"{method} on /classify": Odd(post(start=f"{method} /classify HTTP/1.1".encode()), 405, "method_not_allowed")
        for method in ("GET", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "PROPFIND")
    },
    **{
        f"path {target[:20]!r}": Odd(path(target), 404, "not_found")
        for target in (
            b"/classify/",
            b"//classify",
            b"/Classify",
            b"/classify%00",
            b"/../classify",
            b"/%ff",
            b"/a%zz",
            b"/a%0d%0aX:%20y",
            b"*",
            b"/" + b"a" * 60_000,
        )
    },
    "http/1.0": Odd(post(start=b"POST /classify HTTP/1.0"), 200),
    "absolute target": Odd(path(b"http://elsewhere/classify"), 200),
    "escaped target": Odd(path(b"/%63lassify"), 200),
    "query": Odd(path(b"/classify?text=%00&texts"), 200),
    "no host": Odd(post().replace(b"Host: t\r\n", b""), 200),
    "empty line first": Odd(b"\r\n" + post(), 200),
    "two hundred headers": Odd(post(*[b"X-%d: a" % number for number in range(200)]), 200),
    "a thousand headers": Odd(post(*[b"X-%d: a" % number for number in range(1000)]), 431, "header_too_large"),
    "the same header two hundred times": Odd(post(*[b"X-Request-ID: a"] * 200), 200),
    "a head beyond the bound": Odd(post(b"X-A: " + b"a" * 70_000), 431, "header_too_large"),
    "a target beyond the bound": Odd(path(b"/" + b"a" * 70_000), 431, "header_too_large"),
    "timeout as json has numbers": Odd(post(b"X-Timeout-Seconds: 2.5e1"), 200),
    "charset in capitals": Odd(post(b'Content-Type: application/json; charset="UTF-8"'), 200),
    "a long header": Odd(post(b"X-A: " + b"a" * 16_000), 200),
    "header not ascii": Odd(post(b"X-A: \xe9\xff"), 200),
    "content type without value": Odd(post(b"Content-Type:"), 200),
    "spaces around the length": Odd(sized(b"   20  "), 200),
    "chunk extension": Odd(chunked(b"14;a=b\r\n" + GOOD + b"\r\n0\r\n\r\n"), 200),
    "trailers": Odd(chunked(chunks(GOOD)[:-2] + b"X-A: b\r\n\r\n"), 200),
    "chunks of one byte": Odd(chunked(chunks(*(bytes([byte]) for byte in GOOD))), 200),
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
def test_odd_requests(service: Service, odd: Odd, right: dict[str, float]) -> None:
    """Each has its one status, refusals have the shape of every error, and the next request is answered right."""
    response = exchange(service.url, odd.data)[0]
    assert response.status_code == odd.status, response.text
    [after] = exchange(service.url, post())
    assert after.status_code == 200
    assert after.json()["scores"] == right
    if odd.code:
        assert_problem(response, odd.status, odd.code)
    if odd.status == 405:
        assert response.headers["allow"] == "POST"


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
                response = httpx.post(f"{service.url}/classify", content=body, timeout=30)
                assert response.status_code == 200, response.text
                assert response.json()["tokens"] >= 1


def test_head_has_no_body(service: Service) -> None:
    """An error to HEAD is headers only."""
    [response] = exchange(service.url, post(start=b"HEAD /classify HTTP/1.1"))
    assert response.status_code == 405
    assert response.content == b""


def test_head_is_answered_wherever_get_is(service: Service) -> None:
    """By the same status and headers (RFC 9110, section 9.3.2), and by no body."""
    paths: dict[str, dict[str, object]] = httpx.get(f"{service.url}/openapi.json").json()["paths"]
    known = [path.format(name="tiny", version=1) for path, operations in paths.items() if "get" in operations]
    assert {"/", "/health/ready", "/metrics", "/models", "/v2"} <= set(known)
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
        (post(), 200),
        (post(b"X-Timeout-Seconds: 5"), 200),
        (post(body=b'{"text":""}'), 422),
        (post(start=b"GET /nothing HTTP/1.1"), 404),
        (post(start=b"GET /health/live HTTP/1.1"), 200),
        (b"rubbish\r\n\r\n", 400),
    ],
    ids=["fast path", "application", "refused text", "unknown path", "probe", "no request"],
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
    interim, final = exchange(service.url, post(b"Expect: 100-continue"))
    assert (interim.status_code, final.status_code) == (100, 200)


def test_pipelined_requests_are_answered_in_order(service: Service) -> None:
    """Requests sent without waiting get their own answers, bad ones among them, on the same connection."""
    bodies = [GOOD, b"nonsense", b'{"text":"awful film"}', b'{"text":""}', GOOD]
    data = b"".join(request(b"X-Request-ID: r%d" % number, body=body) for number, body in enumerate(bodies))
    responses = exchange(service.url, data + post())
    assert [response.status_code for response in responses] == [200, 422, 200, 422, 200, 200]
    assert [response.headers["x-request-id"] for response in responses[:5]] == ["r0", "r1", "r2", "r3", "r4"]
    assert responses[0].json()["scores"] == responses[4].json()["scores"] != responses[2].json()["scores"]


def test_what_follows_a_body_longer_than_said_is_not_believed(service: Service) -> None:
    """The surplus is no request; it costs its sender the connection."""
    responses = exchange(service.url, request(body=GOOD) + b"surplus\r\n\r\n")
    assert responses[-1].status_code == 400


@pytest.mark.parametrize("data", [sized(b" 5000"), chunked(chunks(GOOD)[:-5]), post()[:30], post()[:-1], b""])
def test_a_client_that_stops_in_the_middle(service: Service, data: bytes) -> None:
    """Half a request gets no answer, and its connection ends."""
    assert exchange(service.url, data, leave=True) == []


@pytest.mark.parametrize("sent", [b"a b", b"a" * 129, b'"', b"\xe9", b""])
def test_a_strange_request_id_is_replaced(service: Service, sent: bytes) -> None:
    """What comes back is an id of the service's own."""
    [response] = exchange(service.url, post(b"X-Request-ID: " + sent))
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
    for data in (b"\x00\r\n\r\n", post(b"Connection: Upgrade", b"Upgrade: h2c"), post(body=b"{")):
        exchange(service.url, data)
    assert service.output.read_text() == before
