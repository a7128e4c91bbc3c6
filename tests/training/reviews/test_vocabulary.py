"""The vocabulary of reviews of any kind: which words share a token, which are cut, which are of other languages."""

from __future__ import annotations

import pytest

from app.sentiment import UNKNOWN_ID
from app.text.tokenizer import Tokenizer
from app.text.word_ids import PIECE
from app.training.reviews import wordlists
from app.training.reviews.vocabulary import build_pieces, build_tokenizer

PLAIN = "the unhappy plumber was friendly and the price was unfair"
# Ten times each, so that the texts decide and not the general frequency of a word.
TEXTS = 10 * [
    "we met Mildred and later Angela in the shop",
    "we drank much and may drink more, a joy and a rose",
    "a man from Chicago, la casa es muy grande pero bonita",
    PLAIN,
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return build_tokenizer(TEXTS, 400, 120, 50, 10, ["zesty", "\U0001f525"])


def ids(tokenizer: Tokenizer, text: str) -> list[int]:
    return list(tokenizer.encode(text).ids)


@pytest.mark.parametrize(
    ("one", "other", "token"),
    [
        ("Mildred", "Angela", wordlists.NAME),
        ("Mildred", "Chicago", wordlists.NAME),
        ("Chicago", "Nairobi", wordlists.NAME),
        ("german", "Polish", wordlists.NATIONALITY),
        ("Muslims", "christian", wordlists.RELIGION),
        ("gay", "heterosexual", wordlists.ORIENTATION),
    ],
)
def test_names_of_one_kind_share_a_token(tokenizer: Tokenizer, one: str, other: str, token: str) -> None:
    """No answer can depend on which of them stands in a text, whether the texts had it or not."""
    shared = tokenizer.vocabulary.index(token)
    assert ids(tokenizer, one) == ids(tokenizer, other) == [shared]
    assert {one.lower(), other.lower()}.isdisjoint(tokenizer.vocabulary)


def test_a_name_that_is_also_an_ordinary_word_stays_one(tokenizer: Tokenizer) -> None:
    """May, Rose and Joy are names too; the texts have them in lower case, and joy is a word of judgement."""
    assert {"may", "rose", "joy"} <= set(wordlists.first_names())
    for word in ("may", "rose", "joy"):
        assert word in tokenizer.vocabulary
    assert not {"may", "rose", "joy"} & set(tokenizer.aliases[wordlists.NAME])


def test_each_name_is_of_one_kind(tokenizer: Tokenizer) -> None:
    """What is a nationality or a faith is not a person's name as well, for instance Christian."""
    everything = [word for others in tokenizer.aliases.values() for word in others]
    assert len(everything) == len(set(everything))
    assert "christian" in wordlists.first_names()
    assert "christian" not in tokenizer.aliases[wordlists.NAME]


def test_words_of_other_languages_are_at_the_end_and_counted(tokenizer: Tokenizer) -> None:
    foreign = tokenizer.vocabulary[len(tokenizer) - tokenizer.foreign :]
    assert {"la", "muy", "pero"} <= set(foreign)
    assert set(foreign) <= set(wordlists.foreign_words())
    assert not any(word.startswith(PIECE) for word in foreign)
    assert tokenizer.encode("la casa es muy grande pero bonita").foreign >= 3
    assert tokenizer.encode(PLAIN).foreign == 0


def test_wanted_words_are_there_and_the_size_is_kept(tokenizer: Tokenizer) -> None:
    """Words to have in any case are listed though no text has them; all kinds together are as many as asked for."""
    small = build_tokenizer(TEXTS, 70, 40, 50, 10, [])
    assert {"zesty", "emoji1f525"} <= set(tokenizer.vocabulary)
    assert len(tokenizer) < 400
    assert len(small) == 70


def test_an_unknown_word_is_cut_into_pieces_of_known_ones(tokenizer: Tokenizer) -> None:
    found = [tokenizer.vocabulary[number] for number in ids(tokenizer, "unplumber")]
    assert "".join(piece.removeprefix(PIECE) for piece in found) == "unplumber"
    assert all(piece.startswith(PIECE) for piece in found)
    assert UNKNOWN_ID in ids(tokenizer, "\u4f60\u597d")


def test_pieces_are_all_letters_and_what_is_in_most_words() -> None:
    """Rare words, numbers and words with other letters give none; the number asked for is kept."""
    counts = {"unab": 9, "uncd": 9, "unef": 9, "ungh": 9, "qqqqq": 2, "1999": 50, "caf\u00e9": 50}
    pieces = build_pieces(counts, 27)
    assert pieces[:26] == [PIECE + chr(code) for code in range(ord("a"), ord("z") + 1)]
    assert pieces[26:] == [PIECE + "un"]
    many = build_pieces(counts, 200)
    assert len(many) == len(set(many)) <= 200
    assert not any("qq" in piece or "19" in piece for piece in many)
    assert build_pieces(dict(reversed(counts.items())), 60) == build_pieces(counts, 60)
