"""The native runtime: the kernel behind the interface every runtime has. Free of torch."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from app.modeling.native import binding
from app.modeling.native.binding import Variant
from app.modeling.native.packing import PackedModel, read_weights
from app.sentiment import SCORE_TYPECODE, Scores, ScoreTable, TextTable, TokenIds
from app.store import ModelConfig


class NativePredictor:
    """Scores texts on the CPU with the native kernel.

    Args:
        folder: a stored version's folder.
        config: its configuration.
        precision: ``float32``; ``bfloat16`` (products of bfloat16 summed in float32, as the processor does it);
            ``auto`` is the fastest this processor computes natively.
        threads: into how many parts a batch is divided, each computed by a thread of its own.

    Raises:
        CheckpointError: the weights are unusable.
        LookupError: there is no compiled kernel, or this processor does not compute in that precision.
        MemoryError: the packed weights do not fit.

    A text's scores are the same to the last bit in every batch, in both precisions. ``predict`` only reads, so calls
    from several threads may run at once; ``share`` makes further objects on the same weights.
    """

    runtime = "native"
    device = "cpu"

    def __init__(self, folder: Path, config: ModelConfig, precision: str = "auto", threads: int = 1) -> None:
        variant = choose_variant(precision)
        self._set(PackedModel(config, read_weights(folder, config), variant), config, threads)

    @classmethod
    def of_packed(cls, packed: PackedModel, config: ModelConfig, threads: int = 1) -> Self:
        """A predictor of weights that are packed already."""
        predictor = cls.__new__(cls)
        predictor._set(packed, config, threads)  # noqa: SLF001 - its own class
        return predictor

    def _set(self, packed: PackedModel, config: ModelConfig, threads: int) -> None:
        self.config = config
        self.precision = packed.variant.precision
        self.threads = max(1, threads)
        self._packed = packed
        self._pool = ThreadPoolExecutor(self.threads, "native") if self.threads > 1 else None

    def share(self, threads: int = 1) -> Self:
        """Another predictor on the same packed weights, for instance one per thread of an engine."""
        return self.of_packed(self._packed, self.config, threads)

    def predict(self, batch: Sequence[TokenIds[int]]) -> list[Scores]:
        """Scores of B texts, each of 1 to ``max_tokens`` tokens, in order.

        Raises:
            IndexError: a token id is not in the vocabulary.
            ValueError: a text is empty.
            MemoryError: the states of the batch do not fit.
        """
        if not batch:
            return []
        probabilities, ratings = self._scores(self.logits(batch))
        if ratings is None:
            return [Scores(tuple(row)) for row in probabilities.tolist()]
        return [
            Scores(tuple(row), rating) for row, rating in zip(probabilities.tolist(), ratings.tolist(), strict=True)
        ]

    def predict_table(self, table: TextTable) -> ScoreTable:
        """See ``predict``."""
        probabilities, ratings = self._scores(self.logits(table.texts()))
        rated = b"" if ratings is None else ratings.tobytes()
        return ScoreTable(array(SCORE_TYPECODE, probabilities.tobytes()), array(SCORE_TYPECODE, rated))

    def _scores(self, logits: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Probabilities (B, classes) and, where there are any, ratings (B,) of logits."""
        classes = len(self.config.labels)
        if self.config.output == "sigmoid":
            # softmax([0, z]) = [1 - sigmoid(z), sigmoid(z)]: one logit, served as two classes.
            logits = np.insert(logits, 0, 0.0, axis=1)
        probabilities = _softmax(logits[:, :classes] / self.config.temperature)
        if not self.config.rating:
            return probabilities, None
        stars = _softmax(logits[:, classes:])
        return probabilities, (stars * np.arange(1, stars.shape[1] + 1)).sum(axis=1)

    def logits(self, batch: Sequence[TokenIds[int]]) -> NDArray[np.float64]:
        """Raw outputs of B texts: logits of the classes (one for a sigmoid), then those of the stars, if any."""
        # Longest first, so that no text is left to be read alone at the end.
        lengths = np.fromiter(map(len, batch), dtype=np.int64, count=len(batch))
        if not lengths.all():
            raise ValueError("a text without tokens has no scores")
        order = np.argsort(-lengths, kind="stable")
        logits = np.empty((len(batch), self._packed.model.outputs), dtype=np.float64)
        if self._pool is None or len(batch) == 1:
            logits[order] = self._compute(batch, order, lengths)
        else:
            parts = [order[part :: self.threads] for part in range(min(self.threads, len(batch)))]
            computed = self._pool.map(lambda part: self._compute(batch, part, lengths), parts)
            for part, values in zip(parts, computed, strict=True):
                logits[part] = values
        return logits

    def _compute(
        self, batch: Sequence[TokenIds[int]], order: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Logits of the texts at the places ``order`` names, in that order."""
        starts = np.zeros(len(order) + 1, dtype=np.int64)
        np.cumsum(lengths[order], out=starts[1:])
        ids = np.frombuffer(b"".join([batch[place] for place in order.tolist()]), dtype=np.int32)
        if len(ids) != starts[-1]:
            raise ValueError("token ids must be 32-bit integers")
        if ids.view(np.uint32).max() >= self.config.vocabulary_size:  # a negative id is a large unsigned one
            raise IndexError(f"token ids must be 0 to {self.config.vocabulary_size - 1}")
        return binding.forward(self._packed.variant, self._packed.model, ids, starts)


def choose_variant(precision: str) -> Variant:
    """The fastest variant of the kernel that this processor runs in a precision, or in any for ``auto``.

    Raises:
        LookupError: see ``NativePredictor``.
    """
    variants = binding.variants()
    if not variants:
        raise LookupError("the native kernel is not compiled; run `python -m app.compiler`")
    for variant in variants:
        if precision in ("auto", variant.precision):
            return variant
    raise LookupError(f"the native kernel does not compute in {precision} on this processor")


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Softmax of each row."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    normalized: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return normalized
