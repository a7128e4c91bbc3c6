"""From token ids to scores around a kernel that computes nothing but logits. Free of torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.sentiment import Scores, TokenIds
from app.store import ModelConfig


class LogitsPredictor(ABC):
    """A predictor made of a kernel that reads texts of any lengths without padding.

    Attributes:
        config: the model's.
    """

    config: ModelConfig
    pads = False

    @abstractmethod
    def logits(self, batch: Sequence[TokenIds[int]]) -> NDArray[np.float64]:
        """Raw outputs (B, O) of B texts: logits of the classes (one for a sigmoid), then of the stars, if any.

        Raises:
            IndexError: a token id is not in the vocabulary.
            ValueError: a text is empty.
            MemoryError: the batch does not fit.
        """

    def predict(self, batch: Sequence[TokenIds[int]]) -> list[Scores]:
        """Scores of B texts, each of 1 to ``max_tokens`` tokens, in order.

        Raises:
            IndexError: a token id is not in the vocabulary.
            ValueError: a text is empty.
            MemoryError: the batch does not fit.
        """
        if not batch:
            return []
        probabilities, ratings = self._scores(self.logits(batch))
        if ratings is None:
            return [Scores(tuple(row)) for row in probabilities.tolist()]
        return [
            Scores(tuple(row), rating) for row, rating in zip(probabilities.tolist(), ratings.tolist(), strict=True)
        ]

    def _scores(self, logits: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Probabilities (B, classes) and, where there are any, ratings (B,) of logits."""
        classes = 1 if self.config.output == "sigmoid" else len(self.config.labels)
        probabilities = class_probabilities(logits[:, :classes], self.config)
        if not self.config.rating:
            return probabilities, None
        stars = softmax(logits[:, classes:])
        return probabilities, (stars * np.arange(1, stars.shape[1] + 1)).sum(axis=1)


def class_probabilities(logits: NDArray[np.float64], config: ModelConfig) -> NDArray[np.float64]:
    """Calibrated probabilities (B, C) of the classes' logits (B, C), or (B, 1) for a sigmoid."""
    return softmax(both_classes(logits, config) / config.temperature)


def both_classes(logits: NDArray[np.float64], config: ModelConfig) -> NDArray[np.float64]:
    """Logits (B, C) of the classes' own (B, C), or (B, 1) for a sigmoid."""
    if config.output != "sigmoid":
        return logits
    # softmax([0, z]) = [1 - sigmoid(z), sigmoid(z)]: one logit, served as two classes.
    return np.concatenate([np.zeros((len(logits), 1)), logits], axis=1)


def longest_first(batch: Sequence[TokenIds[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of B texts (B,), longest text first, equals in order, and the texts' lengths (B,) in their own order.

    Raises:
        ValueError: a text is empty.
    """
    lengths = np.fromiter(map(len, batch), dtype=np.int64, count=len(batch))
    if not lengths.all():
        raise ValueError("a text without tokens has no scores")
    return np.argsort(-lengths, kind="stable"), lengths


def joined(
    batch: Sequence[TokenIds[int]], order: NDArray[np.int64], lengths: NDArray[np.int64], vocabulary_size: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Texts one behind the other.

    Args:
        batch: texts.
        order: places (N,) of those that are wanted, in the order that is wanted.
        lengths: of all texts of the batch.
        vocabulary_size: ids must be below it.

    Returns:
        Token ids of all N texts, and where (N + 1,) each text starts among them, and the end of the last.

    Raises:
        IndexError: a token id is not in the vocabulary.
        ValueError: token ids of another size.
    """
    starts = np.zeros(len(order) + 1, dtype=np.int64)
    np.cumsum(lengths[order], out=starts[1:])
    ids = np.frombuffer(b"".join([batch[place] for place in order.tolist()]), dtype=np.int32)
    if len(ids) != starts[-1]:
        raise ValueError("token ids must be 32-bit integers")
    if ids.view(np.uint32).max() >= vocabulary_size:  # a negative id is a large unsigned one
        raise IndexError(f"token ids must be 0 to {vocabulary_size - 1}")
    return ids, starts


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Softmax of each row; of one that is not finite nothing is."""
    with np.errstate(invalid="ignore"):
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        normalized: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return normalized
