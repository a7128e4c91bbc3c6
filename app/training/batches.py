"""Many texts in batches of like length, which is the least padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from app.sentiment import Predictor, Scores, TokenIds

BATCH_SIZE = 64


def length_sorted(texts: Sequence[TokenIds[int]], size: int = BATCH_SIZE) -> Iterator[np.ndarray]:
    """Indices of all texts, shortest first, in batches."""
    order = np.argsort([len(ids) for ids in texts], kind="stable")
    for start in range(0, len(order), size):
        yield order[start : start + size]


def predict_sorted(predictor: Predictor, texts: Sequence[TokenIds[int]]) -> list[Scores]:
    """Scores of texts given as token ids, in their order."""
    scores: list[Scores | None] = [None] * len(texts)
    for rows in length_sorted(texts):
        for row, score in zip(rows, predictor.predict([texts[row] for row in rows]), strict=True):
            scores[row] = score
    return [score for score in scores if score is not None]
