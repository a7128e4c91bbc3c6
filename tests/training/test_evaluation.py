from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from app.errors import DataError
from app.sentiment import Scores, TokenIds
from app.text.tokenizer import Tokenizer
from app.text.word_ids import PAD_TOKEN, UNKNOWN_TOKEN
from app.training.batches import BATCH_SIZE
from app.training.calibration import fit_temperature, negative_log_likelihood
from app.training.card import source_table
from app.training.evaluation import (
    CALIBRATED_FROM,
    Outcome,
    brier_score,
    calibration_error,
    judge,
    length_buckets,
    measure,
    source_figures,
)
from app.training.labelled import Examples

BINARY = Outcome(
    names=("negative", "positive"),
    labels=np.array([1, 1, 1, 0, 0]),
    probabilities=np.array([[0.1, 0.9], [0.4, 0.6], [0.7, 0.3], [0.8, 0.2], [0.4, 0.6]]),
    tokens=np.array([5, 99, 100, 1200, 1000]),
    truncated=np.array([False, False, False, True, True]),
    unknown=np.array([0.2, 0.0, 0.0, 0.1, 0.2]),
    words=np.array([5, 99, 0, 1200, 1000]),
    ratings=np.full(5, np.nan),
    stars=np.array([8, 9, 10, 1, 2]),
    tokenize_seconds=1.0,
    inference_seconds=1.5,
)


def test_figures_of_two_classes_against_hand_computed_ones() -> None:
    judged = measure(BINARY)
    assert judged.texts == 5
    assert judged.accuracy == 3 / 5
    assert judged.confusion == ((1, 1), (1, 2))
    assert (judged.precision, judged.recall, judged.f1) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    # Pairs (positive, negative) in the right order: 2 + 1.5 + 1 of 6.
    assert judged.roc_auc == pytest.approx(4.5 / 6)
    assert judged.brier == pytest.approx((0.01 + 0.16 + 0.49 + 0.04 + 0.36) / 5)
    assert judged.nll == pytest.approx(-sum(map(math.log, (0.9, 0.6, 0.3, 0.8, 0.4))) / 5)
    assert judged.truncated == 2 / 5
    assert (judged.tokens, judged.unknown, judged.confidence) == pytest.approx((2404 / 5, 0.1, 3.6 / 5))
    assert judged.reviews_per_second == 2
    assert judged.rating_mae is None


def test_accuracy_by_length_counts_every_text_once() -> None:
    first, second, last = measure(BINARY).by_length
    assert (first.low, first.high, first.texts, first.accuracy) == (1, 99, 2, 1.0)
    assert (second.low, second.high, second.texts, second.accuracy) == (100, 149, 1, 0.0)
    assert (last.low, last.high, last.texts, last.accuracy) == (1000, None, 2, 0.5)
    tokens = np.arange(1, 2000)
    assert sum(bucket.texts for bucket in length_buckets(tokens, tokens > 0)) == len(tokens)


def test_expected_calibration_error_by_hand() -> None:
    # Ten bins: (0.6, 0.7] has two texts, one right; (0.9, 1] has two, both right.
    probabilities = np.array([[0.62, 0.38], [0.68, 0.32], [0.05, 0.95], [0.0, 1.0]])
    labels = np.array([0, 1, 1, 1])
    assert calibration_error(probabilities, labels, bins=10) == pytest.approx(0.5 * 0.15 + 0.5 * 0.025)
    assert calibration_error(np.array([[0.0, 1.0]]), np.array([1])) == 0


def test_bins_are_closed_above() -> None:
    # 0.6 ends the bin (0.5, 0.6]; were it closed below, 0.6 and 0.65 would share one.
    probabilities = np.array([[0.6, 0.4], [0.65, 0.35]])
    assert calibration_error(probabilities, np.array([0, 1]), bins=10) == pytest.approx(0.5 * 0.4 + 0.5 * 0.65)


def test_many_classes_are_averaged() -> None:
    outcome = replace(
        BINARY,
        names=("a", "b", "c"),
        labels=np.array([0, 1, 2, 2, 1]),
        probabilities=np.array([[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7], [0.6, 0.2, 0.2], [0.1, 0.8, 0.1]]),
    )
    judged = measure(outcome)
    assert judged.accuracy == 4 / 5
    assert judged.precision == pytest.approx((1 / 2 + 1 + 1) / 3)
    assert judged.recall == pytest.approx((1 + 1 + 1 / 2) / 3)
    assert judged.brier == pytest.approx((0.06 + 0.38 + 0.14 + 1.04 + 0.06) / 5)
    assert judged.roc_auc is not None
    assert 0.5 < judged.roc_auc < 1
    assert judged.confusion == ((1, 0, 0), (0, 2, 0), (1, 0, 1))


def test_an_absent_class_leaves_the_area_undefined() -> None:
    outcome = replace(BINARY, labels=np.ones(5, dtype=int))
    assert measure(outcome).roc_auc is None


def test_rating_figures() -> None:
    judged = measure(replace(BINARY, ratings=np.array([8.0, 8.5, 9.0, 2.0, 4.0])))
    assert judged.rating_mae == pytest.approx((0 + 0.5 + 1 + 1 + 2) / 5)
    assert judged.rating_rank_correlation == pytest.approx(1.0)


