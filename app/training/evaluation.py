"""What a model scores on labelled texts: the figures, and the raw outcome they and the plots are computed from."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from sklearn.metrics import confusion_matrix, f1_score, log_loss, precision_recall_fscore_support, roc_auc_score

from app.errors import DataError
from app.histograms import Histograms, histograms_of
from app.sentiment import Predictor
from app.text.tokenizer import Tokenizer
from app.training.batches import predict_sorted
from app.training.labelled import Examples

CALIBRATION_BINS = 15
CALIBRATED_FROM = 300
"""Texts of a source from which on its calibration error says something."""
LENGTH_EDGES = (1, 100, 150, 200, 300, 400, 600, 1000)
"""Lower bounds of the length buckets, in tokens before truncation; the last has no upper bound."""

# Digits after which float32 arithmetic may differ between two machines.
_DIGITS = 6
_SCORES = ("roc_auc", "calibration_error", "brier", "nll", "rating_mae", "rating_rank_correlation")
_MEANS = ("tokens", "unknown", "confidence")


@dataclass(frozen=True)
class Outcome:
    """What a model said about N labelled texts.

    Attributes:
        names: names of the C classes.
        labels: (N,) true class.
        probabilities: (N, C) probability of each class.
        tokens: (N,) tokens of each text before truncation.
        truncated: (N,) whether the model saw only a part.
        unknown: (N,) share of the words that are not in the model's vocabulary.
        words: (N,) words of each text, of which a text of numbers has none.
        ratings: (N,) expected stars, NaN where the model gives none.
        stars: (N,) true stars, 0 where there is none.
        tokenize_seconds: time to tokenize all texts.
        inference_seconds: time of all forward passes, padding included.
        skipped: texts that were left out because they have no word.
    """

    names: tuple[str, ...]
    labels: np.ndarray
    probabilities: np.ndarray
    tokens: np.ndarray
    truncated: np.ndarray
    unknown: np.ndarray
    words: np.ndarray
    ratings: np.ndarray
    stars: np.ndarray
    tokenize_seconds: float
    inference_seconds: float
    skipped: int = 0

    @property
    def predicted(self) -> np.ndarray:
        """(N,) most probable class, the first of equals."""
        return np.asarray(self.probabilities.argmax(-1))

    @property
    def correct(self) -> np.ndarray:
        """(N,) whether the most probable class is the true one."""
        return np.asarray(self.predicted == self.labels)


@dataclass(frozen=True)
class LengthBucket:
    """Accuracy on the texts of ``low`` to ``high`` tokens (no upper bound where None)."""

    low: int
    high: int | None
    texts: int
    accuracy: float


@dataclass(frozen=True)
class ClassFigures:
    """Figures of one class against all others; ``texts`` truly belong to it."""

    label: str
    texts: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Evaluation:
    """The figures of one model on one set of labelled texts.

    Attributes:
        texts: number of texts.
        skipped: texts without a word, which are in no figure.
        precision, recall, f1: of the second class where there are two, else the macro average.
        roc_auc: area under the ROC curve; more than two classes: one against the rest, macro average; None where a
            class is absent.
        calibration_error: expected calibration error of the most probable class' probability, 15 bins of equal width
            (Guo et al. 2017, "On calibration of modern neural networks").
        brier: mean squared error of the probabilities (Brier 1950); of the second class where there are two, else
            summed over the classes.
        nll: mean negative log-likelihood of the true class, in nats.
        confusion: rows are true classes, columns predicted ones.
        by_class: figures of each class.
        by_length: accuracy by tokens before truncation; empty buckets are left out.
        truncated: share of texts that were truncated.
        tokens, unknown, confidence: means over the texts of tokens before truncation, share of unknown tokens and
            probability of the predicted class; what a service compares its traffic with.
        rating_mae, rating_rank_correlation: mean absolute error in stars, and Spearman's correlation; None without
            ratings on both sides.
        reviews_per_second: texts over the time of tokenizing and inference together.
    """

    texts: int
    skipped: int
    accuracy: float
    precision: float
    recall: float
    f1: float
    roc_auc: float | None
    calibration_error: float
    brier: float
    nll: float
    labels: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    by_class: tuple[ClassFigures, ...]
    by_length: tuple[LengthBucket, ...]
    truncated: float
    tokens: float
    unknown: float
    confidence: float
    rating_mae: float | None
    rating_rank_correlation: float | None
    tokenize_seconds: float
    inference_seconds: float
    reviews_per_second: float

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers. Ratios of counts keep all digits, other scores six, times three significant ones."""
        document = asdict(self)
        for name in (*_SCORES, *_MEANS):
            if document[name] is not None:
                document[name] = round(document[name], _DIGITS)
        for name in ("tokenize_seconds", "inference_seconds", "reviews_per_second"):
            document[name] = float(f"{document[name]:.3g}")
        return document


