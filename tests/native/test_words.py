"""The compiled half of the tokenizer is the Python one, only faster."""

from __future__ import annotations

import threading
from array import array
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.errors import NoWordsError
from app.native import words
from app.native.compiler import WORDS
from app.native.words import compiled_vocabulary
from app.sentiment import Encoding
from app.text.preprocessing2 import NOT, SPECIAL_TOKENS
from app.text.tokenizer import Tokenizer
from app.text.word_ids import PAD_TOKEN, UNKNOWN_TOKEN
from tests import compiled

_ALPHABET = "abcXYZ019 \t\n\x00'`!?<>/br.,-_\x7f\xe9\u2019\uff1c\u0301"
_TEXTS = st.text() | st.text(alphabet=_ALPHABET) | st.text(alphabet="a'`!?<b/> ") | st.text(alphabet="ab ", max_size=99)
_LONG = "extraordinarily" * 3
_VOCABULARY = [PAD_TOKEN, UNKNOWN_TOKEN, "a", "b", "ab", "ba", "aa", "!", "a'b", "x", "c1", "caf\xe9", "cafe", _LONG]


_PARTS = [
    "a",
    "b",
    " ",
    ".",
    ":",
    ";",
    "=",
    "-",
    "'",
    "(",
    ")",
    "]",
    "/",
    "|",
    "<",
    "3",
    ">",
    "@",
    "_",
    "D",
    "p",
    "!",
    "123",
    "4",
]
_PARTS += [
    "don't",
    "CANT",
    "n't",
    "ain't",
    "http://",
    "www.",
    "goood",
    "GOOOOD",
    "lovve",
    "unbear",
    "&amp;#39;",
    "&lt;",
]
_PARTS += [
    "\U0001f44e\U0001f3fd",
    "caf\xe9",
    "\u4e2d",
    "la",
    "\ud800",
    "\u200b",
    "Carlos",
    "a" * 130,
    "<br />",
    "\u212a",
]
_VERSION2_TEXTS = st.lists(st.sampled_from(_PARTS), max_size=12).map("".join)
_VERSION2 = [
    *_VOCABULARY[:2], *SPECIAL_TOKENS, NOT, "<person>", "a", "b", "do", "ca", "good", "love", "!", "12", "cafe",
    "caf", "\u4e2d", "emoji1f44e", "+un", "+be", "+ar", "+a", "+b", "la",
]  # fmt: skip


def tokenizer_of(version: int, limit: int, head: int) -> Tokenizer:
    if version == 1:
        return Tokenizer(_VOCABULARY, limit, head)
    return Tokenizer(_VERSION2, limit, head, 2, {"<person>": ["carlos"]}, foreign=1)


@pytest.fixture(scope="module", autouse=True)
def library() -> None:
    compiled.require(WORDS)
    words._load.cache_clear()


def encode(tokenizer: Tokenizer, text: str) -> Encoding | None:
    try:
        return tokenizer.encode(text)
    except NoWordsError:
        return None


@pytest.mark.parametrize("version", [1, 2])
@given(_TEXTS | _VERSION2_TEXTS, st.integers(1, 6), st.integers(0, 6))
@example("<p" + "a" * 199 + ">b", 5, 0)
@example("<p" + "a" * 200 + ">b", 5, 0)
@example("<p" + "a" * 201 + ">b", 5, 0)
@example("<p<a>b", 5, 0)
@example("</a>'b <1>", 5, 0)
@example("<\xe9>a", 5, 0)
@example("\uff1ca>b", 5, 0)
@example(f"{_LONG} {_LONG}s {_LONG[:-1]}", 5, 0)
def test_both_halves_agree(version: int, text: str, limit: int, head: int) -> None:
    """Ids, counts and refusals are the same whichever half encodes."""
    fast, slow = (tokenizer_of(version, limit, min(head, limit)) for _ in range(2))
    assert fast.compiled is not None
    slow.compiled = None
    assert encode(fast, text) == encode(slow, text)


@given(st.lists(st.text(alphabet="abcdefgh'", min_size=1), unique=True, min_size=1, max_size=200))
def test_every_word_is_found(words: list[str]) -> None:
    """Whatever the vocabulary, each of its words has its id, and others have none."""
    ids = {word: index for index, word in enumerate(words, 2)}
    vocabulary = compiled_vocabulary(ids, 1, [1] * 9, len(ids) + 2)
    assert vocabulary is not None
    plain = {word: index for index, word in enumerate(words, 2) if word.strip("'") == word and "''" not in word}
    for word, index in plain.items():
        assert vocabulary.encode([word.encode()], 9, 0).each() == [Encoding(array("i", [index]), 1, False, 1, 0, 0)]
    assert vocabulary.encode([b"zz"], 9, 0).each() == [Encoding(array("i", [1]), 1, False, 1, 1, 0)]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("compiled", [True, False])
@given(texts=st.lists(_TEXTS, max_size=6), limit=st.integers(1, 6), head=st.integers(0, 6))
def test_texts_in_one_piece_are_encoded_as_alone(
    compiled: bool, version: int, texts: list[str], limit: int, head: int
) -> None:
    """Whatever stands before or behind a text, ids and counts are its own; texts without words have no tokens."""
    tokenizer = tokenizer_of(version, limit, min(head, limit))
    if not compiled:
        tokenizer.compiled = None
    alone = [encode(tokenizer, text) for text in texts]
    table = tokenizer.encode_together(texts)
    assert table.ids == sum((found.ids for found in alone if found), array("i"))
    assert table.kept == [len(found.ids) if found else 0 for found in alone]
    assert table.tokens == [found.tokens if found else 0 for found in alone]
    for column in ("words", "unknown", "foreign"):
        assert getattr(table, column) == [getattr(found, column) if found else 0 for found in alone]


def test_threads_may_share_a_vocabulary() -> None:
    """The interpreter lock is released, so calls run side by side; they only read."""
    tokenizer = Tokenizer(_VOCABULARY, 400, 0)
    text = "a b ab ba! " * 5_000
    expected = tokenizer.encode(text)
    results: list[Encoding] = []
    threads = [threading.Thread(target=lambda: results.append(tokenizer.encode(text))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4


def test_without_the_library_python_does_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing or foreign library is no error."""
    assert words._load(tmp_path / "absent.so") is None
    foreign = tmp_path / "foreign.so"
    content = WORDS.path.read_bytes()
    foreign.write_bytes(b"\0" * 64 + content[64:])
    assert WORDS.is_current(foreign)
    assert words._load(foreign) is None
    monkeypatch.setattr(words, "_load", lambda _: None)
    tokenizer = Tokenizer(_VOCABULARY, 5, 0)
    assert tokenizer.compiled is None
    assert list(tokenizer.encode("A b!").ids) == [2, 3, 7]
