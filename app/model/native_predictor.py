"""The native runtime: token ids to scores around the kernel, which computes nothing but logits. Free of torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.native import binding
from app.native.binding import Variant
from app.native.packed_model import PackedModel
from app.sentiment import Scores, TokenIds
from app.store import ModelConfig


class NativePredictor:
    """Scores texts on the CPU with the native kernel, in the caller's thread. It reads texts of any lengths without
    padding.

    Args:
        packed: the weights.
        config: the model's configuration.

    A text's scores are the same to the last bit in every batch, in both precisions. ``predict`` only reads, so calls
    from several threads may run at once.
    """

    runtime = "native"
    device = "cpu"
    pads = False

    def __init__(self, packed: PackedModel, config: ModelConfig) -> None:
        self.config = config
        self.precision = packed.variant.precision
        self._packed = packed

    def logits(self, batch: Sequence[TokenIds[int]]) -> NDArray[np.float64]:
        """Raw outputs (B, O) of B texts: logits of the classes (one for a sigmoid), then of the stars, if any.

        Raises:
            IndexError: a token id is not in the vocabulary.
            ValueError: a text is empty.
            MemoryError: the batch does not fit.
        """
        # Longest first, so that no text is left to be read alone at the end.
        order, lengths = _longest_first(batch)
        ids, starts = _joined(batch, order, lengths, self.config.vocabulary_size)
        logits = np.empty((len(batch), self._packed.model.outputs), dtype=np.float64)
        logits[order] = binding.forward(self._packed.variant, self._packed.model, ids, starts)
        return logits

    def predict(self, batch: Sequence[TokenIds[int]]) -> list[Scores]:
        """Scores of B texts, each of 1 to ``max_tokens`` tokens, in order. Raises what ``logits`` does."""
        if not batch:
            return []
        logits, config = self.logits(batch), self.config
        classes = 1 if config.output == "sigmoid" else len(config.labels)
        probabilities = softmax(both_classes(logits[:, :classes], config) / config.temperature).tolist()
        if not config.rating:
            return [Scores(tuple(row)) for row in probabilities]
        stars = softmax(logits[:, classes:])
        ratings = (stars * np.arange(1, stars.shape[1] + 1)).sum(axis=1).tolist()
        return [Scores(tuple(row), rating) for row, rating in zip(probabilities, ratings, strict=True)]


def choose_variant(precision: str) -> Variant:
    """The fastest variant of the kernel that this processor runs in a precision, or in any for ``auto``.

    Args:
        precision: ``float32``; ``bfloat16`` (products of bfloat16 summed in float32, as the processor does it);
            ``auto`` is the fastest this processor computes natively.

    Raises:
        LookupError: there is no compiled kernel, or this processor does not compute in that precision.
    """
    variants = binding.variants()
    if not variants:
        raise LookupError("the native kernel is not compiled; run `python -m app.native.compiler`")
    for variant in variants:
        if precision in ("auto", variant.precision):
            return variant
    raise LookupError(f"the native kernel does not compute in {precision} on this processor")


def both_classes(logits: NDArray[np.float64], config: ModelConfig) -> NDArray[np.float64]:
    """Logits (B, C) of the classes' own (B, C), or (B, 1) for a sigmoid."""
    if config.output != "sigmoid":
        return logits
    # softmax([0, z]) = [1 - sigmoid(z), sigmoid(z)]: one logit, served as two classes.
    return np.concatenate([np.zeros((len(logits), 1)), logits], axis=1)


def _longest_first(batch: Sequence[TokenIds[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of B texts (B,), longest text first, equals in order, and the texts' lengths (B,) in their own order.

    Raises:
        ValueError: a text is empty.
    """
    lengths = np.fromiter(map(len, batch), dtype=np.int64, count=len(batch))
    if not lengths.all():
        raise ValueError("a text without tokens has no scores")
    return np.argsort(-lengths, kind="stable"), lengths


def _joined(
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