def judge(predictor: Predictor, tokenizer: Tokenizer, names: Sequence[str], examples: Examples) -> Outcome:
    """Let a model score labelled texts, in batches of like length.

    Raises:
        DataError: there are no texts.
    """
    if not len(examples):
        raise DataError("no texts to evaluate on")
    started = time.perf_counter()
    encodings = [tokenizer.encode(text) for text in examples.texts]
    tokenized = time.perf_counter()
    scores = predict_sorted(predictor, [encoding.ids for encoding in encodings])
    finished = time.perf_counter()
    return Outcome(
        tuple(names),
        np.asarray(examples.labels),
        np.asarray([score.probabilities for score in scores]),
        np.asarray([encoding.tokens for encoding in encodings]),
        np.asarray([encoding.truncated for encoding in encodings]),
        np.asarray([encoding.unknown / max(1, encoding.words) for encoding in encodings]),
        np.asarray([encoding.words for encoding in encodings]),
        np.asarray([np.nan if score.rating is None else score.rating for score in scores]),
        np.asarray([stars or 0 for stars in examples.stars]),
        tokenized - started,
        finished - tokenized,
        examples.skipped,
    )


def reference_histograms(data: str, outcome: Outcome) -> Histograms:
    """How scores, lengths and shares of unknown words are distributed, counted as a service counts its texts."""
    worded = outcome.unknown[outcome.words > 0]
    return histograms_of(data, outcome.probabilities.max(-1).tolist(), outcome.tokens.tolist(), worded.tolist())


def measure(outcome: Outcome) -> Evaluation:
    """All figures of an outcome."""
    count, classes = len(outcome.labels), len(outcome.names)
    every = list(range(classes))
    average: dict[str, Any] = {"average": "binary", "pos_label": 1} if classes == 2 else {"average": "macro"}
    precision, recall, f1, _ = precision_recall_fscore_support(
        outcome.labels, outcome.predicted, labels=every, zero_division=0.0, **average
    )
    mae, correlation = _rating_figures(outcome)
    return Evaluation(
        texts=count,
        skipped=outcome.skipped,
        accuracy=float(outcome.correct.mean()),
        precision=float(precision),
        recall=float(recall),
        f1=float(f1),
        roc_auc=_roc_auc(outcome),
        calibration_error=calibration_error(outcome.probabilities, outcome.labels),
        brier=brier_score(outcome.probabilities, outcome.labels),
        nll=float(log_loss(outcome.labels, _normalized(outcome.probabilities), labels=every)),
        labels=outcome.names,
        confusion=tuple(map(tuple, confusion_matrix(outcome.labels, outcome.predicted, labels=every).tolist())),
        by_class=class_figures(outcome),
        by_length=length_buckets(outcome.tokens, outcome.correct),
        truncated=float(outcome.truncated.mean()),
        tokens=float(outcome.tokens.mean()),
        unknown=float(outcome.unknown.mean()),
        confidence=float(outcome.probabilities.max(-1).mean()),
        rating_mae=mae,
        rating_rank_correlation=correlation,
        tokenize_seconds=outcome.tokenize_seconds,
        inference_seconds=outcome.inference_seconds,
        reviews_per_second=count / max(outcome.tokenize_seconds + outcome.inference_seconds, 1e-9),
    )


