"""Every way a request can be wrong gets a clear error of one shape, never a 500."""

from __future__ import annotations

import asyncio
import json
from typing import Any, NamedTuple

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import client_of, plain_application
from tests.http.shapes import assert_problem, sample

INVALID, JSON = "invalid_request", "invalid_json"


class Bad(NamedTuple):
    body: bytes
    code: str
    names: str
    """What the detail must mention."""
    status: int = 422
    headers: dict[str, str] = {}  # noqa: RUF012 - a NamedTuple's default, never changed


BAD = {
    "empty body": Bad(b"", JSON, "body"),
    "white space": Bad(b"  \n", JSON, "body"),
    "not json": Bad(b"text=hello", JSON, "body"),
    "cut short": Bad(b'{"text": "a', JSON, "body"),
    "trailing comma": Bad(b'{"text": "a",}', JSON, "body"),
    "trailing garbage": Bad(b'{"text": "a"} x', JSON, "body"),
    "two documents": Bad(b'{"text": "a"}{"text": "b"}', JSON, "body"),
    "single quotes": Bad(b"{'text': 'a'}", JSON, "body"),
    "comment": Bad(b'{"text": "a"} // b', JSON, "body"),
    "not utf-8": Bad(b'{"text": "\xff\xfe"}', JSON, "body"),
    "latin-1": Bad('{"text": "café"}'.encode("latin-1"), JSON, "body"),
    "utf-16": Bad('{"text": "a"}'.encode("utf-16"), JSON, "body"),
    "two byte order marks": Bad(b'\xef\xbb\xbf\xef\xbb\xbf{"text": "a"}', JSON, "body"),
    "raw control character": Bad(b'{"text": "a\nb"}', JSON, "body"),
    "lone high surrogate": Bad(rb'{"text": "a \ud800 b"}', JSON, "body"),
    "lone low surrogate": Bad(rb'{"text": "a \udc00 b"}', JSON, "body"),
    "encoded surrogate": Bad(b'{"text": "\xed\xa0\x80"}', JSON, "body"),
    "bad escape": Bad(rb'{"text": "\x41"}', JSON, "body"),
    "deep nesting": Bad(b'{"text": ' + b"[" * 100_000, JSON, "body"),
    "deep balanced nesting": Bad(b'{"texts": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", JSON, "body"),
    "null": Bad(b"null", INVALID, "body"),
    "number": Bad(b"1", INVALID, "body"),
    "string": Bad(b'"text"', INVALID, "body"),
    "list": Bad(b'["a"]', INVALID, "body"),
    "empty object": Bad(b"{}", INVALID, "exactly one of text and texts"),
    "both": Bad(b'{"text": "a", "texts": ["b"]}', INVALID, "exactly one of text and texts"),
    "text null": Bad(b'{"text": null}', INVALID, "exactly one of text and texts"),
    "text number": Bad(b'{"text": 5}', INVALID, "text: "),
    "text boolean": Bad(b'{"text": true}', INVALID, "text: "),
    "text list": Bad(b'{"text": ["a"]}', INVALID, "text: "),
    "text object": Bad(b'{"text": {"a": "b"}}', INVALID, "text: "),
    "text nan": Bad(b'{"text": NaN}', INVALID, "text: "),
    "text infinity": Bad(b'{"text": -Infinity}', INVALID, "text: "),
    "text huge number": Bad(b'{"text": ' + b"9" * 4000 + b"}", INVALID, "text: "),
    "text endless number": Bad(b'{"text": ' + b"9" * 5000 + b"}", JSON, "body"),
    "texts string": Bad(b'{"texts": "a"}', INVALID, "texts: "),
    "texts object": Bad(b'{"texts": {"0": "a"}}', INVALID, "texts: "),
    "texts empty": Bad(b'{"texts": []}', INVALID, "at least 1"),
    "texts item number": Bad(b'{"texts": ["a", "b", "c", 4]}', INVALID, "texts.3: "),
    "texts item null": Bad(b'{"texts": [null]}', INVALID, "texts.0: "),
    "texts item list": Bad(b'{"texts": ["a", ["b"]]}', INVALID, "texts.1: "),
    "too many texts": Bad(json.dumps({"texts": ["a"] * 11}).encode(), "too_many_texts", "the limit is 10"),
    "unknown field": Bad(b'{"text": "a", "lang": "en"}', INVALID, "lang: unknown field"),
    "misspelt field": Bad(b'{"txt": "a"}', INVALID, "txt: unknown field"),
    "field of other case": Bad(b'{"Text": "a"}', INVALID, "Text: unknown field"),
    "empty field name": Bad(b'{"": "a"}', INVALID, "unknown field"),
    "text twice": Bad(b'{"text": "a", "text": "b"}', INVALID, "text: must not be given twice"),
    "text twice, escaped": Bad(rb'{"text" : "a", "t\u0065xt" : "b"}', INVALID, "text: must not be given twice"),
    "texts twice": Bad(b'{"texts": ["a"], "texts": ["b"]}', INVALID, "texts: must not be given twice"),
    "texts twice, without spaces": Bad(
        b'{"texts":["a [b], c"],"texts":["b"]}', INVALID, "texts: must not be given twice"
    ),
    "texts twice, far apart": Bad(
        b'{"texts": ["a"]%s,%s"texts": ["b"]}' % (b" " * 40, b"\n" * 40), INVALID, "texts: must not be given twice"
    ),
    "texts twice, a little apart": Bad(
        b'{"texts": ["a"]%s,%s"texts": ["b"]}' % (b" " * 7, b"\n" * 7), INVALID, "texts: must not be given twice"
    ),
    "texts twice, escaped": Bad(rb'{"texts": ["a"], "t\u0065xts": ["b"]}', INVALID, "texts: must not be given twice"),
    "language twice": Bad(
        b'{"text": "a", "language": "en", "language": "de"}', INVALID, "language: must not be given twice"
    ),
    "language null": Bad(b'{"text": "a", "language": null}', INVALID, "language must be a string"),
    "language empty": Bad(b'{"text": "a", "language": ""}', INVALID, "language: "),
    "language in words": Bad(b'{"text": "a", "language": "in German"}', INVALID, "such as en or pt-BR"),
    "languages": Bad(b'{"texts": ["a", "b"], "language": ["en", "de"]}', INVALID, "language: "),
    "huge number hidden": Bad(b'{"text": ' + b"9" * 4300 + b', "text": "a"}', INVALID, "text: "),
    "blank": Bad(b'{"text": ""}', "blank_text", "at least 1"),
    "white space text": Bad(rb'{"text": " \n\t\u3000 "}', "blank_text", "at least 1"),
    "only punctuation": Bad(b'{"text": "?!..."}', "no_words", "at least 1 word"),
    "only emoji": Bad('{"text": "😀😀"}'.encode(), "no_words", "at least 1 word"),
    "only nul": Bad(rb'{"text": "\u0000"}', "no_words", "at least 1 word"),
    "text too long": Bad(json.dumps({"text": "a" * 101}).encode(), "text_too_long", "the limit is 100"),
    "body too large": Bad(json.dumps({"text": "a" * 5000}).encode(), "body_too_large", "4096 bytes", 413),
    "form": Bad(b"text=a", "unsupported_media_type", "application/json", 415, {"content-type": "multipart/form-data"}),
    "plain text": Bad(b'{"text": "a"}', "unsupported_media_type", "application/json", 415, {"content-type": "text/x"}),
    "nearly json": Bad(
        b'{"text": "a"}', "unsupported_media_type", "application/json", 415, {"content-type": "application/jsonp"}
    ),
    "gzip": Bad(b"\x1f\x8b", "unsupported_encoding", "compressed", 415, {"content-encoding": "gzip"}),
    "brotli": Bad(b"\x1f\x8b", "unsupported_encoding", "compressed", 415, {"content-encoding": "BR"}),
    **{
        f"timeout {value!r}": Bad(
            b'{"text": "a"}', "invalid_header", "X-Timeout-Seconds", 422, {"x-timeout-seconds": value}
        )
        for value in ("soon", "0", "-1", "nan", "inf", "1e999", "", "1,5", "5s")
    },
}


async def post(body: bytes, max_body: int = 200_000, max_texts: int = 10, **headers: str) -> httpx.Response:
    async with client_of(plain_application(max_body=max_body, max_texts=max_texts)) as client:
        return await client.post("/classify", content=body, headers={"content-type": "application/json", **headers})


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
async def test_bad_input_is_explained_and_counted(bad: Bad) -> None:
    """Status, stable code, and a detail that names field and limit; counted as rejected by that code."""
    before = sample("sentiment_rejected_total", reason=bad.code)
    response = await post(bad.body, 4096 if bad.status == 413 else 200_000, 10, **bad.headers)
    document = assert_problem(response, bad.status, bad.code)
    assert bad.names in document["detail"]
    if bad.code in (INVALID, JSON, "invalid_header"):
        assert document["errors"], "the fields are listed"
    assert sample("sentiment_rejected_total", reason=bad.code) == before + 1


GOOD = {
    "right to left": "פרק נהדר وفيلم رائع",
    "emoji and words": "great 😀 film",
    "nul inside": "good\0film",
    "combining": "cafe\u0301",
    "surrogate pair, escaped": "a \U0001f600",
    "looks like fields": 'He said "text": and "texts" : twice, {"text": "a", "text": "b"}',
}


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD.keys())
@pytest.mark.parametrize("escaped", [True, False])
async def test_unusual_texts_are_answered(text: str, escaped: bool) -> None:
    """What JSON can say and a person may write is answered, escaped or not."""
    response = await post(json.dumps({"text": text}, ensure_ascii=escaped).encode())
    assert response.status_code == 200


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "Application/JSON", "application/vnd.reviews+json", ""]
)
async def test_kinds_of_json_are_accepted(content_type: str) -> None:
    """Parameters, case and structured suffixes of the content type do not matter, nor does its absence."""
    headers = {"content-type": content_type, "content-encoding": "identity"}
    async with client_of(plain_application()) as client:
        assert (await client.post("/classify", content=b'{"text": "a"}', headers=headers)).status_code == 200
        assert (await client.post("/classify", content=b'{"text": "a"}')).status_code == 200


