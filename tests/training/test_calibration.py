"""Calibration: factor and biases of several classes, and the thresholds of judgements."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from app.training.calibration import fit_scaling, fit_unreadable, fit_unsure


def answers(*parts: tuple[float, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of three classes and true labels: so many texts of a confidence, so many of them right."""
    confidence = np.concatenate([np.full(texts, sure) for sure, texts, _ in parts])
    labels = np.concatenate([np.repeat([0, 1], [right, texts - right]) for _, texts, right in parts])
    rest = (1 - confidence) / 2
    return np.stack([confidence, rest, rest], axis=1), labels


def test_factor_and_biases_are_recovered() -> None:
    """Labels drawn from scaled logits with biases give both back; the biases sum to 0."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (40_000, 3))
    factor, biases = 0.5, np.array([0.6, -0.9, 0.3])
    drawn = softmax(factor * logits + biases, axis=-1).cumsum(-1) < random.random((len(logits), 1))
    found, found_biases = fit_scaling(logits, drawn.sum(-1))
    assert found == pytest.approx(factor, abs=0.02)
    assert found_biases == pytest.approx(biases, abs=0.05)
    assert found_biases.sum() == pytest.approx(0, abs=1e-9)


def test_unsure_is_where_less_than_half_are_right() -> None:
    """The highest confidence below which so few are right; a hundredth more is still sure enough."""
    assert fit_unsure(*answers((0.9, 100, 90), (0.7, 100, 65), (0.5, 100, 40))) == pytest.approx(0.55)
    assert fit_unsure(*answers((0.9, 100, 90), (0.7, 100, 45), (0.5, 100, 60))) == pytest.approx(0.75)


def test_answers_that_are_mostly_right_are_all_sure() -> None:
    """Then the threshold is that of no knowledge at all: no answer is below it."""
    probabilities, labels = answers((0.9, 100, 90), (0.5, 100, 60), (0.4, 100, 50))
    threshold = fit_unsure(probabilities, labels)
    assert threshold == 0.33
    assert probabilities.max(-1).min() > threshold


def test_unreadable_is_what_one_text_in_a_hundred_exceeds() -> None:
    strange = np.linspace(0, 1, 1001)
    assert fit_unreadable(strange) == 0.99
    assert fit_unreadable(np.concatenate([np.zeros(992), np.full(8, 0.9)])) == 0.34
    assert fit_unreadable(np.concatenate([np.zeros(900), np.full(100, 0.6)])) == 0.6
