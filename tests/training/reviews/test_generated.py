"""Generated texts: the same for a seed, whole, and with targets that are probabilities."""

from __future__ import annotations

import random

import pytest

from app.text.preprocessing2 import words
from app.training.reviews.flipped import flipped
from app.training.reviews.generated import NEGATIVE, NEUTRAL, Generator, graded
from app.training.reviews.unreadable import unreadable_texts


def test_texts_depend_on_the_seed_alone() -> None:
    """Every place of a pattern is filled, every text has a word, every target sums to one."""
    made = Generator(3).texts(1_000)
    assert made == Generator(3).texts(1_000)
    assert made != Generator(4).texts(1_000)
    for of in made:
        assert "{" not in of.text
        assert words(of.text)
        assert sum(of.target) == pytest.approx(1)


def test_a_phrase_moves_the_target_its_way() -> None:
    """Blame behind a neutral text makes it more negative, praise more positive."""
    generator = Generator(1)
    for _ in range(50):
        of = generator.with_phrase("The box has two cables", NEUTRAL)
        assert max(of.target[0], of.target[2]) > 0.4
        assert sum(of.target) == pytest.approx(1)


def test_a_valence_becomes_a_target() -> None:
    assert graded(-1.0)[0] > graded(-0.4)[0] > 0.5
    assert graded(0.05)[1] > 0.8
    assert graded(0.9)[2] > 0.9
    assert sum(graded(0.3)) == pytest.approx(1)


def test_unreadable_texts_are_of_many_kinds() -> None:
    texts = unreadable_texts(300, random.Random(1))
    assert texts == unreadable_texts(300, random.Random(1))
    assert any("SELECT" in text or "def " in text for text in texts)
    assert any(text.startswith("2024-") for text in texts)
    assert any(not text.isascii() for text in texts)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A good film, I loved it", "A bad film, I hated it"),
        ("Terrible sound", "Great sound"),
        ("It was on the second floor", None),
        ("not good and never fun, no", None),
    ],
)
def test_flipped_texts_say_the_opposite(text: str, expected: str | None) -> None:
    """Words are exchanged for their antonyms; a text without them, or full of negations, is left alone."""
    assert flipped(text) == expected
    assert NEGATIVE[0] > 0.9
