"""Requests as bytes that few clients send, and what becomes of each: its status, the code of its problem document, and
whether the connection can be used again. Data alone; ``test_wire`` sends them.

Sources: RFC 9110, RFC 9112, and what Java's, .NET's and curl's clients, proxies and scanners were seen to send.
"""

from __future__ import annotations

import gzip
from typing import NamedTuple

from tests.http.wire import chunks, request

LIMIT = 200_000
"""SENTIMENT_MAX_BODY of the service that these are sent to."""
GOOD = b'{"text":"good film"}'
CHUNKED = b"Transfer-Encoding: chunked"
H2C = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")


class Row(NamedTuple):
    data: bytes
    status: int = 200
    code: str = ""
    """Of the problem document; empty where the answer is none."""
    kept: bool = True
    """Whether the connection is there for a next request."""


def post(*headers: bytes, body: bytes = GOOD, length: bool = True, start: bytes = b"POST /classify HTTP/1.1") -> bytes:
    return request(*headers, start=start, body=body, length=length)


def get(target: bytes, *headers: bytes) -> bytes:
    return request(*headers, start=b"GET %s HTTP/1.1" % target, length=False)


def sized(value: bytes, body: bytes = GOOD) -> bytes:
    """A request that announces the length of its body as told."""
    return post(b"Content-Length:" + value, body=body, length=False)


def chunked(body: bytes, *headers: bytes) -> bytes:
    return post(CHUNKED, *headers, body=body, length=False)


def path(target: bytes) -> bytes:
    return post(start=b"POST %s HTTP/1.1" % target)


def hosts(*lines: bytes, start: bytes = b"POST /classify HTTP/1.1") -> bytes:
    """A request with these lines in the place of its Host header."""
    announced = b"Content-Length: %d" % len(GOOD)
    return b"\r\n".join([start, *lines, announced, b"", GOOD])


def coded(*values: bytes) -> bytes:
    """A chunked body under these transfer codings."""
    return post(*(b"Transfer-Encoding: " + value for value in values), body=chunks(GOOD), length=False)


NOT_HTTP = {
    "nul bytes": b"\x00\x01\x02\x03\r\n\r\n",
    "a tls greeting": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 100,
    "http/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http/0.9": b"GET /health/live\r\n\r\n",
    "a proxy's greeting": b"PROXY TCP4 10.0.0.1 10.0.0.2 5000 8000\r\n" + post(),
    "bare line feeds": post().replace(b"\r\n", b"\n"),
    "method in small letters": post(start=b"post /classify HTTP/1.1"),
    "invented method": post(start=b"BREW /classify HTTP/1.1"),
    "no target": post(start=b"POST  HTTP/1.1"),
    "space in target": path(b"/classify /b"),
    "raw byte in target": path(b"/\xff"),
    "control character in target": path(b"/\x01"),
    "target without slash": path(b"classify"),
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
    "chunked not last": coded(b"chunked, gzip"),
    "chunked, chunked": coded(b"chunked, chunked"),
    "chunked twice": coded(b"chunked", b"chunked"),
    "chunk size of letters": chunked(b"zz\r\n"),
    "negative chunk size": chunked(b"-1\r\n"),
    "chunk size beyond 64 bits": chunked(b"fffffffffffffffff\r\n"),
    "chunk longer than said": chunked(b"14\r\n" + GOOD + b"x0\r\n\r\n"),
    "transfer coding in a trailer": chunked(chunks(GOOD)[:-2] + b"Transfer-Encoding: gzip\r\n\r\n"),
    "chunks in http/1.0": post(CHUNKED, start=b"POST /classify HTTP/1.0", body=chunks(GOOD), length=False),
    "no host": hosts(),
    "two hosts": hosts(b"Host: a", b"Host: b"),
    "the same host twice": hosts(b"Host: a", b"Host: a"),
    "two hosts in http/1.0": hosts(b"Host: a", b"Host: b", start=b"POST /classify HTTP/1.0"),
    "absolute target without host": hosts(start=b"POST http://t/classify HTTP/1.1"),
    "connect to somewhere": post(start=b"CONNECT t:80 HTTP/1.1"),
}

