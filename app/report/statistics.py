"""The two formulas of the report, each as its source has it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

Z_95 = 1.959964
"""Standard deviations of a normal distribution between which 95 % of it lie."""
PRIOR_WORDS = 1_000
"""Weight of the prior: as many words as it counts for."""


class Interval(NamedTuple):
    """Where a share lies, as far as so many rows can tell."""

    low: float
    high: float


def wilson(part: int, whole: int) -> Interval:
    """The 95 % score interval of a share (E. B. Wilson, 1927, JASA 22, 209-212); from 0 to 1 where there is no row."""
    if not whole:
        return Interval(0.0, 1.0)
    share, square = part / whole, Z_95 * Z_95
    middle = (share + square / (2 * whole)) / (1 + square / whole)
    half = Z_95 / (1 + square / whole) * math.sqrt(share * (1 - share) / whole + square / (4 * whole * whole))
    return Interval(max(0.0, middle - half), min(1.0, middle + half))


def log_odds(one: Mapping[str, int], other: Mapping[str, int], background: Mapping[str, int]) -> dict[str, float]:
    """How much more a word is one side's than the other's, in standard deviations; below zero the other's.

    Weighted log-odds ratio with an informative Dirichlet prior (Monroe, Colaresi and Quinn, 2008, Political Analysis
    16, 372-403, equations 16, 19 and 22). The prior has the words' shares in ``background`` and the weight of
    ``PRIOR_WORDS`` words.

    Args:
        one: how often each word is there on one side.
        other: likewise, on the other side.
        background: likewise, on both and elsewhere.
    """
    if len(background) < 2:
        return dict.fromkeys(background, 0.0)  # the only word there is belongs to nobody
    total_one, total_other, total = sum(one.values()), sum(other.values()), sum(background.values())
    scores = {}
    for word in sorted(one.keys() | other.keys()):
        prior = PRIOR_WORDS * background[word] / total
        first, second = one.get(word, 0) + prior, other.get(word, 0) + prior
        odds = (
            math.log(first / (total_one + PRIOR_WORDS - first)),
            math.log(second / (total_other + PRIOR_WORDS - second)),
        )
        scores[word] = (odds[0] - odds[1]) / math.sqrt(1 / first + 1 / second)
    return scores
