"""The native runtime: the kernel behind the interface every runtime has. Free of torch."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from app.model.logits import LogitsPredictor, joined, longest_first
from app.model.weights import read_weights
from app.native import binding
from app.native.binding import Variant
from app.native.packing import PackedModel
from app.sentiment import TokenIds
from app.store import ModelConfig


class NativePredictor(LogitsPredictor):
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
        OverflowError: the weights are too large for that precision.
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

    def logits(self, batch: Sequence[TokenIds[int]]) -> NDArray[np.float64]:
        """See ``LogitsPredictor.logits``."""
        # Longest first, so that no text is left to be read alone at the end.
        order, lengths = longest_first(batch)
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
        ids, starts = joined(batch, order, lengths, self.config.vocabulary_size)
        return binding.forward(self._packed.variant, self._packed.model, ids, starts)


def choose_variant(precision: str) -> Variant:
    """The fastest variant of the kernel that this processor runs in a precision, or in any for ``auto``.

    Raises:
        LookupError: see ``NativePredictor``.
    """
    variants = binding.variants()
    if not variants:
        raise LookupError("the native kernel is not compiled; run `python -m app.native.compiler`")
    for variant in variants:
        if precision in ("auto", variant.precision):
            return variant
    raise LookupError(f"the native kernel does not compute in {precision} on this processor")
