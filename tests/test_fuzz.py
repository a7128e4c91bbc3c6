"""Random input to everything that takes input from outside: it never fails but as documented, and never takes long.

A few hundred cases of each with every run of the tests; ``make fuzz`` for more. The search is led towards inputs that
take long for their size (``target``).
"""

from __future__ import annotations

import json
import math
import struct
import time
from array import array
from typing import Any

import msgpack
import pytest
from hypothesis import given, target
from hypothesis import strategies as st

from app.engine import frames
from app.errors import NoWordsError
from app.http.json_body import parse_request
from app.http.problems import Problem
from app.http.schemas import ClassifyRequest
from app.sentiment import JUDGEMENTS, TextBatch, Thresholds, prediction_of
from app.text.preprocessing2 import NOT, SPECIAL_TOKENS
from app.text.tokenizer import PREPROCESSINGS, Tokenizer
from app.text.word_ids import PAD_TOKEN, UNKNOWN_TOKEN

SECONDS_PER_MEGABYTE = 30.0
"""Generous: it takes a hundredth of that. What it catches is time that grows with the square of the size."""

WORDS_2 = [*SPECIAL_TOKENS, NOT, "good", "film", "do", "cafe", "!", "+un", "+go", "+od", "+f", "la"]
TOKENIZERS = {
    1: Tokenizer([PAD_TOKEN, UNKNOWN_TOKEN, "good", "film", "don't", "cafe", "!"], 50, 20),
    2: Tokenizer([PAD_TOKEN, UNKNOWN_TOKEN, *WORDS_2], 50, 20, 2, {"film": ["movie"]}, foreign=1),
}

PIECES = st.sampled_from(
    [
        *"< > </ <br/> <a ' '' ` don't ! ? \u2019 \u0301 e\u0301 \ufb01 \u2048".split(),
        *"\ufdfa \u0130 \u1e9e \u200d \u00ad \ud800 \udc00 \0 \u0903 \u0e33 \uff07 &amp; good".split(),
        *"\U0001f468\u200d\U0001f469 CAF\u00c9 \u4e2d \u0661 \x91".split(),
        *(" ", "\x85", "\u2028", "<br />"),
        *":) :-( =/ <3 </3 &#39; &amp;amp;lt; @a http:// www. n't dont ungood goood la \U0001f44e\U0001f3fd".split(),
    ]
)
TEXTS = st.text() | st.lists(PIECES | st.characters(), max_size=60).map("".join)


@pytest.mark.parametrize("version", PREPROCESSINGS)
@given(TEXTS)
def test_words_and_offsets(version: int, text: str) -> None:
    """Both ways to the words agree; each word stands where its span says, in order, and (of version 1, where no token
    stands for a link, say) folds to itself."""
    words = PREPROCESSINGS[version].words
    found = words(text)
    spans = PREPROCESSINGS[version].word_spans(text)
    assert [span.word for span in spans] == found
    starts = [span.start for span in spans]
    assert starts == sorted(starts)
    for span in spans:
        assert 0 <= span.start < span.end <= len(text)
        assert span.word
        if version == 1:
            assert span.word in words(text[span.start : span.end])
            assert words(span.word) == [span.word]


@pytest.mark.parametrize("version", PREPROCESSINGS)
@given(TEXTS)
def test_encoding(version: int, text: str) -> None:
    """Ids of the vocabulary, as many as are read, and a judgement; or the one documented error."""
    tokenizer = TOKENIZERS[version]
    try:
        encoding = tokenizer.encode(text)
    except NoWordsError:
        assert not PREPROCESSINGS[version].words(text)
        return
    assert 1 <= len(encoding.ids) <= tokenizer.max_tokens
    assert all(1 <= token < len(tokenizer) for token in encoding.ids)
    assert encoding.truncated == (encoding.tokens > tokenizer.max_tokens)
    assert len(tokenizer.spans(text)) == len(encoding.ids)
    assert 0 <= encoding.unknown + encoding.foreign <= encoding.words <= encoding.tokens
    prediction = prediction_of((0.5, 0.5), None, encoding, Thresholds(0.6, 0.5))
    assert 0 <= prediction.unknown <= 1
    assert prediction.judgement in JUDGEMENTS