def test_as_dict_rounds_what_depends_on_arithmetic_only() -> None:
    document = measure(replace(BINARY, inference_seconds=1.23456)).as_dict()
    assert document["precision"] == 2 / 3
    assert document["nll"] == round(document["nll"], 6)
    assert document["inference_seconds"] == 1.23


def test_brier_score_of_certainty() -> None:
    assert brier_score(np.array([[1.0, 0.0]]), np.array([0])) == 0
    assert brier_score(np.array([[1.0, 0.0]]), np.array([1])) == 1
    assert brier_score(np.array([[1.0, 0.0, 0.0]]), np.array([1])) == 2


THREE = replace(
    BINARY,
    names=("negative", "neutral", "positive"),
    labels=np.array([0, 1, 2, 2, 1]),
    probabilities=np.array([[0.3, 0.6, 0.1], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7], [0.4, 0.5, 0.1], [0.1, 0.1, 0.8]]),
)


def figures_of(outcome: Outcome) -> dict[str, Any]:
    return source_figures(outcome.probabilities, outcome.labels, outcome.names)


def test_figures_of_a_source_by_hand() -> None:
    """Of a text that is either, the more probable of the two counts, whatever neutral has; neutral has its own."""
    # Two of three are told apart; of neutral one is right, two are wrongly called so and one is missed.
    assert figures_of(THREE) == {"texts": 5, "accuracy": 0.666667, "neutral_f1": 0.4}
    assert figures_of(BINARY) == {"texts": 5, "accuracy": 0.6}


def test_labels_of_a_source_are_known_by_name() -> None:
    """Their order does not matter."""
    names, probabilities = ("positive", "neutral", "negative"), THREE.probabilities[:, ::-1]
    assert source_figures(probabilities, 2 - THREE.labels, names) == figures_of(THREE)


def test_a_source_without_texts_that_are_either_has_no_accuracy() -> None:
    """Nothing is made up for it, the other figures are there, and a table leaves its place empty."""
    neutral = figures_of(replace(THREE, labels=np.ones(5, dtype=int)))
    assert neutral == {"texts": 5, "neutral_f1": 0.75}
    assert "| so | 5 |  | 0.750 |  |" in source_table({"so": neutral})
    assert "| mean over the sources |  | **0.6667** |  |  |" in source_table(
        {"so": neutral, "three": figures_of(THREE)}
    )


def test_a_calibration_error_needs_texts_enough() -> None:
    """It is over all labels."""
    many = CALIBRATED_FROM // 5
    outcome = replace(THREE, labels=np.tile(THREE.labels, many), probabilities=np.tile(THREE.probabilities, (many, 1)))
    expected = round(calibration_error(outcome.probabilities, outcome.labels), 6)
    assert figures_of(outcome)["calibration_error"] == expected
    few = replace(outcome, labels=outcome.labels[:-1], probabilities=outcome.probabilities[:-1])
    assert "calibration_error" not in figures_of(few)


class LengthPredictor:
    """Scores by the number of tokens, and remembers its batches."""

    runtime, precision, device = "lengths", "float32", "cpu"
    pads = False

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def predict(self, batch: Sequence[TokenIds[int]]) -> list[Scores]:
        self.batches.append([len(ids) for ids in batch])
        return [Scores((1 - len(ids) / 1000, len(ids) / 1000)) for ids in batch]


def test_judge_scores_in_batches_of_like_length_and_answers_in_order() -> None:
    lengths = [(number * 37) % 100 + 1 for number in range(150)]
    texts = ["word " * length for length in lengths]
    predictor = LengthPredictor()
    tokenizer = Tokenizer([PAD_TOKEN, UNKNOWN_TOKEN, "word"], 50, 0)
    outcome = judge(predictor, tokenizer, ("a", "b"), Examples(texts, [0] * 150, [None] * 150))
    assert outcome.tokens.tolist() == lengths
    assert outcome.probabilities[:, 1].tolist() == [min(length, 50) / 1000 for length in lengths]
    assert [len(batch) for batch in predictor.batches] == [BATCH_SIZE, BATCH_SIZE, 150 - 2 * BATCH_SIZE]
    flat = [length for batch in predictor.batches for length in batch]
    assert flat == sorted(flat)


def test_judge_needs_texts() -> None:
    with pytest.raises(DataError, match="no texts"):
        judge(LengthPredictor(), Tokenizer([PAD_TOKEN, UNKNOWN_TOKEN], 5, 0), ("a", "b"), Examples([], [], []))


@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 3.0])
def test_temperature_is_recovered(true_temperature: float) -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(20_000, 3)) * 2
    chances = np.exp(logits)
    chances /= chances.sum(-1, keepdims=True)
    labels = (random.random((len(logits), 1)) > chances.cumsum(-1)).sum(-1)
    fitted = fit_temperature(logits * true_temperature, labels)
    assert fitted == pytest.approx(true_temperature, rel=0.05)
    assert fit_temperature(logits * true_temperature, labels) == fitted


def test_the_fitted_temperature_has_the_least_nll() -> None:
    random = np.random.default_rng(1)
    labels = random.integers(0, 2, 500)
    logits = random.normal(size=(500, 2)) * 4
    logits[np.arange(500), labels] += 2
    fitted = fit_temperature(logits, labels)
    best = negative_log_likelihood(logits, labels, fitted)
    for factor in (0.9, 0.99, 1.01, 1.1):
        assert negative_log_likelihood(logits, labels, fitted * factor) >= best
