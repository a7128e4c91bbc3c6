"""The domain's words: when an answer is to be trusted."""

from __future__ import annotations

from array import array

import pytest

from app.sentiment import Encoding, Judgement, Prediction, Thresholds, prediction_of

THRESHOLDS = Thresholds(unsure_below=0.6, unreadable_above=0.5)


@pytest.mark.parametrize(
    ("probabilities", "words", "strange", "judgement"),
    [
        ((0.4, 0.6), 4, 0, "ok"),
        ((0.41, 0.59), 4, 0, "unsure"),
        ((0.3, 0.3, 0.4), 4, 0, "unsure"),
        ((0.1, 0.9), 4, 2, "ok"),
        ((0.1, 0.9), 5, 3, "unreadable"),
        ((0.5, 0.5), 1, 1, "unreadable"),
        ((0.1, 0.9), 0, 0, "ok"),
    ],
)
def test_judgements(probabilities: tuple[float, ...], words: int, strange: int, judgement: Judgement) -> None:
    """A value that is just a threshold passes; a text that is unreadable is not called unsure."""
    assert THRESHOLDS.judge(probabilities, words, strange) == judgement


def test_unknown_and_foreign_words_are_strange_together() -> None:
    """``unknown`` has the unknown ones alone; a text without words, such as an exclamation mark, has none."""
    encoding = Encoding(array("i", [2] * 8), tokens=9, truncated=True, words=8, unknown=2, foreign=3)
    expected = Prediction((0.1, 0.9), 9, True, rating=7.5, unknown=0.25, judgement="unreadable")
    assert prediction_of((0.1, 0.9), 7.5, encoding, THRESHOLDS) == expected
    tone = Encoding(array("i", [2]), tokens=1, truncated=False, words=0, unknown=0, foreign=0)
    assert prediction_of((0.1, 0.9), None, tone, THRESHOLDS) == Prediction((0.1, 0.9), 1, False)
