"""Teachers whose soft labels of unlabelled texts a recurrent network can learn from.

Two that err differently, and their weighted sum:

- Logistic regression on 1- to 3-grams, scaled by their naive Bayes log-count ratios (Wang and Manning 2012, "Baselines
  and bigrams").
- Logistic regression on document vectors (``documents.py``), which unlabelled texts help to train.

No text is judged by a regression that was fitted on it: labelled texts get out-of-fold predictions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

from app.text.preprocessing import words
from app.training.documents import document_vectors
from app.training.ngrams import Ngrams

_FOLDS = 5
_MIN_TEXTS = 3
_VECTOR_MIN_TEXTS = 5
_VECTOR_SIZE = 256
_VECTOR_RATE = 0.06
_NGRAM_STRENGTH = 0.2
_VECTOR_STRENGTH = 3.0
# The last regression has a handful of weights: hardly any regularization.
_BLEND_STRENGTH = 100.0
# liblinear shuffles; with a fixed seed the result depends on the texts alone.
_SEED = 0


@dataclass(frozen=True)
class SoftLabels:
    """Probabilities of the second class.

    Attributes:
        labelled: (N,) of the labelled texts, out of fold.
        unlabelled: (M,) of the unlabelled texts.
    """

    labelled: np.ndarray
    unlabelled: np.ndarray


def teach(
    texts: Sequence[str],
    labels: Sequence[int],
    unlabelled: Sequence[str],
    vector_passes: int = 0,
) -> SoftLabels:
    """What the teachers think.

    Args:
        texts: N labelled texts, films together, so that contiguous folds hold films apart.
        labels: N classes, 0 or 1.
        unlabelled: M texts without a label.
        vector_passes: passes that train document vectors; 0 leaves that teacher out.
    """
    classes = np.asarray(labels)
    fold = _contiguous_folds(classes)
    documents = [words(text) for text in [*texts, *unlabelled]]
    ngrams = Ngrams(documents, _MIN_TEXTS)
    presence = ngrams.presence(documents)
    inside, outside = presence[: len(texts)], presence[len(texts) :]
    teachers = [_held_out(_Regression, inside, classes, fold)]
    elsewhere = [_Regression(inside, classes).logits(outside)]
    if vector_passes:
        placed = _vectors(presence, vector_passes)
        teachers.append(_held_out(_VectorRegression, placed[: len(texts)], classes, fold))
        elsewhere.append(_VectorRegression(placed[: len(texts)], classes).logits(placed[len(texts) :]))
    held_out = np.stack(teachers, axis=1)
    together = _held_out(_Blend, held_out, classes, fold)
    accuracies = [f"{((logits > 0) == classes).mean():.4f}" for logits in [*teachers, together]]
    tqdm.write(f"out-of-fold accuracy of the teachers and of their blend: {', '.join(accuracies)}")
    return SoftLabels(
        labelled=expit(together),
        unlabelled=expit(_Blend(held_out, classes).logits(np.stack(elsewhere, axis=1))),
    )


def word_targets(
    texts: Sequence[str], labels: Sequence[int], unlabelled: Sequence[str], fragments: Sequence[str]
) -> np.ndarray:
    """What each word adds to the n-gram teacher's logit: the weights of the n-grams that end there.

    Of labelled texts out of fold. Arguments as for ``teach``, and short texts.

    Returns:
        one number for each word of each text, in order.
    """
    classes = np.asarray(labels)
    fold = _contiguous_folds(classes)
    documents = [words(text) for text in texts]
    ngrams = Ngrams(documents, _MIN_TEXTS)
    presence = ngrams.presence(documents)
    parts: list[np.ndarray] = [np.zeros(0)] * len(documents)
    for number in range(_FOLDS):
        inside = fold != number
        weights = _Regression(presence[inside], classes[inside]).weights
        rows = np.flatnonzero(~inside)
        ends = np.cumsum([len(documents[row]) for row in rows])
        found = ngrams.weights_at_words([documents[row] for row in rows], weights)
        for row, part in zip(rows, np.split(found, ends[:-1]), strict=True):
            parts[row] = part
    weights = _Regression(presence, classes).weights
    others = [words(text) for text in [*unlabelled, *fragments]]
    return np.concatenate([*parts, ngrams.weights_at_words(others, weights)]).astype(np.float32)


class _Regression:
    """On n-grams; columns that no text here has are left out."""

    def __init__(self, features: csr_matrix, classes: np.ndarray) -> None:
        counts = [np.asarray(features[classes == label].sum(0)).ravel() for label in (0, 1)]
        self._columns = np.flatnonzero(counts[0] + counts[1])
        negative, positive = (1 + count[self._columns] for count in counts)
        ratio = np.log(positive / positive.sum()) - np.log(negative / negative.sum())
        regression = LogisticRegression(
            C=_NGRAM_STRENGTH, solver="liblinear", dual=True, max_iter=100, tol=1e-2, random_state=_SEED
        )
        regression.fit(features[:, self._columns].multiply(ratio).tocsr().astype(np.float32), classes)
        self.weights = np.zeros(features.shape[1])
        self.weights[self._columns] = ratio * regression.coef_[0]
        self._intercept = float(regression.intercept_[0])

    def logits(self, features: csr_matrix) -> np.ndarray:
        return np.asarray(features @ self.weights + self._intercept)


class _VectorRegression:
    """On document vectors."""

    strength = _VECTOR_STRENGTH

    def __init__(self, features: np.ndarray, classes: np.ndarray) -> None:
        self._regression = LogisticRegression(C=self.strength, max_iter=500).fit(features, classes)

    def logits(self, features: np.ndarray) -> np.ndarray:
        return np.asarray(self._regression.decision_function(features))


class _Blend(_VectorRegression):
    """On the logits of teachers: their weighted sum, calibrated."""

    strength = _BLEND_STRENGTH


def _held_out(kind: type[Any], features: Any, classes: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Logits of every row from a regression of the given kind that was fitted on the other folds."""
    logits = np.zeros(len(classes))
    for number in range(_FOLDS):
        inside = fold != number
        logits[~inside] = kind(features[inside], classes[inside]).logits(features[~inside])
    return logits


def _vectors(presence: csr_matrix, passes: int) -> np.ndarray:
    common = np.bincount(presence.indices, minlength=presence.shape[1]) >= _VECTOR_MIN_TEXTS
    return document_vectors(presence[:, common], size=_VECTOR_SIZE, passes=passes, rate=_VECTOR_RATE)


def _contiguous_folds(classes: np.ndarray) -> np.ndarray:
    fold = np.zeros(len(classes), dtype=np.int64)
    for label in np.unique(classes):
        rows = np.flatnonzero(classes == label)
        fold[rows] = np.arange(len(rows)) * _FOLDS // len(rows)
    return fold
