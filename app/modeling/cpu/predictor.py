"""The forward pass on a CPU through the C kernel, built straight from the safetensors, without torch.

Shape legend: N tokens of all texts, B texts, V vocabulary, E embedding, H hidden units, P the same padded to whole
vectors, G gates, D directions, F pooled features, C classes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from app.errors import CheckpointError
from app.modeling.cpu.build import Variant, usable_variants
from app.sentiment import Scores, TokenIds
from app.store import WEIGHTS_FILE, ModelConfig

_CELLS = {"gru": 0, "lstm": 1, "rnn": 2}
_GATES = {"gru": 3, "lstm": 4, "rnn": 1}
_RATING_STARS = 10

Floats = NDArray[np.float32]


class Kernel:
    """One compiled variant of the kernel."""

    def __init__(self, variant: Variant) -> None:
        self.precision = variant.precision
        library = ctypes.CDLL(str(variant.library))
        lanes, per_step, hidden = ctypes.c_int32(), ctypes.c_int32(), ctypes.c_int32()
        scratch = ctypes.c_int64()
        library.kernel_sizes(ctypes.byref(lanes), ctypes.byref(per_step), ctypes.byref(scratch), ctypes.byref(hidden))
        self.lanes, self.per_step = lanes.value, per_step.value
        self.scratch_bytes, self.max_hidden = scratch.value, hidden.value
        self.run = library.kernel_run
        pointer, i32, i64 = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64
        self.run.argtypes = [i32, i32, i32, i64, *[pointer] * 6, i64, i32, *[pointer] * 5]
        self.run.restype = None

    def table(self, rows: Floats) -> NDArray[np.generic]:
        """Projected inputs (N or V, G * P) in the kernel's type."""
        return rows.astype(np.float16) if self.precision == "bfloat16" else rows

    def pack(self, recurrent: Floats, gates: int, padded: int) -> NDArray[np.generic]:
        """Recurrent weights (G * H, H) in the kernel's order (P / lanes, P / per_step, G, lanes, per_step)."""
        hidden = recurrent.shape[1]
        full = np.zeros((gates, padded, padded), np.float32)
        full[:, :hidden, :hidden] = recurrent.reshape(gates, hidden, hidden)
        blocks = full.reshape(gates, padded // self.lanes, self.lanes, padded // self.per_step, self.per_step)
        packed = np.ascontiguousarray(blocks.transpose(1, 3, 0, 2, 4))
        return _to_bfloat16(packed) if self.precision == "bfloat16" else packed


class _Direction:
    """Weights of one direction of one layer, ready for the kernel."""

    def __init__(self, kernel: Kernel, architecture: str, weights: dict[str, Floats], prefix: str) -> None:
        self.gates = _GATES[architecture]
        self.hidden = weights[f"{prefix}.weight_hh_l0"].shape[1]
        self.padded = -(-self.hidden // kernel.lanes) * kernel.lanes
        self.projection = weights[f"{prefix}.weight_ih_l0"]
        inner = weights[f"{prefix}.bias_hh_l0"].reshape(self.gates, self.hidden).copy()
        self.inner_bias = np.zeros(self.padded, np.float32)
        self.bias = weights[f"{prefix}.bias_ih_l0"].reshape(self.gates, self.hidden).copy()
        if architecture == "gru":
            # The candidate's bias stands inside r * (...), so it cannot be added up front.
            self.inner_bias[: self.hidden] = inner[2]
            inner[2] = 0
        self.bias += inner
        self.packed = kernel.pack(weights[f"{prefix}.weight_hh_l0"], self.gates, self.padded)

    def project(self, inputs: Floats) -> Floats:
        """Inputs (N, E) to (N, G * P): the input half of every gate, biases included."""
        projected = np.zeros((len(inputs), self.gates, self.padded), np.float32)
        dense = (inputs @ self.projection.T).reshape(len(inputs), self.gates, self.hidden)
        np.add(dense, self.bias, out=projected[:, :, : self.hidden])
        return projected.reshape(len(inputs), -1)


class NativeModel:
    """The weights of a model as the kernel wants them; immutable, shared by predictors in several threads.

    Args:
        folder: a version's folder.
        config: its configuration.
        precision: ``auto`` (bfloat16 where the CPU computes it natively), ``float32`` or ``bfloat16``.

    Raises:
        CheckpointError: the weights are unreadable, incomplete, of another shape, or not finite.
        LookupError: there is no compiled kernel for this CPU, precision or size.
    """

    def __init__(self, folder: Path, config: ModelConfig, precision: str = "auto") -> None:
        usable = [v for v in usable_variants() if precision in ("auto", v.precision)]
        if not usable:
            raise LookupError(f"no kernel for {precision} on this machine")
        self.kernel = Kernel(usable[0])
        if config.hidden_size > self.kernel.max_hidden:
            raise LookupError(f"no kernel for {config.hidden_size} hidden units")
        self.config = config
        weights = read_weights(folder / WEIGHTS_FILE, config)
        self.layers = [
            [
                _Direction(self.kernel, config.architecture, weights, f"recurrent.{layer}.{direction}")
                for direction in range(config.directions)
            ]
            for layer in range(config.layers)
        ]
        embedding = weights["embedding.weight"]
        self.tables = [self.kernel.table(direction.project(embedding)) for direction in self.layers[0]]
        self.output = weights["output.weight"], weights["output.bias"]
        self.rating = (weights["rating.weight"], weights["rating.bias"]) if config.rating else None


class NativePredictor:
    """A ``Predictor`` over a ``NativeModel``. One thread at a time; the interpreter lock is released while it computes.

    A text's scores are bit for bit the same in any batch.
    """

    runtime = "native"
    device = "cpu"

    def __init__(self, model: NativeModel) -> None:
        self.precision = model.kernel.precision
        self._model = model
        # The kernel wants whole cache lines.
        raw = np.empty(model.kernel.scratch_bytes + 64, np.uint8)
        self._scratch = raw[-raw.ctypes.data % 64 :]

    def predict(self, batch: Sequence[TokenIds[int]]) -> list[Scores]:
        """Scores of B texts, each of 1 to ``max_tokens`` tokens, in order."""
        lengths = np.fromiter(map(len, batch), np.int32, len(batch))
        order = np.argsort(-lengths, kind="stable")
        features = np.empty((len(batch), self._model.config.features), np.float32)
        features[order] = self._features([batch[index] for index in order], lengths[order])
        probabilities = self._probabilities(features).tolist()
        if self._model.rating is None:
            return [Scores(tuple(row)) for row in probabilities]
        weight, bias = self._model.rating
        ratings = _softmax(features @ weight.T + bias) @ np.arange(1, _RATING_STARS + 1, dtype=np.float32)
        return [Scores(tuple(row), rating) for row, rating in zip(probabilities, ratings.tolist(), strict=True)]

    def _features(self, texts: Sequence[TokenIds[int]], lengths: NDArray[np.int32]) -> Floats:
        """Pooled states (B, F) of texts sorted by length, longest first."""
        model = self._model
        tokens = np.frombuffer(b"".join(texts), np.int32)
        starts = np.zeros(len(texts), np.int64)
        np.cumsum(lengths[:-1], out=starts[1:])
        tables = model.tables
        for depth, layer in enumerate(model.layers):
            is_last = depth == len(model.layers) - 1
            hidden, directions = layer[0].hidden, len(layer)
            shape = (len(texts), directions * hidden)
            states = None if is_last else np.empty((len(tokens), directions * hidden), np.float32)
            pooled = {name: np.empty(shape, np.float32) for name in ("last", "mean", "max")} if is_last else {}
            for number, (direction, table) in enumerate(zip(layer, tables, strict=True)):
                at = number * hidden
                self._run(direction, table, tokens, starts, lengths, number == 1, states, pooled, at)
            if states is not None:
                tables = [model.kernel.table(direction.project(states)) for direction in model.layers[depth + 1]]
                tokens = np.arange(len(tokens), dtype=np.int32)
        pooled["mean"] /= lengths[:, None].astype(np.float32)
        return np.concatenate([pooled[name] for name in model.config.pooling], axis=1)

    def _run(
        self,
        direction: _Direction,
        table: NDArray[np.generic],
        tokens: NDArray[np.int32],
        starts: NDArray[np.int64],
        lengths: NDArray[np.int32],
        backward: bool,
        states: Floats | None,
        pooled: dict[str, Floats],
        at: int,
    ) -> None:
        target = states if states is not None else pooled["last"]
        results = [states, *(pooled.get(name) for name in ("last", "mean", "max"))]
        self._model.kernel.run(
            _CELLS[self._model.config.architecture],
            direction.padded,
            direction.hidden,
            target.shape[1],
            table.ctypes.data,
            direction.packed.ctypes.data,
            direction.inner_bias.ctypes.data,
            tokens.ctypes.data,
            starts.ctypes.data,
            lengths.ctypes.data,
            len(lengths),
            backward,
            *(None if result is None else result.ctypes.data + at * result.itemsize for result in results),
            self._scratch.ctypes.data,
        )

    def _probabilities(self, features: Floats) -> Floats:
        weight, bias = self._model.output
        # Not a matrix product, which may round differently when it has more rows.
        logits = (features[:, None, :] * weight).sum(axis=-1) + bias
        if self._model.config.output == "sigmoid":
            logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
        return _softmax(logits / np.float32(self._model.config.temperature))


def _softmax(logits: Floats) -> Floats:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True), np.float32)


