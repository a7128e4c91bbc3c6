"""Cross-entropy over a large vocabulary, against the right word and a few drawn ones.

Bengio and Senécal 2003, "Quick training of probabilistic neural nets by importance sampling": K words are drawn once
per batch by a known distribution q. Each that is not the right one stands for 1 / (K q) words of its kind in the sum
over the vocabulary, so that the sum is right in expectation; the right word stands for itself.

Shape legend: N predicted words, E size of a word vector, V vocabulary, K drawn words.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_DRAWN_WORDS = 1024
_FREQUENCY_POWER = 0.75
# Rows of logits at a time: they stay in the cache.
_ROWS = 2048
_HALF = torch.bfloat16


class WordSampler:
    """Draws words by their frequency to the power of 3/4.

    Args:
        counts: (V,) how often each word is in the texts; one that never is counts as once.
        device: where the draws are needed.
        drawn: K.
    """

    def __init__(self, counts: np.ndarray, device: str, drawn: int = _DRAWN_WORDS) -> None:
        weights = np.maximum(counts, 1).astype(np.float64) ** _FREQUENCY_POWER
        shares = weights / weights.sum()
        self._cumulated = torch.from_numpy(np.cumsum(shares))
        self._drawn = drawn
        self._device = device
        self.correction = torch.from_numpy(np.log(drawn * shares)).float().to(device)
        """(V,) ln(K q) of each word."""

    def draw(self) -> Tensor:
        """(K,) words, with repetition, from PyTorch's generator of the CPU."""
        points = torch.rand(self._drawn, dtype=torch.float64)
        words = torch.searchsorted(self._cumulated, points).clamp_max_(len(self._cumulated) - 1)
        return words.to(self._device)


def sampled_softmax(vectors: Tensor, words: Tensor, weights: Tensor, bias: Tensor, sampler: WordSampler) -> Tensor:
    """Mean cross-entropy in nats, a scalar.

    Args:
        vectors: (N, E) what is compared with word vectors.
        words: (N,) the right words.
        weights: (V, E) word vectors.
        bias: (V,) of each word.
        sampler: draws the words to compare with.
    """
    value: Tensor = _SampledSoftmax.apply(vectors, words, weights, bias, sampler.draw(), sampler.correction)  # type: ignore[no-untyped-call]
    return value


class _SampledSoftmax(torch.autograd.Function):
    """Gradients are formed on the way forward, where the logits of a few rows are at hand, and kept instead of them."""

    @staticmethod
    def forward(
        ctx: Any, vectors: Tensor, words: Tensor, weights: Tensor, bias: Tensor, drawn: Tensor, correction: Tensor
    ) -> Tensor:
        theirs, their_offset = weights[drawn].to(_HALF), (bias - correction)[drawn]
        right = weights[words].to(_HALF)
        vector_gradient, right_gradient = torch.empty_like(vectors), torch.empty_like(vectors, dtype=torch.float32)
        their_gradient = theirs.new_zeros(theirs.shape, dtype=torch.float32)
        bias_gradient = torch.zeros_like(bias)
        total = bias.new_zeros(())
        for start in range(0, len(vectors), _ROWS):
            rows = slice(start, start + _ROWS)
            part, part_words = vectors[rows].to(_HALF), words[rows]
            logits = (part @ theirs.t()).float().add_(their_offset)
            # A drawn word that is the right one is no other word.
            logits.masked_fill_(part_words.unsqueeze(1) == drawn, -torch.inf)
            true = (part.float() * right[rows].float()).sum(-1) + bias[part_words]
            top = torch.maximum(logits.amax(1), true)
            shares = logits.sub_(top.unsqueeze(1)).exp_()
            own = torch.exp(true - top)
            whole = shares.sum(1) + own
            total += (whole.log() + top - true).sum()
            shares /= whole.unsqueeze(1)
            lack = own / whole - 1
            bias_gradient.index_add_(0, drawn, shares.sum(0)).index_add_(0, part_words, lack)
            half = shares.to(_HALF)
            vector_gradient[rows] = (half @ theirs).float() + lack.unsqueeze(1) * right[rows].float()
            their_gradient += (half.t() @ part).float()
            right_gradient[rows] = lack.unsqueeze(1) * part.float()
        weight_gradient = torch.zeros_like(weights)
        weight_gradient.index_add_(0, drawn, their_gradient).index_add_(0, words, right_gradient)
        ctx.save_for_backward(vector_gradient, weight_gradient, bias_gradient)
        ctx.count = max(1, len(vectors))
        loss: Tensor = total / ctx.count
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        vectors, weights, bias = (saved * (gradient / ctx.count) for saved in ctx.saved_tensors)
        return vectors, None, weights, bias, None, None
