"""What of two versions is compared, and how far their answers lie apart."""

from __future__ import annotations

import pytest

from app.agreement import Comparison, Difference, comparison_of
from app.sentiment import Prediction
from app.store import ModelConfig
from tests.fakes import MODEL

TWO, THREE = ("negative", "positive"), ("negative", "neutral", "positive")


def config(labels: tuple[str, ...], *, rating: bool = False) -> ModelConfig:
    return MODEL.config.model_copy(update={"labels": labels, "rating": rating})


def says(*probabilities: float, rating: float | None = None) -> Prediction:
    return Prediction(probabilities, tokens=3, truncated=False, rating=rating)


def compared(*configs: ModelConfig) -> Comparison:
    found = comparison_of(*configs)
    assert found is not None
    return found


def differs(found: Difference | None, *, changed: bool, score: float) -> None:
    assert found is not None
    assert found.changed == changed
    assert found.score == pytest.approx(score)


def test_the_same_labels_are_compared_by_name() -> None:
    """In whatever order they are."""
    found = compared(config(TWO), config(TWO[::-1]))
    assert found.how == "the labels negative, positive"
    differs(found.of(says(0.3, 0.7), says(0.7, 0.3)), changed=False, score=0.0)
    differs(found.of(says(0.3, 0.7), says(0.4, 0.6)), changed=True, score=0.3)


def test_a_label_that_one_lacks_is_left_out() -> None:
    """Three labels with neutral against two: of the two that both have, also where neutral is the most probable."""
    found = compared(config(TWO), config(THREE))
    assert found.how == "the labels negative, positive, without neutral"
    differs(found.of(says(0.25, 0.75), says(0.1, 0.6, 0.3)), changed=False, score=0.0)
    differs(found.of(says(0.25, 0.75), says(0.6, 0.3, 0.1)), changed=True, score=6 / 7 - 0.25)
    assert found.of(says(0.25, 0.75), says(0.0, 1.0, 0.0)) is None


@pytest.mark.parametrize(
    ("one", "other", "how"),
    [
        (config(TWO), config(("stars", "bars"), rating=True), "the probability of positive with the rating"),
        (config(("bad", "good"), rating=True), config(("a", "b"), rating=True), "the rating with the rating"),
        (config(TWO), config(("positive", "rest")), "the probability of positive with the probability of positive"),
    ],
)
def test_without_common_labels_it_is_how_positive(one: ModelConfig, other: ModelConfig, how: str) -> None:
    found = compared(one, other)
    assert found.how == f"how positive: {how}"
    # Of each kind one that is all for it, and one that is all against it.
    sides: list[tuple[Prediction, Prediction]] = []
    for of in (one, other):
        at = of.labels.index("positive") if "positive" in of.labels else 0
        sides.append((says(*((1.0, 0.0) if at == 0 else (0.0, 1.0)), rating=10.0), says(0.5, 0.5, rating=5.5)))
    differs(found.of(sides[0][0], sides[1][0]), changed=False, score=0.0)
    differs(found.of(sides[0][0], sides[1][1]), changed=True, score=0.5)


@pytest.mark.parametrize("other", [config(("bad", "good")), config(("negative", "rest"))])
def test_what_cannot_be_compared_is_not(other: ModelConfig) -> None:
    """One common label alone says nothing, unless it is positive."""
    assert comparison_of(config(TWO), other) is None


def test_a_rating_that_is_missing_costs_the_text_alone() -> None:
    found = compared(config(TWO), config(("a", "b"), rating=True))
    assert found.of(says(0.5, 0.5), says(1.0, 0.0)) is None
