import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.text.preprocessing import word_spans, words

# Characters that meet each other's rules: apostrophes, tone, tags, combining marks, ligatures, surrogates, NUL.
_TRICKY = "aZé0 \t\n'’`\x91!?¿‼⁉<>/br.,-_&\u0301\u0308\u200d\ufeff\ud800\udfff\x00ﬁ½ßİŉ😀👩🏽क्षال中文ﷺ"
_TEXTS = st.text() | st.text(alphabet=_TRICKY) | st.text(alphabet="a'’!?<b> ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("Good film", ["good", "film"]),
        ("I don't, 'quoted' rock'n'roll''s", ["i", "don't", "quoted", "rock'n'roll", "s"]),
        ("What?! No!!", ["what", "?", "!", "no", "!", "!"]),
        ("one<br /><br />two", ["one", "two"]),
        ("3 < 4 and 5 > 4", ["3", "4", "and", "5", "4"]),
        ("CAFÉ cafe\u0301 Café", ["cafe", "cafe", "cafe"]),
        ("it\u2019s it\x92s it`s", ["it's", "it's", "it's"]),
        ("a\x00b", ["a", "b"]),
        ("😀 👍🏽", []),
        ("\ud83d good", ["good"]),
        ("ﬁlm STRASSE straße", ["film", "strasse", "strasse"]),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@given(_TEXTS)
@example("'a' b'")
@example("''a''b")
@example("<p" + "a" * 300 + ">")
@example("a\u0301'\u0301b")
def test_the_fast_path_and_the_one_with_offsets_agree(text: str) -> None:
    assert words(text) == [span.word for span in word_spans(text)]


@given(_TEXTS)
def test_offsets_point_at_the_characters_of_the_word(text: str) -> None:
    spans = word_spans(text)
    for span in spans:
        assert 0 <= span.start < span.end <= len(text)
        # A character that folds to several words gives each of them its own offsets, hence "in".
        assert span.word in words(text[span.start : span.end])
    assert [span.start for span in spans] == sorted(span.start for span in spans)


def test_offsets_take_combining_marks_along() -> None:
    text = "un cafe\u0301!"
    assert [text[span.start : span.end] for span in word_spans(text)] == ["un", "cafe\u0301", "!"]


@given(_TEXTS)
def test_words_are_stable_and_clean(text: str) -> None:
    for word in words(text):
        assert word
        assert not any(character.isspace() for character in word)
        assert word == word.casefold() or unicodedata.normalize("NFKD", word) == word


def test_composed_and_decomposed_spelling_are_the_same_words() -> None:
    text = "Amélie était très drôle"
    assert words(unicodedata.normalize("NFD", text)) == words(unicodedata.normalize("NFC", text))
