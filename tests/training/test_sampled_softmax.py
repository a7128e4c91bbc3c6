from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from app.training.sampled_softmax import WordSampler, sampled_softmax

WORDS, SIZE, ROWS = 40, 16, 5000  # more rows than are computed at a time


def _problem() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    vectors = torch.randn(ROWS, SIZE, generator=generator, requires_grad=True)
    words = torch.randint(WORDS, (ROWS,), generator=generator)
    weights = torch.randn(WORDS, SIZE, generator=generator, requires_grad=True)
    bias = torch.randn(WORDS, generator=generator, requires_grad=True)
    return vectors, words, weights, bias


def _gradients(value: Tensor, *of: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(value, of))


def test_loss_and_gradients_are_those_of_the_formula() -> None:
    """Against the same formula by autograd in float32, for the same draws; bfloat16 keeps eight bits."""
    vectors, words, weights, bias = _problem()
    sampler = WordSampler(np.arange(WORDS), "cpu", drawn=12)
    torch.manual_seed(5)
    drawn = sampler.draw()
    logits = vectors @ weights[drawn].t() + (bias - sampler.correction)[drawn]
    others = logits.masked_fill(words[:, None] == drawn, -torch.inf)
    true = (vectors * weights[words]).sum(-1) + bias[words]
    expected = nn.functional.cross_entropy(torch.cat([true[:, None], others], 1), torch.zeros(ROWS, dtype=torch.int64))
    torch.manual_seed(5)
    found = sampled_softmax(vectors, words, weights, bias, sampler)
    assert found.item() == pytest.approx(expected.item(), rel=0.01)
    for one, other in zip(
        _gradients(found, vectors, weights, bias), _gradients(expected, vectors, weights, bias), strict=True
    ):
        assert float((one - other).norm()) < 0.02 * float(other.norm())


def test_with_many_draws_the_gradient_is_that_of_the_whole_softmax() -> None:
    """However often the draws repeat frequent words."""
    vectors, words, weights, bias = _problem()
    whole = nn.functional.cross_entropy(vectors @ weights.t() + bias, words)
    sampled = sampled_softmax(vectors, words, weights, bias, WordSampler(np.arange(WORDS), "cpu", drawn=20_000))
    for one, other in zip(_gradients(sampled, weights, bias), _gradients(whole, weights, bias), strict=True):
        assert float((one - other).norm()) < 0.1 * float(other.norm())


def test_words_are_drawn_by_a_power_of_their_frequency() -> None:
    """A word that never was counts as seen once."""
    sampler = WordSampler(np.array([0, 1, 16]), "cpu", drawn=100_000)
    torch.manual_seed(1)
    shares = torch.bincount(sampler.draw(), minlength=3) / 100_000
    assert torch.allclose(shares, torch.tensor([0.1, 0.1, 0.8]), atol=0.01)
    assert torch.allclose(sampler.correction.exp(), torch.tensor([10_000.0, 10_000.0, 80_000.0]))
