"""The reading curve: what a network would say of a text if it ended after each of its words. Free of torch.

A network that reads forwards only has read just that at each token, so one pass gives the whole curve, its poolings
taken cumulatively; the kernel, which scores whole texts, would need a pass for every token, 25 times as long for a
large network. A bidirectional one has to read the beginnings one by one: a bounded number of them, by the kernel.

Shape legend: T tokens, E embedding, G gates, H hidden, P poolings, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.model.logits import class_probabilities
from app.model.weights import Array
from app.sentiment import Predictor, TokenIds
from app.store import ModelConfig, Pooling

MOST_BEGINNINGS = 64
_BATCH_TOKENS = 16_384
_TOKENS_BETWEEN_CHECKS = 64

Doubles: TypeAlias = "NDArray[np.float64]"
Curve = list[tuple[int, float]]
"""Index of a word and the probability of a class after it, in reading order; the last word included."""


class ForwardReader:
    """A network that reads forwards only, in float64.

    Args:
        weights: of a stored version, by name.
        config: its configuration, not bidirectional.
    """

    def __init__(self, weights: Mapping[str, Array], config: ModelConfig) -> None:
        self._config = config
        self._embedding = weights["embedding.weight"]
        self._rest = {
            name: tensor.astype(np.float64) for name, tensor in weights.items() if not name.startswith("embedding")
        }

    def curve(
        self, ids: TokenIds[int], ends: Sequence[int], target: int, check: Callable[[], None] = lambda: None
    ) -> Curve:
        """A point for every word.

        Args:
            ids: token ids, at least one.
            ends: how many tokens there are up to the end of each word.
            target: index of the class.
            check: called now and then; stops the work by raising.
        """
        states = self._embedding[np.asarray(ids)].astype(np.float64)
        for layer in range(self._config.layers):
            states = self._read(f"recurrent.{layer}.0.", states, check)
        features = np.concatenate([_running(name, states) for name in self._config.pooling], axis=1)[
            np.asarray(ends) - 1
        ]
        classes = 1 if self._config.output == "sigmoid" else len(self._config.labels)
        logits = features @ self._rest["output.weight"].T + self._rest["output.bias"]
        probabilities = class_probabilities(logits[:, :classes], self._config)
        return list(enumerate(probabilities[:, target].tolist()))

    def _read(self, prefix: str, vectors: Doubles, check: Callable[[], None]) -> Doubles:
        """States (T, H) of one layer for vectors (T, E or H)."""
        inputs = vectors @ self._rest[f"{prefix}weight_ih_l0"].T + self._rest[f"{prefix}bias_ih_l0"]
        weight, bias = self._rest[f"{prefix}weight_hh_l0"], self._rest[f"{prefix}bias_hh_l0"]
        states = np.zeros((len(vectors) + 1, self._config.hidden_size))
        cell = np.zeros(self._config.hidden_size)
        for position, row in enumerate(inputs):
            if position % _TOKENS_BETWEEN_CHECKS == 0:
                check()
            recurrent = weight @ states[position] + bias
            if self._config.architecture == "gru":
                states[position + 1] = _gru(row, recurrent, states[position])
            elif self._config.architecture == "lstm":
                states[position + 1], cell = _lstm(row, recurrent, cell)
            else:
                states[position + 1] = np.tanh(row + recurrent)
        return states[1:]


def _gru(inputs: Doubles, recurrent: Doubles, state: Doubles) -> Doubles:
    """The next state."""
    (reset, update, new), (reset_state, update_state, new_state) = (x.reshape(3, -1) for x in (inputs, recurrent))
    kept = _sigmoid(update + update_state)
    following: Doubles = kept * state + (1 - kept) * np.tanh(new + _sigmoid(reset + reset_state) * new_state)
    return following


def _lstm(inputs: Doubles, recurrent: Doubles, cell: Doubles) -> tuple[Doubles, Doubles]:
    """The next state, and the next content of the cell."""
    entry, forget, new, out = (inputs + recurrent).reshape(4, -1)
    cell = _sigmoid(forget) * cell + _sigmoid(entry) * np.tanh(new)
    return _sigmoid(out) * np.tanh(cell), cell


def _sigmoid(values: Doubles) -> Doubles:
    result: Doubles = (np.tanh(values / 2) + 1) / 2  # without overflow
    return result


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
    """At most ``MOST_BEGINNINGS`` points, evenly spread; see ``ForwardReader.curve``."""
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
