"""The native runtime: the kernel behind the interface every runtime has. Free of torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.model.logits import LogitsPredictor, joined, longest_first
from app.native import binding
from app.native.binding import Variant
from app.native.packed_model import PackedModel
from app.sentiment import TokenIds
from app.store import ModelConfig


class NativePredictor(LogitsPredictor):
    """Scores texts on the CPU with the native kernel, in the caller's thread.

    Args:
        packed: the weights.
        config: the model's configuration.

    A text's scores are the same to the last bit in every batch, in both precisions. ``predict`` only reads, so calls
    from several threads may run at once.
    """

    runtime = "native"
    device = "cpu"

    def __init__(self, packed: PackedModel, config: ModelConfig) -> None:
        self.config = config
        self.precision = packed.variant.precision
        self._packed = packed

    def logits(self, batch: Sequence[TokenIds[int]]) -> NDArray[np.float64]:
        """See ``LogitsPredictor.logits``."""
        # Longest first, so that no text is left to be read alone at the end.
        order, lengths = longest_first(batch)
        ids, starts = joined(batch, order, lengths, self.config.vocabulary_size)
        logits = np.empty((len(batch), self._packed.model.outputs), dtype=np.float64)
        logits[order] = binding.forward(self._packed.variant, self._packed.model, ids, starts)
        return logits


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
