"""A checkpoint's tensors into what the kernel reads: scaled, padded, reordered. Free of torch.

Shape legend: V vocabulary, E embedding, H hidden units of one direction, D directions, G gates, K inputs of a product,
W floats in a register; H' is padded with zeros to a multiple of W, E' and K' to multiples of ``variant.multiple``.
Layouts: ``model.h``.

Every gate's weights are multiplied by the factor that lets the kernel compute 2^x instead of e^x (see ``squash`` in
``vectors.h``): -log2(e) before a logistic function, 2 log2(e) before a tanh.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.native.binding import Direction, Model, Variant
from app.store import ModelConfig

_Floats: TypeAlias = "NDArray[np.float32]"

TABLE_LIMIT = 512 << 20
"""Bytes of look-up tables above which the input half of layer 0 is computed from the embedding instead."""

_HALF_LIMIT = 65504.0
_EXPONENT = np.uint16(0x7F80)
"""Bits of a bfloat16 number that are all set in infinity and in what is no number."""

_LOG2_E = math.log2(math.e)
_LOGISTIC, _TANH = -_LOG2_E, 2 * _LOG2_E
# Number in model.h and scale of every gate, in the order of the stored tensors (PyTorch's).
_CELLS = {
    "rnn": (0, (_TANH,)),
    "lstm": (1, (_LOGISTIC, _LOGISTIC, _TANH, _LOGISTIC)),
    "gru": (2, (_LOGISTIC, _LOGISTIC, _TANH)),
}
_POOLINGS = {"last": 0, "mean": 1, "max": 2}


class Packing:
    """Packs one model's weights.

    Args:
        config: sizes.
        weights: as ``weights.read_weights`` returns them.
        variant: the kernel that will read them.
        keep: puts a tensor where the kernel will find it, on a cache line's boundary; what it returns is not 0, and
            stands for the tensor's place where the kernel has pointers.
        table_limit: see ``TABLE_LIMIT``.

    Raises:
        OverflowError: weights are too large for the variant's arithmetic.

    Attributes:
        model: sizes and places of the head; its pointer to the directions is null.
        directions: places of each layer's and direction's tensors.
    """

    def __init__(
        self,
        config: ModelConfig,
        weights: dict[str, _Floats],
        variant: Variant,
        keep: Callable[[NDArray[Any]], int],
        table_limit: int = TABLE_LIMIT,
    ) -> None:
        self._config, self._weights, self._variant, self._put = config, weights, variant, keep
        self._cell, self._scales = _CELLS[config.architecture]
        self._hidden = -(-config.hidden_size // variant.width) * variant.width
        item = 2 if variant.precision == "bfloat16" else 4
        row = len(self._scales) * self._hidden * item
        tables = config.vocabulary_size * row * config.directions <= table_limit
        # What overflows is found in the results.
        with np.errstate(over="ignore", invalid="ignore"):
            self.directions = (Direction * (config.layers * config.directions))(
                *(self._direction(layer, d, tables) for layer in range(config.layers) for d in range(config.directions))
            )
            embedding = None
            if not tables:
                table = weights["embedding.weight"]
                embedding = self._keep(self._operands(_pad(table, (len(table), self._padded(table.shape[1])))))
            self.model = self._model(embedding)

    def _model(self, embedding: int | None) -> Model:
        config = self._config
        names = [name for name in ("output", "rating") if f"{name}.weight" in self._weights]
        head = np.concatenate([self._weights[f"{name}.weight"] for name in names])
        head = head.reshape(len(head), -1, config.hidden_size)
        bias = np.concatenate([self._weights[f"{name}.bias"] for name in names])
        return Model(
            cell=self._cell,
            hidden=self._hidden,
            state_size=self._padded(config.hidden_size),
            embedding_size=self._padded(config.embedding_size),
            directions=config.directions,
            layers=config.layers,
            outputs=len(bias),
            poolings=len(config.pooling),
            pooling=(ctypes.c_int32 * 3)(*(_POOLINGS[name] for name in config.pooling)),
            embedding=embedding,
            head=self._keep(_pad(head, (*head.shape[:2], self._hidden))),
            head_bias=self._keep(bias),
        )

    def _direction(self, layer: int, direction: int, tables: bool) -> Direction:
        gates, hidden = len(self._scales), self._config.hidden_size
        scale = np.array(self._scales, dtype=np.float32).reshape(-1, 1)
        w, u, b_w, b_u = (
            (self._weights[f"recurrent.{layer}.{direction}.{name}_l0"].reshape(gates, hidden, -1) * scale[..., None])
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        bias, state_bias = (b_w + b_u)[..., 0], np.zeros(hidden, dtype=np.float32)
        if self._config.architecture == "gru":
            bias[2], state_bias = b_w[2, :, 0], b_u[2, :, 0]
        packed = Direction(
            recurrent=self._keep(self._product(u)), state_bias=self._keep(_pad(state_bias, (self._hidden,)))
        )
        if layer == 0 and tables:
            packed.table = self._keep(self._table(w, bias))
        else:
            packed.input = self._keep(self._product(w, parts=self._config.directions if layer else 1))
            packed.input_bias = self._keep(self._gate_order(bias))
        return packed

    def _table(self, w: _Floats, bias: _Floats) -> NDArray[Any]:
        """Input half of the gates of every word: weights (G, H, E) and biases (G, H) to (V, G * H') in gate order."""
        table = self._weights["embedding.weight"] @ self._gate_order(w).reshape(-1, w.shape[2]).T
        table += self._gate_order(bias).ravel()
        self._check(table)
        if self._variant.precision == "bfloat16":
            return np.clip(table, -_HALF_LIMIT, _HALF_LIMIT, out=table).astype(np.float16)
        return table

    def _gate_order(self, values: _Floats) -> _Floats:
        """(G, H, ...) to [H'/W][G][W][...]."""
        padded = _pad(values, (len(values), self._hidden, *values.shape[2:]))
        return padded.reshape(len(values), -1, self._variant.width, *values.shape[2:]).swapaxes(0, 1)

    def _product(self, matrix: _Floats, parts: int = 1) -> NDArray[Any]:
        """Weights (G, H, K) to [H'/W][K'][G][W], in bfloat16 to [H'/W][K'/2][G][W][2]; each of K's parts is padded."""
        gates, hidden, inputs = matrix.shape
        size = inputs // parts
        padded = _pad(matrix.reshape(gates, hidden, parts, size), (gates, hidden, parts, self._padded(size)))
        together = 2 if self._variant.precision == "bfloat16" else 1
        # [H'/W][G][W][K'/2][2] to [H'/W][K'/2][G][W][2]
        steps = self._gate_order(padded.reshape(gates, hidden, -1, together)).transpose(0, 3, 1, 2, 4)
        return self._operands(steps)

    def _operands(self, values: _Floats) -> NDArray[Any]:
        return _bfloat16(values) if self._variant.precision == "bfloat16" else values

    def _padded(self, size: int) -> int:
        return -(-size // self._variant.multiple) * self._variant.multiple

    def _check(self, values: NDArray[Any]) -> None:
        """Refuse numbers that are not finite; integers are the upper halves of float32 numbers."""
        finite = np.isfinite(values) if values.dtype != np.uint16 else (values & _EXPONENT) != _EXPONENT
        if not finite.all():
            raise OverflowError(f"the weights are too large to be computed with in {self._variant.precision}")

    def _keep(self, values: NDArray[Any]) -> int:
        self._check(values)
        return self._put(values)


def _pad(values: _Floats, shape: tuple[int, ...]) -> _Floats:
    """Zeros of ``shape`` with ``values`` in the corner."""
    if values.shape == shape:
        return values
    padded = np.zeros(shape, dtype=np.float32)
    padded[tuple(map(slice, values.shape))] = values
    return padded


def _bfloat16(values: _Floats) -> NDArray[np.uint16]:
    """Upper halves of float32 numbers, rounded to nearest, ties to even."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    return ((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)).astype(np.uint16)
