"""Preprocessing version 2 keeps the tone that version 1 threw away."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.text.preprocessing2 import has_words, plain, word_spans, words

_TRICKY = "aZ0 \t\n'\u2019`\x91!?<>/=:;()D3p|&#39;lt@._-\u0301\u200d\ud800\u00df\u0130\U0001f600\U0001f3fd\u4e2d"
_TEXTS = st.text() | st.text(alphabet=_TRICKY) | st.text(alphabet="a'!?<b>:)3&; ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I don't, DIDNT and can\u2019t", ["i", "do", "n't", "did", "n't", "and", "ca", "n't"]),
        ("do n't it's it 's", ["do", "n't", "it", "s", "it", "s"]),
        ("great \U0001f44e\U0001f3fd", ["great", "emoji1f44e"]),
        ("\U0001f621", ["emoji1f621"]),
        (
            "ok :) :-( ;D =/ <3 </3 :'(",
            ["ok", "<smile>", "<frown>", "<smile>", "<wry>", "<heart>", "<broken-heart>", "<frown>"],
        ),
        ("list:(a) 10:30 http://a.b/c?d www.x.y", ["list", "a", "10", "<number>", "<link>", "<link>"]),
        ("@john_1 a@b.co", ["<user>", "a", "b", "co"]),
        ("isn&#39;t &lt;3 AT&amp;T &amp;#39;tis", ["is", "n't", "<heart>", "at", "t", "tis"]),
        ("goood SOOOO aaah 1000", ["good", "soo", "aah", "<number>"]),
        ("9 10 11 100 $1999 7th", ["9", "10", "<number>", "<number>", "<number>", "7th"]),
        ("What?! <br />CAF\xc9", ["what", "?", "!", "cafe"]),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@given(_TEXTS)
@example("&amp;#39;&#x27;")
@example("a&#101;\u0301:)")
def test_words_and_spans_agree(text: str) -> None:
    """The tokens with offsets are those without; offsets lie in the text, in order."""
    spans = word_spans(text)
    assert [span.word for span in spans] == words(text)
    assert all(0 <= span.start < span.end <= len(text) for span in spans)
    assert [span.start for span in spans] == sorted(span.start for span in spans)


def test_offsets_point_at_what_was_written() -> None:
    """An entity and an emoji have the place of all their characters, a combining mark goes with its letter."""
    text = "It isn&#39;t cafe\u0301 \U0001f44d"
    found = [text[span.start : span.end] for span in word_spans(text)]
    assert found == ["It", "is", "n&#39;t", "cafe\u0301", "\U0001f44d"]


@given(_TEXTS)
def test_what_separates_words_is_ascii(text: str) -> None:
    """What the compiled code reads is UTF-8 in which no character beyond ASCII is a space or punctuation."""
    for character in plain(text).decode("utf-8"):
        assert character.isascii() or unicodedata.category(character)[0] in "LNM"


@pytest.mark.parametrize(
    "text", ["<" * 5000, "&" * 5000, ":" * 5000, "'" * 5000, "a" * 100_000, "http://" * 3000, "<a" * 4000]
)
def test_hostile_texts_take_linear_time(text: str) -> None:
    """Repetitions that make careless patterns quadratic end soon; the suite's time-out would tell."""
    assert len(words(text)) <= len(text)


@pytest.mark.parametrize(("text", "expected"), [("&amp;", False), ("\U0001f44d", True), (" ... ", False), ("a", True)])
def test_whether_there_are_words_at_all(text: str, expected: bool) -> None:
    assert has_words(text) == expected == bool(words(text))