@pytest.mark.parametrize("version", PREPROCESSINGS)
@given(st.lists(PIECES | st.characters(), min_size=1, max_size=6).map("".join), st.integers(1, 8_000))
def test_time_grows_with_size_alone(version: int, piece: str, times: int) -> None:
    """Any piece, repeated, takes time in proportion to its length."""
    text = piece * times
    started = time.process_time()
    PREPROCESSINGS[version].words(text)
    elapsed = time.process_time() - started
    target(elapsed / len(text), label="seconds per character")
    assert elapsed < 1.0 + SECONDS_PER_MEGABYTE * len(text) / 1e6


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(["text", "texts", "Text", "text ", ""]) | st.text(max_size=4)
GRAMMAR = st.sampled_from(
    [
        *rb'{ } [ ] , : " "text" "texts" "a" \ \u0000 \ud800 null true NaN 1e999 -0 /*'.split(),
        *(b"9" * 400, b"[" * 200, b"\xef\xbb\xbf", b"\xff", b"\x00", b" "),
    ]
)
BODIES = (
    st.binary(max_size=60)
    | st.lists(GRAMMAR, max_size=20).map(b"".join)
    | st.dictionaries(NAMES, VALUES, max_size=3).map(lambda value: json.dumps(value).encode())
    | st.lists(st.tuples(NAMES, VALUES), max_size=3).map(
        lambda pairs: (
            b"{%b}" % b",".join(json.dumps(pair[0]).encode() + b":" + json.dumps(pair[1]).encode() for pair in pairs)
        )
    )
)


def strictly(body: bytes) -> Any:
    """A body as the standard library reads it, each field once."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    return json.loads(body.decode(), object_pairs_hook=once)


@given(BODIES, st.integers(1, 5))
def test_requests(body: bytes, limit: int) -> None:
    """What is accepted is what another parser reads there too; all else is 422, names a field, and is short."""
    try:
        request = parse_request(body, limit)
    except Problem as problem:
        refused = problem
    else:
        document = strictly(body)
        assert request.model_dump(exclude_none=True) == document
        assert request.texts is None or len(request.texts) <= limit
        return
    assert refused.status == 422
    assert refused.errors
    assert len(refused.response().body) < 20_000


@given(st.lists(st.text(max_size=30), min_size=1, max_size=5))
def test_every_right_request_is_accepted(texts: list[str]) -> None:
    """Escaped or not, spaced or not."""
    one, several = {"text": texts[0]}, {"texts": texts}
    for document in (one, several):
        for body in (json.dumps(document).encode(), json.dumps(document, ensure_ascii=False, indent=2).encode()):
            assert parse_request(body, 5) == ClassifyRequest(**document)


READERS: dict[int, Any] = {
    frames.HELLO: frames.read_hello,
    frames.SUBMIT: frames.read_submit,
    frames.CANCEL: frames.read_cancel,
    frames.RESULT: frames.read_results,
}
NOT_A_FRAME = (frames.FrameError, struct.error, ValueError, msgpack.UnpackException)


@given(st.lists(st.binary(max_size=40), max_size=6), st.sampled_from(list(READERS)))
def test_frames_of_rubbish(pieces: list[bytes], kind: int) -> None:
    """A peer that is not ours is noticed by an error, and never by anything else; no frame is as long as it says."""
    bodies: list[memoryview] = []
    reader = frames.FrameReader(lambda _, body: bodies.append(body))
    total = 0
    for piece in pieces:
        total += len(piece)
        try:
            reader.feed(piece)
        except frames.FrameError:
            break
    assert sum(map(len, bodies)) <= total
    for body in [*bodies, memoryview(b"".join(pieces))]:
        try:
            READERS[kind](body)
        except NOT_A_FRAME:
            continue


@given(
    st.lists(st.lists(st.integers(0, 2**31 - 1), max_size=9).map(lambda ids: array("i", ids)), max_size=5),
    st.floats(allow_nan=False),
    st.integers(0, 400),
    st.binary(min_size=1, max_size=4),
)
def test_submissions_that_were_tampered_with(texts: list[array[int]], deadline: float, at: int, bytes_: bytes) -> None:
    """Some bytes changed in a whole submission: it is refused, or read as one whose lengths add up."""
    frame = bytearray(
        frames.submit(range(len(texts)), [TextBatch(ids, [len(ids)]) for ids in texts], 0.5, deadline)[5:]
    )
    start = min(at, len(frame) - 1)
    frame[start : start + len(bytes_)] = bytes_[: len(frame) - start]
    try:
        read = frames.read_submit(memoryview(bytes(frame)))
    except NOT_A_FRAME:
        return
    assert len(read.ids) == len(read.batches)
    assert math.fsum(len(batch.ids) for batch in read.batches) * 4 <= len(frame)
    with pytest.raises(NOT_A_FRAME):
        frames.read_submit(memoryview(bytes(frame) + b"\x00"))
