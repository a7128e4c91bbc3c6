"""The runtime ``triton``: the kernel behind the interface every runtime has."""

from __future__ import annotations

from collections.abc import Sequence
from queue import SimpleQueue

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.modeling.cuda import packing
from app.modeling.cuda.network import KernelNetwork
from app.modeling.logits import LogitsPredictor, joined, longest_first
from app.modeling.weights import Array
from app.sentiment import TokenIds
from app.store import ModelConfig

LANES = 2
"""Batches under way at once: one is copied while another is computed."""

_ALIGNMENT = 4
"""Elements to whose multiple the ids are moved: kernels are compiled for aligned pointers."""
_LEAST_ELEMENTS = 1 << 16
_ROOM = "shared_memory_per_block_optin"  # missing in torch's annotations


class TritonPredictor(LogitsPredictor):
    """Scores texts on an NVIDIA GPU with one kernel launch a layer, in float16 summed in float32.

    Args:
        config: the model's configuration.
        weights: as ``weights.read_weights`` returns them.
        device: ``cuda[:index]``; ``cpu`` where Triton interprets its kernels.

    Raises:
        LookupError: the recurrent weights do not fit into a multiprocessor.

    Attributes:
        network: the weights on the device.

    ``predict`` may be called from several threads at once; ``LANES`` of them make progress.
    """

    runtime = "triton"
    precision = "float16"

    def __init__(self, config: ModelConfig, weights: dict[str, Array], device: str) -> None:
        if device != "cpu":
            room: int = getattr(torch.cuda.get_device_properties(device), _ROOM)
            if (needed := packing.shared_memory(config)) > room:
                raise LookupError(f"a multiprocessor has {room} bytes of shared memory, {needed} are needed")
        self.config, self.device = config, device
        self.network = KernelNetwork(config, weights, device)
        self._lanes: SimpleQueue[_Lane] = SimpleQueue()
        # The interpreter works through global state: one at a time.
        for _ in range(LANES if device != "cpu" else 1):
            self._lanes.put(_Lane(self.network, device))

    def logits(self, batch: Sequence[TokenIds[int]]) -> NDArray[np.float64]:
        """See ``LogitsPredictor.logits``."""
        order, lengths = longest_first(batch)
        ids, starts = joined(batch, order, lengths, self.config.vocabulary_size)
        lane = self._lanes.get()
        try:
            # Within the lane: its next batch goes into the same memory.
            found: NDArray[np.float64] = lane.compute(starts, ids).sum(0, dtype=np.float64)
        except torch.OutOfMemoryError as error:
            raise MemoryError(f"no memory for a batch of {len(batch)} texts") from error
        finally:
            self._lanes.put(lane)
        logits = np.empty_like(found)
        logits[order] = found + self.network.bias
        return logits


class _Lane:
    """Buffers and a stream of one batch at a time.

    Args:
        network: what computes.
        device: where.
    """

    def __init__(self, network: KernelNetwork, device: str) -> None:
        self._network, self._device = network, torch.device(device)
        self._on_gpu = self._device.type == "cuda"
        self._stream = torch.cuda.Stream(self._device) if self._on_gpu else None  # type: ignore[no-untyped-call]
        # The thread sleeps while it waits: other processes need the core.
        self._done = torch.cuda.Event(blocking=True) if self._on_gpu else None  # type: ignore[no-untyped-call]
        self._sent, self._received = (
            self._host(_LEAST_ELEMENTS, torch.int32),
            self._host(_LEAST_ELEMENTS, torch.float32),
        )

    def compute(self, starts: NDArray[np.int64], ids: NDArray[np.int32]) -> NDArray[np.float32]:
        """See ``KernelNetwork.logits``; waits for the result, which is valid until the next call."""
        with torch.cuda.stream(self._stream):
            first = -(-len(starts) // _ALIGNMENT) * _ALIGNMENT
            self._sent = self._room(self._sent, first + len(ids))
            numbers = self._sent.numpy()
            numbers[: len(starts)], numbers[first : first + len(ids)] = starts, ids
            sent = self._sent[: first + len(ids)].to(self._device, non_blocking=True)
            parts = self._network.logits(sent[: len(starts)], sent[first:])
            self._received = self._room(self._received, parts.numel())
            received = self._received[: parts.numel()].view(parts.shape)
            received.copy_(parts, non_blocking=True)
            if self._done is not None:
                self._done.record()
                self._done.synchronize()
        return received.numpy()

    def _room(self, buffer: Tensor, size: int) -> Tensor:
        return buffer if len(buffer) >= size else self._host(2 * size, buffer.dtype)

    def _host(self, size: int, dtype: torch.dtype) -> Tensor:
        """Memory that the GPU reads and writes without the processor's help."""
        return torch.empty(size, dtype=dtype, pin_memory=self._on_gpu)
