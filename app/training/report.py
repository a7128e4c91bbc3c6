"""Plots of a training run and of an outcome, as small PNG files.

Uses matplotlib's object interface, never pyplot, so that nothing global is touched and no display is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from sklearn.metrics import auc, confusion_matrix, roc_curve

from app.training.evaluation import CALIBRATION_BINS, Outcome, length_buckets, reliability
from app.training.steps import Epoch

CURVES_FILE = "training.png"
ROC_FILE = "roc.png"
RELIABILITY_FILE = "reliability.png"
CONFUSION_FILE = "confusion.png"
LENGTH_FILE = "length.png"

_BLUE, _ORANGE, _GREY = "#1f5f99", "#d9731a", "#8a8a8a"
_DPI = 100
_MOST_NAMED = 10


def plot_training(history: Sequence[Epoch], best_epoch: int, folder: Path) -> None:
    """Loss and accuracy by epoch, on training and validation split, the kept epoch marked."""
    figure = _figure(7.2, 3.2)
    epochs = [epoch.epoch for epoch in history]
    for index, name in enumerate(("loss", "accuracy"), start=1):
        axes = figure.add_subplot(1, 2, index)
        for split, colour in (("train", _BLUE), ("validation", _ORANGE)):
            values = [getattr(epoch, f"{split}_{name}") for epoch in history]
            axes.plot(epochs, values, marker="o", markersize=3.5, color=colour, label=split)
        if best_epoch:
            axes.axvline(best_epoch, color=_GREY, linestyle=":", linewidth=1.2, label="kept")
        axes.set(xlabel="epoch", ylabel=name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _tidy(axes)
        axes.legend(frameon=False, fontsize=8)
    _save(figure, folder / CURVES_FILE)


def plot_outcome(outcome: Outcome, folder: Path) -> None:
    """ROC, reliability diagram, confusion matrix and accuracy by length."""
    _plot_roc(outcome, folder / ROC_FILE)
    _plot_reliability(outcome, folder / RELIABILITY_FILE)
    _plot_confusion(outcome, folder / CONFUSION_FILE)
    _plot_length(outcome, folder / LENGTH_FILE)


def _plot_roc(outcome: Outcome, path: Path) -> None:
    figure = _figure(4.0, 3.8)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle=":", linewidth=1)
    binary = len(outcome.names) == 2
    # Of two classes one curve says it all; of many, more than ten could not be told apart.
    for index in [1] if binary else range(min(len(outcome.names), _MOST_NAMED)):
        truth = outcome.labels == index
        if truth.all() or not truth.any():
            continue
        false_positives, true_positives, _ = roc_curve(truth, outcome.probabilities[:, index])
        area = auc(false_positives, true_positives)
        axes.plot(
            false_positives,
            true_positives,
            color=_BLUE if binary else None,
            label=f"{_short(outcome.names[index])}, area {area:.4f}",
        )
    axes.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(0, 1), ylim=(0, 1.01))
    _tidy(axes)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8, loc="lower right")
    _save(figure, path)


def _plot_reliability(outcome: Outcome, path: Path) -> None:
    figure = _figure(4.0, 3.8)
    axes = figure.add_subplot()
    confidence = outcome.probabilities.max(-1)
    bins = reliability(confidence, outcome.correct, CALIBRATION_BINS)
    low = 1 / len(outcome.names)
    axes.plot([low, 1], [low, 1], color=_GREY, linestyle=":", linewidth=1, label="perfect")
    shares = np.array([share for share, _, _ in bins])
    axes.bar(
        [mean for _, mean, _ in bins],
        shares,
        width=0.6 / CALIBRATION_BINS,
        color=_GREY,
        alpha=0.3,
        label="share of texts",
    )
    axes.plot(
        [mean for _, mean, _ in bins],
        [accuracy for _, _, accuracy in bins],
        marker="o",
        markersize=4,
        color=_BLUE,
        label="accuracy",
    )
    axes.set(xlabel="confidence", ylabel="accuracy", xlim=(low - 0.02, 1.02), ylim=(0, 1.02))
    _tidy(axes)
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    _save(figure, path)


def _plot_confusion(outcome: Outcome, path: Path) -> None:
    figure = _figure(4.2, 3.6)
    axes = figure.add_subplot()
    classes = len(outcome.names)
    counts = confusion_matrix(outcome.labels, outcome.predicted, labels=list(range(classes)))
    shares = counts / np.maximum(counts.sum(-1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if classes <= _MOST_NAMED:
        names = [_short(name) for name in outcome.names]
        axes.set_xticks(range(classes), names, rotation=0 if classes <= 3 else 45)
        axes.set_yticks(range(classes), names)
        for row, column in np.ndindex(counts.shape):
            axes.text(
                column,
                row,
                f"{counts[row, column]:,}\n{shares[row, column]:.1%}" if classes <= 3 else f"{shares[row, column]:.0%}",
                ha="center",
                va="center",
                fontsize=10 if classes <= 3 else 7,
                color="white" if shares[row, column] > 0.5 else "black",
            )
    axes.set(xlabel="predicted", ylabel="true")
    figure.colorbar(image, ax=axes, format=PercentFormatter(1, decimals=0), shrink=0.85)
    _save(figure, path)


def _plot_length(outcome: Outcome, path: Path) -> None:
    figure = _figure(6.0, 3.2)
    axes = figure.add_subplot()
    buckets = length_buckets(outcome.tokens, outcome.correct)
    names = [f"{bucket.low}+" if bucket.high is None else f"{bucket.low}–{bucket.high}" for bucket in buckets]
    bars = axes.bar(names, [bucket.accuracy for bucket in buckets], color=_BLUE, width=0.7)
    axes.bar_label(bars, [f"{bucket.accuracy:.3f}\n{bucket.texts:,}" for bucket in buckets], fontsize=7.5, padding=2)
    axes.axhline(float(outcome.correct.mean()), color=_ORANGE, linestyle=":", linewidth=1.2, label="all texts")
    floor = min(bucket.accuracy for bucket in buckets)
    axes.set(xlabel="tokens before truncation (below the accuracy: texts)", ylabel="accuracy")
    # The differences are small: a full scale would hide them.
    bottom = max(0.0, np.floor(floor * 10) / 10 - 0.1)
    axes.set_ylim(bottom, 1.1)
    axes.set_yticks(np.arange(round(bottom * 10), 11) / 10)
    axes.tick_params(axis="x", labelsize=7.5)
    _tidy(axes)
    axes.legend(frameon=False, fontsize=8, loc="upper right")
    _save(figure, path)


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=_DPI, layout="constrained")


def _tidy(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, axis="y", linewidth=0.4, alpha=0.6)
    axes.set_axisbelow(True)


def _short(name: str) -> str:
    return name if len(name) <= 18 else f"{name[:17]}…"


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    # No software tag: the file depends on the figures alone.
    figure.savefig(path, metadata={"Software": None})
