"""A recurrent layer that trains several times faster on the CPU than PyTorch's.

PyTorch computes each step of a GRU in about twenty operations forwards and as many backwards. Here it is two: the
product with the recurrent weights (PyTorch's, in bfloat16, on the processor's matrix unit where there is one) and one
pass over gates and poolings (``kernels.c``). States, poolings and the way back through time are kept in float32.

Shape legend: see ``networks.py``.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from app.model.networks import SentimentNetwork, gather_time, reversal
from app.training.kernels import library

HALF = torch.bfloat16


class TrainingNetwork(SentimentNetwork):
    """The same network with a faster way to train it: a GRU of one layer on the CPU, where there is a C compiler.

    Everything else, evaluation included, goes the way of ``SentimentNetwork``.
    """

    def read(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """Vectors (T, B, E) to features (B, P * D * H)."""
        return self.read_states(vectors, lengths)[0]

    def read_states(self, vectors: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors (T, B, E) to features (B, P * D * H) and the forward direction's last layer's states (T, B, H)."""
        fast = self.config.architecture == "gru" and self.config.layers == 1 and vectors.device.type == "cpu"
        if not (fast and self.training and library() is not None):
            states = self.states(vectors, lengths)
            return self.pool(states, lengths), states[..., : self.config.hidden_size]
        # A text read backwards has the same mean and peak, and ends where its last state is.
        order = [vectors]
        if self.config.bidirectional:
            order.append(gather_time(vectors, reversal(len(vectors), lengths)))
        layers: Any = self.recurrent[0]
        read = [pooled_states(layer, inputs, lengths) for layer, inputs in zip(layers, order, strict=True)]
        features = torch.cat([direction[name] for name in self.config.pooling for direction in read], -1)
        return features, read[0]["states"]


def pooled_states(layer: nn.GRU, vectors: Tensor, lengths: Tensor) -> dict[str, Tensor]:
    """Poolings (B, H) of one direction's states by name for vectors (T, B, E) of texts of lengths (B,).

    And, as ``states``, the states (T, B, H) themselves, which stand still where a text has ended.
    """
    hidden = layer.hidden_size
    weights: dict[str, Tensor] = dict(layer.named_parameters())
    recurrent, bias_hidden = weights["weight_hh_l0"], weights["bias_hh_l0"]
    # The biases of r and z add up; that of n stays inside r * (...).
    bias = weights["bias_ih_l0"] + torch.cat([bias_hidden[: 2 * hidden], bias_hidden.new_zeros(hidden)])
    gates = torch.addmm(bias.to(HALF), vectors.flatten(0, 1).to(HALF), weights["weight_ih_l0"].t().to(HALF))
    gates = gates.view(*vectors.shape[:2], -1)
    last, total, peak, states = _Recurrence.apply(gates, recurrent, bias_hidden, lengths)  # type: ignore[no-untyped-call]
    return {"last": last, "mean": total / lengths.unsqueeze(-1), "max": peak, "states": states}


class _Recurrence(torch.autograd.Function):
    """All steps of a GRU whose input half is computed already."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor, weight: Tensor, bias: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        """Last state, sum and maximum of the states, (B, H) each, and the states (T, B, H).

        Args:
            ctx: keeps what the way back needs.
            gates: (T, B, 3H) input half, in bfloat16.
            weight: (3H, H) recurrent weights.
            bias: (3H,) recurrent bias, of which the last third is used.
            lengths: (B,) valid steps of each text.
        """
        steps, texts, hidden = gates.shape[0], gates.shape[1], weight.shape[1]
        gates = gates.contiguous()
        states = torch.empty(steps + 1, texts, hidden)
        operands = torch.empty(steps + 1, texts, hidden, dtype=HALF)
        kept = torch.empty(steps, texts, 4 * hidden, dtype=HALF)
        product = torch.empty(texts, 3 * hidden, dtype=HALF)
        states[0], operands[0] = 0, 0
        # Below every state, which lies within [-1, 1].
        last, total, peak = states.new_zeros(texts, hidden), states.new_zeros(texts, hidden), states[0] - 2
        at = torch.zeros(texts, hidden, dtype=torch.int32)
        factor, bias_n = weight.detach().t().to(HALF).contiguous(), bias.detach()[2 * hidden :].contiguous()
        step = _bound("gru_forward", texts, hidden, lengths)
        for t in range(steps):
            torch.mm(operands[t], factor, out=product)
            step(
                t, gates[t], product, bias_n, states[t], states[t + 1], operands[t + 1], kept[t], last, total, peak, at
            )
        ctx.save_for_backward(states, operands, kept, weight, lengths, at)
        ctx.set_materialize_grads(False)
        return last, total, peak, states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """Gradients of the gates, the weights and the bias."""
        states, operands, kept, weight, lengths, at = ctx.saved_tensors
        steps, texts, hidden = len(kept), kept.shape[1], weight.shape[1]
        none = states.new_zeros(texts, hidden)
        last, total, peak = (none if part is None else part.contiguous() for part in gradients[:3])
        outer = None if gradients[3] is None else gradients[3].contiguous()
        carry, product = torch.zeros_like(none), operands.new_zeros(texts, hidden)
        products = operands.new_empty(steps, texts, 3 * hidden)
        inputs = torch.empty_like(products)
        factor = weight.detach().to(HALF).contiguous()
        step = _bound("gru_backward", texts, hidden, lengths)
        for t in range(steps - 1, -1, -1):
            above = None if outer is None else outer[t]
            step(t, product, states[t], kept[t], last, total, peak, at, above, carry, products[t], inputs[t])
            torch.mm(products[t], factor, out=product)
        flat = products.view(-1, 3 * hidden)
        weight_gradient = (flat.t() @ operands[:-1].view(-1, hidden)).float()
        bias_gradient = states.new_zeros(3 * hidden)
        bias_gradient[2 * hidden :] = products[..., 2 * hidden :].sum((0, 1), dtype=torch.float32)
        return inputs, weight_gradient, bias_gradient, None


def _bound(name: str, texts: int, hidden: int, lengths: Tensor) -> Callable[..., None]:
    """A loop of ``kernels.c`` that takes the step and its arrays as tensors."""
    function = getattr(library(), name)
    function.restype = None
    fixed = (ctypes.c_int64(texts), ctypes.c_int64(hidden))
    lengths = lengths.contiguous()

    def call(step: int, *arrays: Tensor | None) -> None:
        pointers = [ctypes.c_void_p(None if array is None else array.data_ptr()) for array in (lengths, *arrays)]
        function(*fixed, ctypes.c_int64(step), *pointers)

    return call
