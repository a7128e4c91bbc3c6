"""What of the answers of two versions can be compared, and how far those about one text lie apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from app.sentiment import Prediction
from app.store import ModelConfig

_POSITIVE = "positive"
_FEWEST_LABELS = 2
_FIRST_STAR, _STARS = 1.0, 9.0
"""Ratings go from 1 star to 10."""
_HALF = 0.5


class Difference(NamedTuple):
    """How far two answers lie apart.

    Attributes:
        changed: whether they name another label.
        score: absolute difference of the probabilities, of all labels the greatest; 0 to 1.
    """

    changed: bool
    score: float


@dataclass(frozen=True)
class Comparison:
    """Compares what two versions say of a text.

    Attributes:
        how: what is compared, for people.
        of: gives the difference; None where one says nothing about what is compared.
    """

    how: str
    of: Callable[[Prediction, Prediction], Difference | None]


def comparison_of(one: ModelConfig, other: ModelConfig) -> Comparison | None:
    """How two models can be compared; None where they cannot.

    Labels of the same name are, where there are two at least: what else one of them knows, such as ``neutral``, is left
    out, and the probabilities of the rest are scaled to a sum of 1. Else it is how positive they take a text to be: the
    probability of ``positive`` where there is that label, or the rating, and another label is another side of one half.
    """
    names = [label for label in one.labels if label in other.labels]
    if len(names) >= _FEWEST_LABELS:
        places, other_places = ([config.labels.index(name) for name in names] for config in (one, other))
        left_out = sorted({*one.labels, *other.labels} - {*names})
        without = f", without {', '.join(left_out)}" if left_out else ""
        return Comparison(f"the labels {', '.join(names)}{without}", partial(_by_name, places, other_places))
    found, said = _positive(one), _positive(other)
    if found is None or said is None:
        return None
    return Comparison(f"how positive: {found[0]} with {said[0]}", partial(_by_positive, found[1], said[1]))


def _by_name(places: list[int], other_places: list[int], one: Prediction, other: Prediction) -> Difference | None:
    found, said = _scaled(one, places), _scaled(other, other_places)
    if found is None or said is None:
        return None
    differences = [abs(ours - theirs) for ours, theirs in zip(found, said, strict=True)]
    return Difference(found.index(max(found)) != said.index(max(said)), min(1.0, max(differences)))


def _scaled(prediction: Prediction, places: list[int]) -> list[float] | None:
    """The probabilities at some places, with a sum of 1; None where all of them are 0."""
    chosen = [prediction.probabilities[place] for place in places]
    total = sum(chosen)
    return [probability / total for probability in chosen] if total > 0 else None


def _positive(config: ModelConfig) -> tuple[str, Callable[[Prediction], float | None]] | None:
    if _POSITIVE in config.labels:
        place = config.labels.index(_POSITIVE)
        return f"the probability of {_POSITIVE}", lambda prediction: prediction.probabilities[place]
    if config.rating:
        return "the rating", _of_rating
    return None


def _of_rating(prediction: Prediction) -> float | None:
    return None if prediction.rating is None else (prediction.rating - _FIRST_STAR) / _STARS


def _by_positive(
    of_one: Callable[[Prediction], float | None],
    of_other: Callable[[Prediction], float | None],
    one: Prediction,
    other: Prediction,
) -> Difference | None:
    found, said = of_one(one), of_other(other)
    if found is None or said is None:
        return None
    return Difference((found > _HALF) != (said > _HALF), abs(found - said))
