"""A written set of short texts by phenomenon: negation, contrast, neutral statements, other goods than films.

No text of it is trained on or chosen by. Neutral and contradictory texts count as right where the model is unsure.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app.text.tokenizer import Tokenizer
from app.training.evaluation import Predictor
from app.training.labelled import CORPUS_LABELS

PHENOMENA_FILE = Path(__file__).with_name("phenomena.csv")
NEUTRAL = "neutral"
UNSURE = 0.75
"""The highest probability of either class that counts as unsure."""


@dataclass(frozen=True)
class Phenomenon:
    """Texts of one kind, and how many of them a model answers rightly."""

    name: str
    texts: int
    right: int

    @property
    def share(self) -> float:
        """Right answers among all."""
        return self.right / self.texts


def read_phenomena(path: Path = PHENOMENA_FILE) -> list[tuple[str, str, str]]:
    """(phenomenon, label, text) of every case, in order."""
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["phenomenon"], row["label"], row["text"]) for row in csv.DictReader(file)]


def judge_phenomena(predictor: Predictor, tokenizer: Tokenizer, labels: Sequence[str]) -> list[Phenomenon]:
    """What a model that tells negative and positive texts apart gets right, by phenomenon; empty for other labels."""
    if set(labels) != set(CORPUS_LABELS):
        return []
    cases = read_phenomena()
    scores = predictor.predict([tokenizer.encode(text).ids for _, _, text in cases])
    right = [
        max(score.probabilities) <= UNSURE if label == NEUTRAL else labels[int(np.argmax(score.probabilities))] == label
        for score, (_, label, _) in zip(scores, cases, strict=True)
    ]
    names = [name for name, _, _ in cases]
    return [
        Phenomenon(name, names.count(name), sum(good for good, of in zip(right, names, strict=True) if of == name))
        for name in dict.fromkeys(names)
    ]


def phenomena_as_dict(found: Sequence[Phenomenon]) -> list[dict[str, Any]]:
    """For ``metrics.json``."""
    return [asdict(phenomenon) for phenomenon in found]
