"""The torch predictor's faults; its scores are the reference that other runtimes are tested against."""

from __future__ import annotations

from array import array
from collections.abc import Callable

import pytest
import torch

from app.model.torch_predictor import TorchPredictor
from tests.checkpoints import tiny_config, tiny_network


def allocate_too_much() -> None:
    torch.empty(1 << 46, dtype=torch.uint8)


def run_out_on_a_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize("fault", [allocate_too_much, run_out_on_a_gpu])
def test_exhausted_memory_is_said_as_such(fault: Callable[[], None]) -> None:
    """So that the batch is split and tried again; a smaller one is computed. Other errors stay what they are."""
    network = tiny_network(tiny_config())
    predictor = TorchPredictor(network)

    def before(_: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        if len(arguments[0]) > 2:
            fault()
        if len(arguments[0]) == 2:
            raise RuntimeError("another one")

    network.register_forward_pre_hook(before)
    ids = array("i", [2, 3, 4])
    with pytest.raises(MemoryError, match="3 texts"):
        predictor.predict([ids] * 3)
    with pytest.raises(RuntimeError, match="another one"):
        predictor.predict([ids] * 2)
    assert len(predictor.predict([ids])) == 1
