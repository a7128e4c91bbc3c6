"""Calibration: how sure a model says it is, fitted on the validation split.

Two classes get a temperature (Guo et al. 2017, "On calibration of modern neural networks", ICML): one number that
divides all logits before the softmax and changes no decision. More classes get a bias each as well, since what training
did to the frequencies of the classes (weights of sources, generated texts) is not undone by one number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import logsumexp

from app.model.torch_predictor import TorchPredictor
from app.sentiment import TokenIds
from app.training.batches import length_sorted

_LOWEST, _HIGHEST = 0.05, 20.0
_DIGITS = 6
_NEAR, _HALF = 0.05, 0.5
_MOST_UNREADABLE, _LEAST_UNREADABLE = 0.01, 0.34


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature with the least negative log-likelihood, to six digits; the same for the same input.

    Args:
        logits: (N, C) before temperature and softmax.
        labels: (N,) true class.
    """
    logits = logits.astype(np.float64)

    def nll(log_temperature: float) -> float:
        return negative_log_likelihood(logits, labels, math.exp(log_temperature))

    # In 1/T the likelihood is concave, so in log T there is one minimum and a bracketed search finds it.
    bounds = (math.log(_LOWEST), math.log(_HIGHEST))
    result = minimize_scalar(nll, bounds=bounds, method="bounded", options={"xatol": 1e-8})
    return round(math.exp(float(result.x)), _DIGITS)


def fit_scaling(logits: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """The factor and the biases (C,) of logits (N, C) with the least negative log-likelihood.

    The biases sum to 0, for the softmax does not see what all classes have in common.

    Args:
        logits: (N, C) before the softmax.
        labels: (N,) true class.
    """
    logits = logits.astype(np.float64)
    classes = logits.shape[1]
    truth = np.eye(classes)[labels]

    def nll(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        factor = math.exp(parameters[0])
        scaled = factor * logits + parameters[1:]
        normalizer = logsumexp(scaled, axis=-1, keepdims=True)
        gradient = (np.exp(scaled - normalizer) - truth) / len(logits)
        value = float((normalizer - (scaled * truth).sum(-1, keepdims=True)).mean())
        return value, np.concatenate([[factor * (gradient * logits).sum()], gradient.sum(0)])

    found = minimize(nll, np.zeros(classes + 1), jac=True, method="L-BFGS-B").x
    return math.exp(found[0]), found[1:] - found[1:].mean()


def fit_unsure(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The confidence below which less than half of the answers are right, to two digits.

    Args:
        probabilities: (N, C) calibrated.
        labels: (N,) true class.
    """
    confidence, right = probabilities.max(-1), probabilities.argmax(-1) == labels
    lowest = 1 / probabilities.shape[1]
    for threshold in np.arange(0.95, lowest, -0.01):
        below = confidence < threshold
        near = below & (confidence >= threshold - _NEAR)
        if near.any() and right[near].mean() < _HALF:
            return round(float(threshold), 2)
    return float(round(lowest, 2))


def fit_unreadable(strange: np.ndarray) -> float:
    """The share of unknown and foreign words that hardly any text of the validation split exceeds, to two digits.

    Args:
        strange: (N,) share of each text.
    """
    return float(round(max(_LEAST_UNREADABLE, float(np.quantile(strange, 1 - _MOST_UNREADABLE))), 2))


def negative_log_likelihood(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    """Mean negative log-likelihood of the true classes (N,) under logits (N, C), in nats."""
    scaled = logits.astype(np.float64) / temperature
    return float((logsumexp(scaled, axis=-1) - scaled[np.arange(len(labels)), labels]).mean())


def logits_of(predictor: TorchPredictor, ids: Sequence[TokenIds[int]]) -> np.ndarray:
    """Logits (N, C) of N texts, in their order."""
    batches = list(length_sorted(ids))
    parts = [predictor.outputs([ids[row] for row in rows]).logits.float().cpu().numpy() for rows in batches]
    logits = np.concatenate(parts)
    logits[np.concatenate(batches)] = logits.copy()
    return logits