@pytest.mark.parametrize("item", [b"1", b"[]", b"{}", b"null"])
async def test_millions_of_mistakes_cost_no_more_than_one(item: bytes) -> None:
    """A body of nothing but wrong items is refused at its first one, not after an error for each."""
    body = b'{"texts":[' + b",".join([item] * 50_000) + b"]}"
    document = assert_problem(await post(body, 1_000_000, 100_000), 422, INVALID)
    assert [error["field"] for error in document["errors"]] == ["texts.0"]


async def test_many_unknown_fields_are_counted_not_listed() -> None:
    """The size of an error does not grow with the number of mistakes."""
    response = await post(json.dumps({f"field-{number}": 1 for number in range(5000)}).encode())
    assert "5000 invalid fields" in assert_problem(response, 422, INVALID)["detail"]
    assert len(response.content) < 1000


async def test_a_long_field_name_is_cut() -> None:
    """A request cannot make its error as large as itself."""
    response = await post(json.dumps({"x" * 50_000: 1}).encode())
    assert_problem(response, 422, INVALID)
    assert len(response.content) < 2000


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
names = st.sampled_from(["text", "texts"]) | st.text(max_size=4)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(names, json_values, max_size=3) | json_values)
def test_any_json_is_answered_or_refused(value: Any) -> None:
    """Whatever JSON arrives: 200 or a 422 of the one shape, never a 500."""
    response = asyncio.run(post(json.dumps(value).encode()))
    if response.status_code != 200:
        assert_problem(response, 422, response.json()["code"])


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60) | st.binary(max_size=40).map(lambda raw: b'{"text":"' + raw + b'"}'))
def test_any_bytes_are_answered_or_refused(body: bytes) -> None:
    """Likewise for bytes that need not be JSON."""
    response = asyncio.run(post(body))
    if response.status_code != 200:
        assert_problem(response, 422, response.json()["code"])
