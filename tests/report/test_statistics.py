"""The formulas of the report, against an oracle and by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from app.report.statistics import PRIOR_WORDS, log_odds, wilson

COUNTS = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 500), min_size=2)


@pytest.mark.parametrize(("part", "whole"), [(0, 1), (1, 1), (3, 10), (0, 400), (400, 400), (123, 4567)])
def test_the_interval_is_that_of_scipy(part: int, whole: int) -> None:
    """Wilson's, without a continuity correction."""
    expected = binomtest(part, whole).proportion_ci(0.95, method="wilson")
    assert tuple(wilson(part, whole)) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_of_no_row_nothing_is_known() -> None:
    """The interval holds every share."""
    assert wilson(0, 0) == (0.0, 1.0)


def test_log_odds_by_hand() -> None:
    """The formula written out for two words."""
    one, other = {"good": 8, "lamp": 10}, {"good": 1, "lamp": 9}
    background = {"good": 9, "lamp": 19}
    prior = {word: PRIOR_WORDS * count / 28 for word, count in background.items()}
    first, second = 8 + prior["good"], 1 + prior["good"]
    odds = math.log(first / (10 + prior["lamp"])) - math.log(second / (9 + prior["lamp"]))
    assert log_odds(one, other, background)["good"] == pytest.approx(odds / math.sqrt(1 / first + 1 / second))


def test_one_word_is_nobodys() -> None:
    """Where there is no other, it has no odds."""
    assert log_odds({"lamp": 3}, {"lamp": 1}, {"lamp": 4}) == {"lamp": 0.0}
    assert log_odds({}, {}, {}) == {}


@given(COUNTS, COUNTS)
def test_log_odds_are_those_of_the_other_side_below_zero(one: dict[str, int], other: dict[str, int]) -> None:
    """Who is compared with whom changes the sign alone, and words of equal shares are nobody's."""
    background = {word: one.get(word, 0) + other.get(word, 0) for word in one.keys() | other.keys()}
    if len(background) < 2:
        return
    there = log_odds(other, one, background)
    for word, score in log_odds(one, other, background).items():
        assert score == pytest.approx(-there[word])
    assert all(score == pytest.approx(0) for score in log_odds(one, one, one).values())
