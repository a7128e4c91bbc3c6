"""A checkpoint's tensors into what the kernel reads, on the device.

Shape legend: V vocabulary, E embedding, H hidden units (padded to a power of two), G gates, D directions, O outputs,
K inputs of a layer.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from app.modeling.cuda.kernel import PACKED_GATES
from app.modeling.weights import GATES, Array
from app.store import ModelConfig

POOLINGS = ("last", "mean", "max")
"""What the kernel computes of a text's states, in its order."""

_LEAST_UNITS = 16
"""The matrix units multiply blocks of this size."""
_TILE_BYTES = 16 << 10
"""Shared memory that is not for weights: a tile's states on their way from one step to the next."""
_HALF_LIMIT = 65504.0


class Layer(NamedTuple):
    """One recurrent layer."""

    recurrent: Tensor
    """(D, G, H, H) float16, rows are outputs."""
    state_bias: Tensor
    """(D, H) float32, a GRU's bias within the reset gate's product."""
    inputs: Tensor
    """Layer 0: input half of the gates of every word, (D, V, H), see ``packed``. Above: weights (D, K, H * gates)."""
    input_bias: Tensor
    """Above layer 0: (D, H * gates) float16."""


def padded_units(config: ModelConfig) -> int:
    """H of a model."""
    return max(_LEAST_UNITS, 1 << (config.hidden_size - 1).bit_length())


def shared_memory(config: ModelConfig) -> int:
    """Bytes of a multiprocessor's shared memory that a layer needs, at most."""
    return GATES[config.architecture] * padded_units(config) ** 2 * 2 + _TILE_BYTES


def packed(gates: Tensor) -> Tensor:
    """Input halves (..., H, G or 4) to (..., H): four float16 as an int64; those of a plain RNN stay float16."""
    gates = gates.clamp(-_HALF_LIMIT, _HALF_LIMIT).half()
    if gates.shape[-1] == 1:
        return gates.squeeze(-1)
    return pad(gates, (0, PACKED_GATES - gates.shape[-1])).view(torch.int64).squeeze(-1)


def layers(config: ModelConfig, weights: dict[str, Array], device: str) -> list[Layer]:
    """All recurrent layers on the device.

    Args:
        config: sizes.
        weights: as ``weights.read_weights`` returns them.
        device: ``cpu`` or ``cuda[:index]``.
    """
    tensors = {name: torch.from_numpy(array).to(device) for name, array in weights.items()}
    return [_layer(config, tensors, layer) for layer in range(config.layers)]


def head(config: ModelConfig, weights: dict[str, Array], device: str) -> tuple[Tensor, Array]:
    """Output weights (D, O, 3, H) float32 on the device, zero for poolings that the model has not; biases (O,)."""
    units, names = config.hidden_size, [name for name in ("output", "rating") if f"{name}.weight" in weights]
    stored = torch.cat([torch.from_numpy(weights[f"{name}.weight"]) for name in names])
    bias = torch.cat([torch.from_numpy(weights[f"{name}.bias"]) for name in names])
    result = torch.zeros(config.directions, len(stored), len(POOLINGS), padded_units(config))
    # Stored features are (P, D, H), the outermost first.
    for place, columns in enumerate(stored.view(len(stored), -1, config.directions, units).unbind(1)):
        result[:, :, POOLINGS.index(config.pooling[place]), :units] = columns.transpose(0, 1)
    return result.to(device), bias.numpy()


def _layer(config: ModelConfig, weights: dict[str, Tensor], number: int) -> Layer:
    directions = [_direction(config, weights, number, direction) for direction in range(config.directions)]
    return Layer(*(torch.stack(tensors) for tensors in zip(*directions, strict=True)))


def _direction(config: ModelConfig, weights: dict[str, Tensor], number: int, direction: int) -> Layer:
    gates, units = GATES[config.architecture], config.hidden_size
    more = padded_units(config) - units
    w, u, b_w, b_u = (
        weights[f"recurrent.{number}.{direction}.{name}_l0"].view(gates, units, -1)
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    bias, state_bias = (b_w + b_u).squeeze(-1), torch.zeros_like(b_u[0, :, 0])
    if config.architecture == "gru":
        bias[2], state_bias = b_w[2, :, 0], b_u[2, :, 0]
    recurrent = pad(u, (0, more, 0, more)).half().contiguous()
    state_bias = pad(state_bias, (0, more))
    if number == 0:
        # In float32, once: (V, E) x (G, H, E) to (V, H, G).
        table = torch.einsum("ve,ghe->vhg", weights["embedding.weight"], w) + bias.T
        return Layer(recurrent, state_bias, packed(pad(table, (0, 0, 0, more))), bias.new_zeros(0))
    # Inputs are the states of the layer below, (D, H) of each text, padded as they are.
    w = pad(w.view(gates, units, config.directions, units), (0, more, 0, 0, 0, more)).flatten(2)
    width = 1 if gates == 1 else PACKED_GATES
    w, bias = pad(w, (0, 0, 0, 0, 0, width - gates)), pad(bias, (0, more, 0, width - gates))
    return Layer(recurrent, state_bias, w.permute(2, 1, 0).flatten(1).half().contiguous(), bias.T.flatten().half())