TYPES = {
    "form": [b"application/x-www-form-urlencoded"],
    "form with files": [b"multipart/form-data; boundary=a"],
    "plain text": [b"text/plain"],
    "two content types": [b"application/json", b"text/plain"],
    "content type not ascii": [b"\xe9"],
    "latin-1": [b"application/json; charset=latin-1"],
    "utf-16": [b'application/json;version=1; CHARSET="utf-16"'],
    "list of types": [b"application/json, text/plain"],
    "half a type": [b"application"],
    "no type": [b"json"],
    "text of json": [b"text/json"],
    "lines of json": [b"application/jsonl"],
    "any type": [b"*/*"],
    "long type": [b"a" * 10_000],
}
ENCODINGS = (b"gzip", b"deflate", b"br", b"zstd", b"compress", b"x-gzip", b"gzip, gzip", b"identity, gzip", b"nonsense")
TIMEOUTS = (
    *(b"\xb2", "\u0661".encode(), "\uff11".encode(), b"1_0", b"1__0", b"nan", b"NaN", b"inf", b"-inf", b"infinity"),
    *(b"1e400", b"1e-400", b"1e9999999999", b"0x10", b"0b1", b"+5", b"-5", b"-0", b".5", b"5.", b"05", b"1 0", b"1,5"),
    *(b"'5'", b"5s", b"0", b"0.0", b"1000000001", b"9" * 5000, b"true", b"null", b"1e", b"1e5e5", b"5, 5"),
)
NOWHERE = (
    *(b"/classify/", b"//classify", b"/Classify", b"/CLASSIFY", b"/classify;x", b"/classify/..", b"/../classify"),
    *(b"/./classify", b"/%2e%2e/classify", b"/classify%2f", b"/%ff", b"/a%zz", b"*", b"/" + b"a" * 60_000),
)
CONTROL = (b"/classify%00", b"/classify%0a", b"/classify%0D", b"/a%0d%0aX:%20y", b"/classify%7f", b"/%1b[31m")
METHODS = ("GET", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PROPFIND")

REFUSED = {
    "length 0": Row(sized(b" 0", b""), 422, "invalid_json"),
    "no length": Row(post(body=b"", length=False), 422, "invalid_json"),
    "no chunks": Row(chunked(chunks()), 422, "invalid_json"),
    "unknown transfer coding": Row(coded(b"xchunked"), 501, "unsupported_transfer_coding", kept=False),
    "identity as a transfer coding": Row(coded(b"identity"), 501, "unsupported_transfer_coding", kept=False),
    "coded and chunked": Row(coded(b"gzip, chunked"), 501, "unsupported_transfer_coding", kept=False),
    "coded, then chunked": Row(coded(b"gzip", b"chunked"), 501, "unsupported_transfer_coding", kept=False),
    "compressed and unannounced": Row(post(body=gzip.compress(GOOD)), 422, "invalid_json"),
    "two byte order marks": Row(post(body=b"\xef\xbb\xbf\xef\xbb\xbf" + GOOD), 422, "invalid_json"),
    "utf-16 with its mark": Row(post(body=GOOD.decode().encode("utf-16")), 422, "invalid_json"),
    "two encoding headers": Row(
        post(b"Content-Encoding: identity", b"Content-Encoding: gzip"), 415, "unsupported_encoding"
    ),
    "length over the limit": Row(sized(b" %d" % (LIMIT + 1), b"a" * (LIMIT + 1)), 413, "body_too_large", kept=False),
    "chunks over the limit": Row(
        chunked(chunks(*[b"a" * 1000] * (LIMIT // 1000 + 1))), 413, "body_too_large", kept=False
    ),
    "two timeouts": Row(post(b"X-Timeout-Seconds: 5", b"X-Timeout-Seconds: 5"), 422, "invalid_header"),
    "deeply nested object": Row(post(body=b'{"text":' * 20_000 + b"1" + b"}" * 20_000), 422, "invalid_json"),
    "deeply nested where text belongs": Row(
        post(body=b'{"text":' + b"[" * 150 + b"]" * 150 + b"}"), 422, "invalid_request"
    ),
    "huge exponent": Row(post(body=b'{"text":1e999999999}'), 422, "invalid_request"),
    "huge integer": Row(post(body=b'{"texts":[' + b"9" * 4000 + b"]}"), 422, "invalid_request"),
    "same field a thousand times": Row(
        post(body=b"{" + b",".join([b'"text":"good film"'] * 1000) + b"}"), 422, "invalid_request"
    ),
    "null beside texts": Row(post(body=b'{"text":null,"texts":["good film"]}'), 422, "invalid_request"),
    "prototype": Row(post(body=b'{"__proto__":{"text":"a"},"text":"good film"}'), 422, "invalid_request"),
    "connect": Row(post(start=b"CONNECT /classify HTTP/1.1"), 405, "method_not_allowed", kept=False),
    "a thousand headers": Row(
        post(*[b"X-%d: a" % number for number in range(1000)]), 431, "header_too_large", kept=False
    ),
    "a head beyond the bound": Row(post(b"X-A: " + b"a" * 70_000), 431, "header_too_large", kept=False),
    "a target beyond the bound": Row(path(b"/" + b"a" * 70_000), 431, "header_too_large", kept=False),
    "options of everything": Row(post(start=b"OPTIONS * HTTP/1.1"), 404, "not_found"),
    "a path and close": Row(post(b"Connection: close", start=b"GET /a HTTP/1.1"), 404, "not_found", kept=False),
    "a path in http/1.0": Row(post(start=b"GET /a HTTP/1.0"), 404, "not_found", kept=False),
    "absolute target to nowhere": Row(get(b"http://t/nowhere"), 404, "not_found"),
}

ANSWERED = {
    "http/1.0": Row(post(start=b"POST /classify HTTP/1.0"), kept=False),
    "http/1.0 that wants to go on": Row(post(b"Connection: keep-alive", start=b"POST /classify HTTP/1.0"), kept=False),
    "http/1.0 without host": Row(hosts(start=b"POST /classify HTTP/1.0"), kept=False),
    "connection: close": Row(post(b"Connection: close"), kept=False),
    "connection: CLOSE": Row(post(b"Connection: CLOSE"), kept=False),
    "connection: keep-alive": Row(post(b"Connection: keep-alive")),
    "connection: te, close": Row(post(b"Connection: TE, close"), kept=False),
    "host without value": Row(hosts(b"Host:")),
    "host with port": Row(hosts(b"Host: example.org:8000")),
    "host as an address": Row(hosts(b"Host: [::1]:8000")),
    "host in capitals": Row(hosts(b"HOST: a")),
    "upgrade as java's client": Row(post(*H2C)),
    "upgrade as curl": Row(post(*H2C, b"User-Agent: curl/8.5.0", b"Accept: */*")),
    "upgrade, chunked": Row(chunked(chunks(GOOD), *H2C)),
    "upgrade and a list": Row(post(*H2C, body=b'{"texts":["good film"]}')),
    "upgrade, and a question": Row(get(b"/health/live", *H2C)),
    "upgrade to websocket": Row(
        get(b"/health/live", b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13")
    ),
    "upgrade to tls": Row(post(b"Connection: Upgrade", b"Upgrade: TLS/1.3")),
    "upgrade and close": Row(post(b"Connection: Upgrade, close", b"Upgrade: h2c"), kept=False),
    "upgrade in http/1.0": Row(post(*H2C, start=b"POST /classify HTTP/1.0"), kept=False),
    "upgrade without connection": Row(post(b"Upgrade: h2c", b"HTTP2-Settings: AAMA")),
    "two upgrades": Row(post(b"Connection: Upgrade", b"Upgrade: h2c", b"Upgrade: websocket")),
    "connection: upgrade to nothing": Row(post(b"Connection: Upgrade")),
    "absolute target": Row(path(b"http://elsewhere/classify")),
    "absolute target with port and query": Row(path(b"http://elsewhere:80/classify?a=b")),
    "absolute target in capitals": Row(path(b"HTTP://ELSEWHERE/classify")),
    "absolute target of https": Row(path(b"https://elsewhere/classify")),
    "absolute target without path": Row(get(b"http://elsewhere")),
    "absolute target with a query alone": Row(get(b"http://elsewhere?a=b")),
    "absolute target with a slash": Row(get(b"http://elsewhere/")),
    "a query with an address": Row(path(b"/classify?from=http://elsewhere/")),
    "escaped target": Row(path(b"/%63lassify")),
    "query": Row(path(b"/classify?text=%00&texts")),
    "empty query": Row(path(b"/classify?")),
    "byte order mark": Row(post(body=b"\xef\xbb\xbf" + GOOD)),
    "byte order mark before a list": Row(post(body=b'\xef\xbb\xbf{"texts":["good film"]}')),
    "empty line first": Row(b"\r\n" + post()),
    "empty lines first": Row(b"\r\n" * 8 + post()),
    "two hundred headers": Row(post(*[b"X-%d: a" % number for number in range(200)])),
    "the same header two hundred times": Row(post(*[b"X-Request-ID: a"] * 200)),
    "timeout as json has numbers": Row(post(b"X-Timeout-Seconds: 2.5e1")),
    "charset in capitals": Row(post(b'Content-Type: application/json; charset="UTF-8"')),
    "a json type of its own": Row(post(b"Content-Type: application/vnd.reviews+json")),
    "content type without value": Row(post(b"Content-Type:")),
    "content coding of nothing": Row(post(b"Content-Encoding: identity")),
    "a long header": Row(post(b"X-A: " + b"a" * 16_000)),
    "header not ascii": Row(post(b"X-A: \xe9\xff")),
    "header without value": Row(post(b"X-A:")),
    "names in capitals": Row(post(b"CONTENT-TYPE: application/json")),
    "spaces around the length": Row(sized(b"   20  ")),
    "length with zeros": Row(sized(b" 0020")),
    "chunk extension": Row(chunked(b"14;a=b\r\n" + GOOD + b"\r\n0\r\n\r\n")),
    "chunk size in capitals": Row(post(b"Transfer-Encoding: CHUNKED", body=chunks(GOOD), length=False)),
    "chunk size with zeros": Row(chunked(b"00014\r\n" + GOOD + b"\r\n000\r\n\r\n")),
    "trailers": Row(chunked(chunks(GOOD)[:-2] + b"X-A: b\r\n\r\n")),
    "trailers that are headers elsewhere": Row(chunked(chunks(GOOD)[:-2] + b"Host: b\r\nUpgrade: h2c\r\n\r\n")),
    "chunks of one byte": Row(chunked(chunks(*(bytes([byte]) for byte in GOOD)))),
    "a question with a body": Row(post(start=b"GET /health/live HTTP/1.1")),
    "a question with chunks": Row(
        post(CHUNKED, start=b"GET /health/live HTTP/1.1", body=chunks(b"a" * 1000), length=False)
    ),
    "expecting something else": Row(post(b"Expect: nothing")),
}

ROWS = {
    **{name: Row(data, 400, "bad_request", kept=False) for name, data in NOT_HTTP.items()},
    **{
        f"type: {name}": Row(post(*(b"Content-Type: " + value for value in values)), 415, "unsupported_media_type")
        for name, values in TYPES.items()
    },
    **{
        f"encoding: {value.decode()}": Row(post(b"Content-Encoding: " + value), 415, "unsupported_encoding")
        for value in ENCODINGS
    },
    **{f"timeout: {value!r}": Row(post(b"X-Timeout-Seconds: " + value), 422, "invalid_header") for value in TIMEOUTS},
    **{f"path: {target[:20]!r}": Row(path(target), 404, "not_found") for target in NOWHERE},
    **{f"path: {target!r}": Row(path(target), 400, "bad_request") for target in CONTROL},
    **{
        f"{method} on /classify": Row(post(start=f"{method} /classify HTTP/1.1".encode()), 405, "method_not_allowed")
        for method in METHODS
    },
    **REFUSED,
    **ANSWERED,
}
