"""A network in float64, with gradients: what the words of one text did, and what it says after each. Free of torch.

``networks`` has the equations, and is what this is held against. All texts of a pass are of one length, so nothing is
padded.

Shape legend: T tokens, A texts of a pass, E embedding, G gates, H hidden units per direction, D directions, P poolings,
C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.model.native_predictor import both_classes
from app.model.weights import GATES, Array
from app.sentiment import TokenIds
from app.store import ModelConfig, Pooling

Doubles: TypeAlias = "NDArray[np.float64]"
_TOKENS_BETWEEN_CHECKS = 64


class DoubleNetwork:
    """Computes with the weights of a stored version.

    Args:
        weights: by name.
        config: what they are for.

    Attributes:
        config: likewise.
    """

    def __init__(self, weights: Mapping[str, Array], config: ModelConfig) -> None:
        self.config = config
        self._embedding = weights["embedding.weight"]
        self._rest = {
            name: tensor.astype(np.float64) for name, tensor in weights.items() if not name.startswith("embedding")
        }

    def embed(self, ids: TokenIds[int]) -> Doubles:
        """Token ids of a text to vectors (T, E)."""
        vectors: Doubles = self._embedding[np.asarray(ids)].astype(np.float64)
        return vectors

    def states(self, vectors: Doubles, check: Callable[[], None] = lambda: None) -> Doubles:
        """States (T, A, D * H) of the last layer for vectors (T, A, E); ``check`` is called now and then."""
        for layer in range(self.config.layers):
            vectors = np.concatenate([it.states for it in self._read(layer, vectors, check)], axis=-1)
        return vectors

    def logits(self, features: Doubles) -> Doubles:
        """Features (A, P * D * H) to logits (A, C)."""
        raw: Doubles = features @ self._rest["output.weight"].T + self._rest["output.bias"]
        return both_classes(raw, self.config)

    def log_odds(self, vectors: Doubles, target: int) -> Doubles:
        """Log-odds (A,) of the calibrated probability of class ``target``, for vectors (T, A, E)."""
        return _log_odds(self.logits(self._pool(self.states(vectors))), target, self.config.temperature)[0]

    def slopes(self, vectors: Doubles, target: int) -> Doubles:
        """Gradient (T, A, E) of these log-odds with respect to the vectors."""
        layers = []
        for layer in range(self.config.layers):
            layers.append(self._read(layer, vectors))
            vectors = np.concatenate([it.states for it in layers[-1]], axis=-1)
        slope = _log_odds(self.logits(self._pool(vectors)), target, self.config.temperature)[1]
        if self.config.output == "sigmoid":
            slope = slope[:, 1:]
        slope = self._pool_back(slope @ self._rest["output.weight"], vectors)
        for readings in reversed(layers):
            parts = np.split(slope, len(readings), axis=-1)
            slope = sum((it.back(part) for it, part in zip(readings, parts, strict=True)), np.zeros(()))
        return slope

    def _read(self, layer: int, vectors: Doubles, check: Callable[[], None] = lambda: None) -> list[_Reading]:
        return [
            _Reading(self.config.architecture, self._rest, f"recurrent.{layer}.{direction}.", vectors, check)
            for direction in range(self.config.directions)
        ]

    def _pool(self, states: Doubles) -> Doubles:
        return np.concatenate([self._pooled(name, states) for name in self.config.pooling], axis=-1)

    def _pooled(self, name: Pooling, states: Doubles) -> Doubles:
        """One pooling: states (T, A, D * H) to (A, D * H)."""
        pooled: Doubles
        if name == "last":
            hidden = self.config.hidden_size
            pooled = np.concatenate([states[-1, :, :hidden], states[0, :, hidden:]], axis=-1)
        else:
            pooled = states.mean(axis=0) if name == "mean" else states.max(axis=0)
        return pooled

    def _pool_back(self, slope: Doubles, states: Doubles) -> Doubles:
        """Gradient of features (A, P * D * H) to that of states (T, A, D * H)."""
        found = np.zeros_like(states)
        hidden = self.config.hidden_size
        for name, part in zip(self.config.pooling, np.split(slope, len(self.config.pooling), axis=-1), strict=True):
            if name == "last":
                found[-1, :, :hidden] += part[:, :hidden]
                found[0, :, hidden:] += part[:, hidden:]
            elif name == "mean":
                found += part / len(states)
            else:
                largest = states == states.max(axis=0)
                found += largest * (part / largest.sum(axis=0))
        return found


class _Reading:
    """One direction of one layer, which has read vectors (T, A, E or D * H).

    Args:
        architecture: of the cell.
        weights: of the network in float64.
        prefix: of the names of its own; one that ends in ``1.`` reads from the end.
        vectors: what is read.
        check: called now and then; stops the work by raising.

    Attributes:
        states: (T, A, H), in the order of the text.
    """

    def __init__(
        self,
        architecture: str,
        weights: Mapping[str, Doubles],
        prefix: str,
        vectors: Doubles,
        check: Callable[[], None],
    ) -> None:
        self._step, self._step_back = _CELLS[architecture]
        self._gates = GATES[architecture]
        self._input, self._recurrent = weights[f"{prefix}weight_ih_l0"], weights[f"{prefix}weight_hh_l0"]
        self._order = slice(None, None, -1) if prefix.endswith("1.") else slice(None)
        inputs = vectors[self._order] @ self._input.T + weights[f"{prefix}bias_ih_l0"]
        bias = weights[f"{prefix}bias_hh_l0"]
        length, texts = vectors.shape[:2]
        self._states = np.zeros((length + 1, texts, self._recurrent.shape[1]))
        self._kept: list[_Kept] = []
        cell = self._states[0]
        for position in range(length):
            if position % _TOKENS_BETWEEN_CHECKS == 0:
                check()
            state = self._states[position]
            recurrent = state @ self._recurrent.T + bias
            gates = self._split(inputs[position]), self._split(recurrent)
            self._states[position + 1], cell, kept = self._step(*gates, state, cell)
            self._kept.append(kept)
        self.states: Doubles = self._states[1:][self._order]

    def back(self, slope: Doubles) -> Doubles:
        """Gradient of the states (T, A, H) to that of what was read."""
        slope = slope[self._order]
        found = np.empty((*slope.shape[:2], len(self._input)))
        state = cell = np.zeros(slope.shape[1:])
        for position in reversed(range(len(slope))):
            before = self._states[position]
            inputs, recurrent, state, cell = self._step_back(
                self._kept[position], before, state + slope[position], cell
            )
            found[position] = np.concatenate(inputs, axis=-1)
            state = state + np.concatenate(recurrent, axis=-1) @ self._recurrent
        read: Doubles = (found @ self._input)[self._order]
        return read

    def _split(self, values: Doubles) -> list[Doubles]:
        return np.split(values, self._gates, axis=-1)


_Gates: TypeAlias = "list[Doubles]"
"""Parts (A, H) of what goes into the gates, one for each."""
_Kept: TypeAlias = "tuple[Doubles, ...]"
"""What a step forward leaves for the step back."""


def _gru(inputs: _Gates, recurrent: _Gates, state: Doubles, cell: Doubles) -> tuple[Doubles, Doubles, _Kept]:
    """The next state; a GRU has no cell."""
    reset, update = _sigmoid(inputs[0] + recurrent[0]), _sigmoid(inputs[1] + recurrent[1])
    new = np.tanh(inputs[2] + reset * recurrent[2])
    return update * state + (1 - update) * new, cell, (reset, update, new, recurrent[2])


def _gru_back(kept: _Kept, before: Doubles, slope: Doubles, cell: Doubles) -> tuple[_Gates, _Gates, Doubles, Doubles]:
    """Gradients of both kinds of gates, of the state before but for what went through its gates, and of the cell."""
    reset, update, new, recurrent = kept
    of_new = slope * (1 - update) * (1 - new * new)
    of_reset = of_new * recurrent * reset * (1 - reset)
    of_update = slope * (before - new) * update * (1 - update)
    return [of_reset, of_update, of_new], [of_reset, of_update, of_new * reset], slope * update, cell


def _lstm(inputs: _Gates, recurrent: _Gates, _: Doubles, cell: Doubles) -> tuple[Doubles, Doubles, _Kept]:
    """The next state and the next content of the cell."""
    entry, forget, new, out = (one + other for one, other in zip(inputs, recurrent, strict=True))
    entry, forget, new, out = _sigmoid(entry), _sigmoid(forget), np.tanh(new), _sigmoid(out)
    following = forget * cell + entry * new
    shown = np.tanh(following)
    return out * shown, following, (entry, forget, new, out, cell, shown)


def _lstm_back(kept: _Kept, _: Doubles, slope: Doubles, cell: Doubles) -> tuple[_Gates, _Gates, Doubles, Doubles]:
    """See ``_gru_back``."""
    entry, forget, new, out, before, shown = kept
    cell = cell + slope * out * (1 - shown * shown)
    gates = [
        cell * new * entry * (1 - entry),
        cell * before * forget * (1 - forget),
        cell * entry * (1 - new * new),
        slope * shown * out * (1 - out),
    ]
    return gates, gates, np.zeros_like(slope), cell * forget


def _rnn(inputs: _Gates, recurrent: _Gates, _: Doubles, cell: Doubles) -> tuple[Doubles, Doubles, _Kept]:
    """The next state; a plain network has no cell."""
    state = np.tanh(inputs[0] + recurrent[0])
    return state, cell, (state,)


def _rnn_back(kept: _Kept, _: Doubles, slope: Doubles, cell: Doubles) -> tuple[_Gates, _Gates, Doubles, Doubles]:
    """See ``_gru_back``."""
    gates = [slope * (1 - kept[0] * kept[0])]
    return gates, gates, np.zeros_like(slope), cell


_CELLS = {"gru": (_gru, _gru_back), "lstm": (_lstm, _lstm_back), "rnn": (_rnn, _rnn_back)}


def _sigmoid(values: Doubles) -> Doubles:
    result: Doubles = (np.tanh(values / 2) + 1) / 2  # without overflow
    return result


def _log_odds(logits: Doubles, target: int, temperature: float) -> tuple[Doubles, Doubles]:
    """Log-odds (A,) of a class of logits (A, C), and their gradient (A, C)."""
    scaled = logits / temperature
    others = np.delete(scaled, target, axis=1)
    largest = others.max(axis=1, keepdims=True)
    powers = np.exp(others - largest)
    total = powers.sum(axis=1, keepdims=True)
    slope = np.insert(-powers / total, target, 1.0, axis=1) / temperature
    return scaled[:, target] - (largest + np.log(total))[:, 0], slope
