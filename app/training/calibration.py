"""Temperature scaling (Guo et al. 2017, "On calibration of modern neural networks", ICML).

One number divides all logits before the softmax. It changes no decision, only how sure the model says it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from app.modeling.predictor import TorchPredictor
from app.sentiment import TokenIds
from app.training.evaluation import BATCH_SIZE

_LOWEST, _HIGHEST = 0.05, 20.0
_DIGITS = 6


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


def negative_log_likelihood(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    """Mean negative log-likelihood of the true classes (N,) under logits (N, C), in nats."""
    scaled = logits.astype(np.float64) / temperature
    return float((logsumexp(scaled, axis=-1) - scaled[np.arange(len(labels)), labels]).mean())


def logits_of(predictor: TorchPredictor, ids: Sequence[TokenIds[int]]) -> np.ndarray:
    """Logits (N, C) of N texts, in their order."""
    order = np.argsort([len(row) for row in ids], kind="stable")
    parts = [
        predictor.outputs([ids[row] for row in order[start : start + BATCH_SIZE]]).logits.float().cpu().numpy()
        for start in range(0, len(order), BATCH_SIZE)
    ]
    logits = np.concatenate(parts)
    logits[order] = logits.copy()
    return logits