def source_figures(probabilities: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """What a model that knows negative, positive and at most neutral scores on one source, for ``metrics.json``.

    ``accuracy`` is that of negative against positive, where there are such texts: the more probable of the two counts.
    ``neutral_f1`` is that of neutral among all labels, where there are neutral texts; ``calibration_error`` is over all
    labels, where there are texts enough.

    Args:
        probabilities: (N, C) of each class.
        labels: (N,) true class.
        names: of the C classes.
    """
    negative, positive = names.index("negative"), names.index("positive")
    polar = np.isin(labels, (negative, positive))
    told = probabilities[polar, positive] > probabilities[polar, negative]
    figures: dict[str, Any] = {"texts": len(labels)}
    if polar.any():
        figures["accuracy"] = round(float((told == (labels[polar] == positive)).mean()), _DIGITS)
    if not polar.all():
        neutral = names.index("neutral")
        score = f1_score(labels == neutral, probabilities.argmax(-1) == neutral, zero_division=0.0)
        figures["neutral_f1"] = round(float(score), _DIGITS)
    if len(labels) >= CALIBRATED_FROM:
        figures["calibration_error"] = round(calibration_error(probabilities, labels), _DIGITS)
    return figures


def calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = CALIBRATION_BINS) -> float:
    """Expected calibration error: mean gap between confidence and accuracy, weighted by texts per bin.

    Args:
        probabilities: (N, C) probability of each class.
        labels: (N,) true class.
        bins: number of bins of equal width, closed above.
    """
    return sum(
        share * abs(confidence - accuracy)
        for share, confidence, accuracy in reliability(*_top(probabilities, labels), bins)
    )


def reliability(confidence: np.ndarray, correct: np.ndarray, bins: int) -> list[tuple[float, float, float]]:
    """Share of all texts, mean confidence and accuracy of each bin that is not empty."""
    number = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    rows = [number == index for index in range(bins)]
    return [(float(row.mean()), float(confidence[row].mean()), float(correct[row].mean())) for row in rows if row.any()]


def brier_score(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean squared error of the probabilities (N, C); of one class alone where there are two."""
    truth = np.eye(probabilities.shape[1])[labels]
    total = float(((probabilities - truth) ** 2).sum(-1).mean())
    return total / 2 if probabilities.shape[1] == 2 else total


def length_buckets(tokens: np.ndarray, correct: np.ndarray) -> tuple[LengthBucket, ...]:
    """Accuracy by length; empty buckets are left out."""
    buckets = []
    for low, high in zip(LENGTH_EDGES, [*(edge - 1 for edge in LENGTH_EDGES[1:]), None], strict=True):
        rows = (tokens >= low) & (tokens <= (high or np.inf))
        if rows.any():
            buckets.append(LengthBucket(low, high, int(rows.sum()), float(correct[rows].mean())))
    return tuple(buckets)


def class_figures(outcome: Outcome) -> tuple[ClassFigures, ...]:
    """Precision, recall and F1 of every class; 0 where one is undefined."""
    columns = precision_recall_fscore_support(
        outcome.labels, outcome.predicted, labels=list(range(len(outcome.names))), zero_division=0.0
    )
    return tuple(
        ClassFigures(name, int(texts), float(precision), float(recall), float(f1))
        for name, precision, recall, f1, texts in zip(outcome.names, *columns, strict=True)
    )


def _top(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return probabilities.max(-1), np.asarray(probabilities.argmax(-1) == labels)


def _normalized(probabilities: np.ndarray) -> np.ndarray:
    # float32 rows sum to 1 only within 1e-7, which scikit-learn warns about.
    rows: np.ndarray = probabilities / probabilities.sum(-1, keepdims=True)
    return rows


def _roc_auc(outcome: Outcome) -> float | None:
    if len(np.unique(outcome.labels)) < len(outcome.names):
        return None
    if len(outcome.names) == 2:
        return float(roc_auc_score(outcome.labels, outcome.probabilities[:, 1]))
    return float(roc_auc_score(outcome.labels, _normalized(outcome.probabilities), multi_class="ovr"))


def _rating_figures(outcome: Outcome) -> tuple[float | None, float | None]:
    known = (outcome.stars > 0) & ~np.isnan(outcome.ratings)
    if known.sum() < 2:
        return None, None
    ratings, stars = outcome.ratings[known], outcome.stars[known]
    error = float(np.abs(ratings - stars).mean())
    if len(np.unique(stars)) < 2 or len(np.unique(ratings)) < 2:
        return error, None
    return error, float(spearmanr(ratings, stars).statistic)
