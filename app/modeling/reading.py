"""The reading curve: what a network would say of a text if it ended after each of its words.

A network that reads forwards only has read just that at each token, so one pass gives the whole curve, its poolings
taken cumulatively. A bidirectional one has to read the beginnings one by one: a bounded number of them.

Shape legend: T tokens, B beginnings, D * H hidden units of the last layer, P poolings, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from app.modeling.networks import SentimentNetwork
from app.modeling.predictor import probabilities_of
from app.store import Pooling

MOST_BEGINNINGS = 64
_BATCH_TOKENS = 16_384


@torch.inference_mode()
def reading_curve(
    network: SentimentNetwork,
    ids: Sequence[int],
    ends: Sequence[int],
    target: int,
    check: Callable[[], None] = lambda: None,
) -> list[tuple[int, float]]:
    """Index of a word and the probability of class ``target`` after it, in reading order; the last word included.

    Every word of a network that reads forwards; at most ``MOST_BEGINNINGS``, evenly spread, of a bidirectional one.

    Args:
        network: in evaluation mode, on any device.
        ids: token ids, at least one.
        ends: how many tokens there are up to the end of each word.
        target: index of the class.
        check: called before each batch of beginnings; stops the work by raising.
    """
    device = network.embedding.weight.device
    text = torch.tensor([ids], device=device)
    if not network.config.bidirectional:
        check()
        states = network.states(network.embed(text), torch.tensor([len(ids)], device=device)).squeeze(1)
        features = torch.cat([_running(name, states)[[end - 1 for end in ends]] for name in network.config.pooling], -1)
        return list(enumerate(_probabilities(network, features, target)))
    words = [count - 1 for count in _spread(len(ends))]
    lengths = [ends[word] for word in words]
    rows = max(1, _BATCH_TOKENS // len(ids))
    curve = []
    for first in range(0, len(lengths), rows):
        check()
        some = torch.tensor(lengths[first : first + rows], device=device)
        states = network.states(network.embed(text[:, : int(some[-1])].expand(len(some), -1)), some)
        curve += _probabilities(network, network.pool(states, some), target)
    return list(zip(words, curve, strict=True))


def _running(name: Pooling, states: Tensor) -> Tensor:
    """One pooling of every beginning: states (T, H) to (T, H)."""
    if name == "last":
        return states
    if name == "max":
        return states.cummax(0).values
    counts = torch.arange(1, len(states) + 1, device=states.device).unsqueeze(-1)
    return states.cumsum(0) / counts


def _probabilities(network: SentimentNetwork, features: Tensor, target: int) -> list[float]:
    probabilities = probabilities_of(network.head(features).logits, network.config.temperature)
    values: list[float] = probabilities[:, target].tolist()
    return values


def _spread(words: int) -> list[int]:
    """Up to ``MOST_BEGINNINGS`` different lengths, the shortest 1, the longest all words."""
    count = min(words, MOST_BEGINNINGS)
    return [int(length) for length in np.unique(np.linspace(1, words, count).round())]
