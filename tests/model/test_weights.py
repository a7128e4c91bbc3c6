"""The one reader of stored weights: which types it takes, and that it names the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from app.errors import CheckpointError
from app.model.checkpoint import load_network
from app.model.weights import read_weights
from app.store import WEIGHTS_FILE, StoredModel
from tests.checkpoints import add_checkpoint

HIDDEN = "recurrent.0.0.weight_hh_l0"


def rewrite(model: StoredModel, change: Callable[[str, Tensor], Tensor]) -> dict[str, Tensor]:
    """Store other weights in the place of a model's; ``change`` gets name and tensor."""
    path = model.path / WEIGHTS_FILE
    weights = {name: change(name, tensor).contiguous() for name, tensor in load_file(path).items()}
    save_file(weights, path)
    return weights


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_floating_point_types_are_read(tmp_path: Path, dtype: torch.dtype) -> None:
    """With and without torch, as the same numbers."""
    model = add_checkpoint(tmp_path)
    stored = rewrite(model, lambda _, tensor: (tensor.double() * 1.001).to(dtype))
    read, network = read_weights(model.path, model.config), load_network(model.path, model.config).state_dict()
    for name, tensor in stored.items():
        assert read[name].dtype == np.float32
        np.testing.assert_array_equal(read[name], tensor.float().numpy())
        assert torch.equal(network[name], tensor.float())


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.int32, torch.float8_e4m3fn, torch.uint8])
def test_other_types_are_refused(tmp_path: Path, dtype: torch.dtype) -> None:
    """Whole numbers that were once scaled say nothing without the scale."""
    model = add_checkpoint(tmp_path)
    rewrite(model, lambda name, tensor: tensor.to(dtype) if name == HIDDEN else tensor)
    message = rf"{WEIGHTS_FILE}: tensor {HIDDEN} is stored as \w+, must be F16, BF16, F32, F64"
    for load in (read_weights, load_network):
        with pytest.raises(CheckpointError, match=message):
            load(model.path, model.config)


def test_a_renamed_type_is_refused(tmp_path: Path) -> None:
    """The bytes of half-precision numbers under another name of the same size."""
    model = add_checkpoint(tmp_path)
    path = model.path / WEIGHTS_FILE
    path.write_bytes(path.read_bytes().replace(b'"F16"', b'"I16"'))
    with pytest.raises(CheckpointError, match=rf"{WEIGHTS_FILE}: tensor \S+ is stored as I16"):
        read_weights(model.path, model.config)


def test_what_does_not_fit_into_float32_is_refused(tmp_path: Path) -> None:
    """It is finite in the file, and not in the type that is computed with."""
    model = add_checkpoint(tmp_path)
    rewrite(model, lambda name, tensor: tensor.double() * (1e300 if name == HIDDEN else 1))
    for load in (read_weights, load_network):
        with pytest.raises(CheckpointError, match=rf"{WEIGHTS_FILE}: tensor {HIDDEN} .* not finite in float32"):
            load(model.path, model.config)