def _to_bfloat16(values: Floats) -> NDArray[np.uint16]:
    """Round to nearest, ties to even; values are finite."""
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def read_weights(path: Path, config: ModelConfig) -> dict[str, Floats]:
    """All tensors of a stored version in float32, checked name by name and shape by shape.

    Raises:
        CheckpointError: see ``NativeModel``; the message names file and tensor.
    """
    try:
        stored = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file") from error
    weights = {}
    for name, shape in expected_shapes(config).items():
        if name not in stored:
            raise CheckpointError(f"{path}: tensor {name} is missing")
        if stored[name].shape != shape:
            raise CheckpointError(f"{path}: tensor {name} has shape {stored[name].shape}, expected {shape}")
        weights[name] = np.ascontiguousarray(stored[name], np.float32)
        if not np.isfinite(weights[name]).all():
            raise CheckpointError(f"{path}: tensor {name} has values that are not finite")
    return weights


def expected_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a model's tensors, as ``SentimentNetwork`` has them."""
    rows = _GATES[config.architecture] * config.hidden_size
    shapes: dict[str, tuple[int, ...]] = {"embedding.weight": (config.vocabulary_size, config.embedding_size)}
    for layer in range(config.layers):
        inputs = config.embedding_size if layer == 0 else config.hidden_size * config.directions
        for direction in range(config.directions):
            prefix = f"recurrent.{layer}.{direction}"
            shapes[f"{prefix}.weight_ih_l0"] = (rows, inputs)
            shapes[f"{prefix}.weight_hh_l0"] = (rows, config.hidden_size)
            shapes[f"{prefix}.bias_ih_l0"] = shapes[f"{prefix}.bias_hh_l0"] = (rows,)
    outputs = 1 if config.output == "sigmoid" else len(config.labels)
    shapes["output.weight"], shapes["output.bias"] = (outputs, config.features), (outputs,)
    if config.rating:
        shapes["rating.weight"], shapes["rating.bias"] = (_RATING_STARS, config.features), (_RATING_STARS,)
    return shapes
