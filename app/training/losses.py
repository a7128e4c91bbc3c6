"""What training minimizes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from app.model.networks import Outputs

_RATING_SHARE = 0.5


def class_weights(targets: np.ndarray) -> np.ndarray:
    """(C,) weights that make every class count the same, 1 on average over the texts with targets (N, C)."""
    counts = targets.sum(0)
    return np.asarray(len(targets) / (len(counts) * np.maximum(counts, 1)), dtype=np.float32)


def loss(outputs: Outputs, targets: Tensor, stars: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy of the targets plus, where there is a rating output, half that of the stars, 0 for texts without.

    For the sigmoid output this is binary cross-entropy.

    Args:
        outputs: of B texts.
        targets: (B, C) probability of each class.
        stars: (B,) 1 to 10, fractions included, or 0 for none.
        weights: (C,) weight of each class; None: all 1.
    """
    value = nn.functional.cross_entropy(outputs.logits.float(), targets, weight=weights)
    if outputs.rating_logits is not None:
        known = stars > 0
        ratings = nn.functional.cross_entropy(
            outputs.rating_logits[known].float(),
            star_targets(stars[known], outputs.rating_logits.shape[-1]),
            reduction="sum",
        )
        value = value + _RATING_SHARE * ratings / len(stars)
    return value


def star_targets(stars: Tensor, most: int) -> Tensor:
    """Stars (B,), 1 to ``most``, as probabilities (B, most): a fraction lies between its two neighbours."""
    steps = torch.arange(1, most + 1, device=stars.device)
    return (1 - (stars.float().unsqueeze(-1) - steps).abs()).clamp_min(0)


def word_target_loss(predicted: Tensor, word_targets: Tensor, lengths: Tensor) -> Tensor:
    """Mean squared error over all tokens.

    Args:
        predicted: (T, B) what the network says each token adds.
        word_targets: (T, B) what the teacher says.
        lengths: (B,) valid tokens of each text.
    """
    valid = torch.arange(len(word_targets), device=lengths.device).unsqueeze(1) < lengths
    return ((predicted - word_targets).square() * valid).sum() / valid.sum()


def adversarial_perturbation(vectors: Tensor, length: float) -> Tensor:
    """What makes the loss of each text grow fastest: (T, B, E), of the given Euclidean length per text.

    Goodfellow et al. 2015, "Explaining and harnessing adversarial examples"; on word vectors, Miyato et al. 2017,
    "Adversarial training methods for semi-supervised text classification".

    Args:
        vectors: (T, B, E) word vectors that hold the gradient of the loss.
        length: of the perturbation.
    """
    if vectors.grad is None:
        raise ValueError("the vectors hold no gradient")
    gradient = vectors.grad.detach()
    size = gradient.square().sum((0, 2), keepdim=True).sqrt().clamp_min(1e-20)
    return gradient * (length / size)
