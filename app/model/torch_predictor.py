"""The forward pass behind one interface: token ids of several texts in, scores out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from app.model.networks import Outputs, SentimentNetwork, pad
from app.sentiment import Scores, TokenIds

_NO_MEMORY = "can't allocate memory"


class TorchPredictor:
    """The reference runtime: PyTorch, on the CPU or (through cuDNN) a GPU.

    Args:
        network: the network; moved to ``device`` and put into evaluation mode.
        device: ``cpu`` or ``cuda[:index]``.
        precision: ``float32``; ``float16``, for GPUs: embedding and recurrent layers, the rest stays in float32.

    Raises:
        OverflowError: a weight is too large for that precision.

    A score does not depend on who else is in the batch, in float32 to 1e-5: see ``SentimentNetwork``. On a GPU that
    needs TF32 off, which is switched off here for the whole process.
    """

    runtime = "torch"
    pads = True

    def __init__(self, network: SentimentNetwork, device: str = "cpu", precision: str = "float32") -> None:
        self.config = network.config
        self.device = device
        self.precision = precision
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        self._network = network.to(device).eval()
        if precision == "float16":
            self._network.embedding.half()
            self._network.recurrent.half()
            if not all(torch.isfinite(weight).all() for weight in self._network.parameters()):
                raise OverflowError("the weights are too large to be computed with in float16")

    @torch.inference_mode()
    def outputs(self, batch: Sequence[TokenIds[int]]) -> Outputs:
        """Raw outputs for B texts, on the device."""
        ids, lengths = (self._sent(tensor) for tensor in pad(batch))
        outputs: Outputs = self._network(ids, lengths)
        return outputs

    def _sent(self, tensor: Tensor) -> Tensor:
        """On the device; from pinned memory to a GPU, so that another batch may be computed meanwhile."""
        if not self.device.startswith("cuda"):
            return tensor
        return tensor.pin_memory().to(self.device, non_blocking=True)

    def predict(self, batch: Sequence[TokenIds[int]]) -> list[Scores]:
        """Scores of B texts, each of 1 to ``max_tokens`` tokens, in order. Blocking; one caller at a time.

        Raises:
            MemoryError: the batch does not fit into the device's memory.
        """
        try:
            outputs = self.outputs(batch)
        except RuntimeError as error:
            # The allocator of the CPU has no error of its own.
            if isinstance(error, torch.OutOfMemoryError) or _NO_MEMORY in str(error):
                raise MemoryError(f"no memory for a batch of {len(batch)} texts") from error
            raise
        probabilities = probabilities_of(outputs.logits, self.config.temperature).tolist()
        if outputs.rating_logits is None:
            return [Scores(tuple(row)) for row in probabilities]
        ratings = expected_rating(outputs.rating_logits).tolist()
        return [Scores(tuple(row), rating) for row, rating in zip(probabilities, ratings, strict=True)]


def probabilities_of(logits: Tensor, temperature: float) -> Tensor:
    """Calibrated class probabilities (B, C) of logits (B, C), in float32."""
    return torch.softmax(logits.float() / temperature, dim=-1)


def expected_rating(rating_logits: Tensor) -> Tensor:
    """Expected stars (B,), 1 to 10, of rating logits (B, 10)."""
    stars = torch.arange(1, rating_logits.shape[-1] + 1, dtype=torch.float32, device=rating_logits.device)
    return torch.softmax(rating_logits.float(), dim=-1) @ stars
