"""Predictions of many texts in batches of like length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.sentiment import Predictor, Scores, TokenIds

BATCH_SIZE = 64


def predict_sorted(predictor: Predictor, texts: Sequence[TokenIds[int]]) -> list[Scores]:
    """Scores of texts given as token ids, in their order."""
    order = np.argsort([len(ids) for ids in texts], kind="stable")
    scores: list[Scores | None] = [None] * len(texts)
    for start in range(0, len(order), BATCH_SIZE):
        rows = order[start : start + BATCH_SIZE]
        for row, score in zip(rows, predictor.predict([texts[row] for row in rows]), strict=True):
            scores[row] = score
    return [score for score in scores if score is not None]
