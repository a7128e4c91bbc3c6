"""A network on the device: texts one behind the other in, logits out."""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from app.modeling.cuda import packing
from app.modeling.cuda.kernel import read_texts
from app.modeling.weights import Array
from app.store import ModelConfig

TILE_TEXTS = 16
"""Texts that one program reads together: as few as fill the matrix units, for the latency of a step."""
WARPS = 8


class KernelNetwork:
    """Embedding, recurrent layers, pooling and outputs of a model in float16, summed in float32.

    Args:
        config: sizes.
        weights: as ``weights.read_weights`` returns them.
        device: ``cuda[:index]``; ``cpu`` where Triton interprets its kernels.

    Attributes:
        bias: of the outputs (O,), not yet added to the logits.
    """

    def __init__(self, config: ModelConfig, weights: dict[str, Array], device: str) -> None:
        self.config = config
        self._layers = packing.layers(config, weights, device)
        self._head, self.bias = packing.head(config, weights, device)
        self._nothing = torch.empty(0, dtype=torch.float16, device=device)

    @torch.inference_mode()
    def logits(self, starts: Tensor, ids: Tensor) -> Tensor:
        """Each direction's part of the logits (D, B, O), float32, before the bias. Does not wait for the device.

        Args:
            starts: (B + 1,) int32, where each text starts in ``ids``, and the end of the last; longest text first.
            ids: (S,) int32 token ids, each within the vocabulary.
        """
        config, units = self.config, packing.padded_units(self.config)
        texts, directions = len(starts) - 1, config.directions
        outputs = self._head.shape[1]
        logits = torch.empty(directions, texts, outputs, device=ids.device)
        states = self._nothing
        for number, layer in enumerate(self._layers):
            last = number == len(self._layers) - 1
            inputs = layer.inputs if number == 0 else self._inputs(layer, states, units)
            states = self._nothing if last else self._nothing.new_empty(len(ids), directions * units)
            read_texts[(triton.cdiv(texts, TILE_TEXTS), directions)](
                starts, ids, inputs, layer.recurrent, layer.state_bias, states, self._head, logits,
                texts, inputs.shape[1],
                CELL=config.architecture, H=units, N=TILE_TEXTS, D=directions, O=outputs,
                LOOKUP=number == 0, LAST=last, num_warps=WARPS,
            )  # fmt: skip
        return logits

    def _inputs(self, layer: packing.Layer, states: Tensor, units: int) -> Tensor:
        """Input half of the gates (D, S, H) of a layer above the first, of all tokens at once."""
        gates = [torch.addmm(b, states, w) for b, w in zip(layer.input_bias, layer.inputs, strict=True)]
        return packing.packed(torch.stack(gates).view(len(gates), len(states), units, -1))
