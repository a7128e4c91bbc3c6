"""Sentences: where they are, exactly, in any text."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.text.preprocessing import words
from app.text.sentences import sentence_spans
from tests.reviews import written_reviews


def sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in sentence_spans(text)]


def test_sentences_of_a_review() -> None:
    """Abbreviations and numbers do not end a sentence, line breaks and their tags do."""
    text = " Mr. Jones paid $3.50 for this. Why?! I never  learned.<br /><br />A cafe\u0301 \U0001f600. Fine\n\nEnd"
    assert sentences(text) == [
        "Mr. Jones paid $3.50 for this.",
        "Why?!",
        "I never  learned.",
        "A cafe\u0301 \U0001f600.",
        "Fine",
        "End",
    ]


@pytest.mark.parametrize("text", ["", " \n ", "<br>"])
def test_nothing_has_no_sentences(text: str) -> None:
    """White space and tags are no sentences."""
    assert sentences(text) == []


def check(text: str) -> None:
    before = 0
    for start, end in sentence_spans(text):
        assert before <= start < end <= len(text)
        assert not text[before:start].strip() or "<" in text[before:start]
        sentence = text[start:end]
        assert sentence == sentence.strip()
        before = end
    assert not text[before:].strip() or "<" in text[before:]


@pytest.mark.parametrize("text", written_reviews(50))
def test_sentences_hold_all_words(text: str) -> None:
    """No word is lost, none is in two sentences, and their order stays."""
    check(text)
    assert [word for sentence in sentences(text) for word in words(sentence)] == words(text)


@given(st.text(alphabet=st.sampled_from("aB1.!? \n\r\t\"')(<>br/\u0301\U0001f600\u2026\u3002e\x85\u2028"), max_size=80))
def test_offsets_of_any_text(text: str) -> None:
    """Sentences are in order, apart, without white space around, and nothing else is left between them."""
    check(text)


@pytest.mark.parametrize(
    "piece",
    [".", "a. ", "?!", "A.B.", "...", '"', "(", "a", " ", "<", "<br", "\n", "1.2.", "\U0001f600", "e\u0301", ". . "],
)
def test_hostile_texts_cost_little(piece: str) -> None:
    """The longest text that is ever explained takes no more than seconds, whatever is in it."""
    text = piece * (20_000 // len(piece))
    started = time.process_time()
    check(text)
    assert time.process_time() - started < 20
