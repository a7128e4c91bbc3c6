"""The reading curve: what a network would say of a text if it ended after each of its words. Free of torch.

A network that reads forwards only has read just that at each token, so one pass gives the whole curve, its poolings
taken cumulatively; the kernel, which scores whole texts, would need a pass for every token, 25 times as long for a
large network. A bidirectional one has to read the beginnings one by one: a bounded number of them, by the kernel.

Shape legend: T tokens, H hidden, P poolings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from app.model.double_network import DoubleNetwork, Doubles
from app.model.native_predictor import softmax
from app.sentiment import Predictor, TokenIds
from app.store import Pooling

MOST_BEGINNINGS = 64
_BATCH_TOKENS = 16_384

Curve = list[tuple[int, float]]
"""Index of a word and the probability of a class after it, in reading order; the last word included."""


def curve_of(
    network: DoubleNetwork,
    ids: TokenIds[int],
    ends: Sequence[int],
    target: int,
    check: Callable[[], None] = lambda: None,
) -> Curve:
    """A point for every word of a text.

    Args:
        network: which reads forwards only.
        ids: token ids, at least one.
        ends: how many tokens there are up to the end of each word.
        target: index of the class.
        check: called now and then; stops the work by raising.
    """
    states = network.states(network.embed(ids)[:, None], check)[:, 0]
    poolings = [_running(name, states) for name in network.config.pooling]
    features = np.concatenate(poolings, axis=1)[np.asarray(ends) - 1]
    probabilities = softmax(network.logits(features) / network.config.temperature)
    return list(enumerate(probabilities[:, target].tolist()))


def _running(name: Pooling, states: Doubles) -> Doubles:
    """One pooling of every beginning: states (T, H) to (T, H)."""
    if name == "last":
        return states
    if name == "max":
        return np.maximum.accumulate(states, axis=0)
    means: Doubles = np.cumsum(states, axis=0) / np.arange(1, len(states) + 1)[:, None]
    return means


def curve_of_beginnings(
    predictor: Predictor,
    ids: TokenIds[int],
    ends: Sequence[int],
    target: int,
    check: Callable[[], None] = lambda: None,
) -> Curve:
    """At most ``MOST_BEGINNINGS`` points, evenly spread; see ``curve_of``."""
    count = min(len(ends), MOST_BEGINNINGS)
    words = [int(word) for word in np.unique(np.linspace(0, len(ends) - 1, count).round())]
    scores = probabilities_in_batches(predictor, [ids[: ends[word]] for word in words], check)
    return [(word, probabilities[target]) for word, probabilities in zip(words, scores, strict=True)]


def probabilities_in_batches(
    predictor: Predictor, texts: Sequence[TokenIds[int]], check: Callable[[], None]
) -> list[tuple[float, ...]]:
    """Class probabilities of texts, so many at once that ``check`` is called often."""
    rows = max(1, _BATCH_TOKENS // max(map(len, texts), default=1))
    found: list[tuple[float, ...]] = []
    for first in range(0, len(texts), rows):
        check()
        found += [scores.probabilities for scores in predictor.predict(texts[first : first + rows])]
    return found
