"""An n-gram teacher whose opinion on unlabelled reviews a recurrent network can learn from.

Logistic regression on binary 1- to 3-grams, scaled by their naive Bayes log-count ratios (Wang and Manning 2012,
"Baselines and bigrams"). For labelled texts it gives out-of-fold probabilities, so that it never judges a text it was
fitted on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from app.text.preprocessing import words

_FOLDS = 5
_MIN_TEXTS = 3
_NGRAMS = (1, 3)
_STRENGTH = 0.2
# liblinear shuffles; with a fixed seed the opinion depends on the texts alone.
_SEED = 0


def teach(texts: Sequence[str], labels: Sequence[int], unlabelled: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Positive-class probabilities of labelled texts (out of fold) and of unlabelled ones.

    Args:
        texts: N labelled texts, films together, so that contiguous folds hold films apart.
        labels: N classes, 0 or 1.
        unlabelled: M texts without a label.

    Returns:
        (N,) and (M,) probabilities.
    """
    vectorizer = CountVectorizer(analyzer=_ngrams, binary=True, min_df=_MIN_TEXTS, dtype=np.float32)
    features = vectorizer.fit_transform(texts)
    classes = np.asarray(labels)
    fold = _contiguous_folds(classes)
    held_out = np.zeros(len(texts))
    for number in range(_FOLDS):
        inside = fold != number
        held_out[~inside] = _Fitted(features[inside], classes[inside]).probabilities(features[~inside])
    everywhere = (
        _Fitted(features, classes).probabilities(vectorizer.transform(unlabelled)) if unlabelled else np.zeros(0)
    )
    return held_out, everywhere


class _Fitted:
    def __init__(self, features: csr_matrix, classes: np.ndarray) -> None:
        positive = 1 + np.asarray(features[classes == 1].sum(0)).ravel()
        negative = 1 + np.asarray(features[classes == 0].sum(0)).ravel()
        self._ratio = np.log(positive / positive.sum()) - np.log(negative / negative.sum())
        self._regression = LogisticRegression(
            C=_STRENGTH, solver="liblinear", dual=True, max_iter=100, tol=1e-2, random_state=_SEED
        )
        self._regression.fit(self._scaled(features), classes)

    def _scaled(self, features: csr_matrix) -> csr_matrix:
        return features.multiply(self._ratio).tocsr().astype(np.float32)

    def probabilities(self, features: csr_matrix) -> np.ndarray:
        result: Any = self._regression.predict_proba(self._scaled(features))
        return np.asarray(result[:, 1])


def _ngrams(text: str) -> list[str]:
    found = words(text)
    low, high = _NGRAMS
    return [" ".join(found[at : at + size]) for size in range(low, high + 1) for at in range(len(found) - size + 1)]


def _contiguous_folds(classes: np.ndarray) -> np.ndarray:
    fold = np.zeros(len(classes), dtype=np.int64)
    for label in np.unique(classes):
        rows = np.flatnonzero(classes == label)
        fold[rows] = np.arange(len(rows)) * _FOLDS // len(rows)
    return fold
