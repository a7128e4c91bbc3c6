"""What a model has to prove before it serves, whichever runtime computes it; and runtimes that are not to be had."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from app.errors import CheckpointError, SettingsError
from app.model.runtimes import load_predictors
from app.model.torch_predictor import TorchPredictor
from app.native import binding
from app.store import WEIGHTS_FILE, StoredModel
from tests.checkpoints import add_checkpoint, tiny_config, tiny_network
from tests.model.test_weights import HIDDEN, rewrite

RUNTIMES = [*(("native", precision) for precision in binding.precisions()), ("torch", "float32")]


def only(name: str, value: float) -> Callable[[str, Tensor], Tensor]:
    return lambda other, tensor: torch.full_like(tensor.float(), value) if other == name else tensor.float()


def refused(model: StoredModel, runtime: str, precision: str) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_predictors(model, "cpu", runtime, precision, 1)
    assert str(caught.value).startswith(f"{model.path / WEIGHTS_FILE}: ")
    return str(caught.value)


@pytest.mark.parametrize(("runtime", "precision"), RUNTIMES)
def test_scores_that_are_not_finite_are_noticed(tmp_path: Path, runtime: str, precision: str) -> None:
    """Weights may be finite, and what is computed with them not."""
    model = add_checkpoint(tmp_path)
    rewrite(model, only("output.weight", 3e38))
    assert "scores of these weights are not finite" in refused(model, runtime, precision)


@pytest.mark.parametrize(("runtime", "precision"), RUNTIMES)
def test_weights_that_say_nothing_are_noticed(tmp_path: Path, runtime: str, precision: str) -> None:
    """Every gate is open, and every text gets the same scores."""
    model = add_checkpoint(tmp_path)
    rewrite(model, lambda _, tensor: torch.full_like(tensor, 1e4))
    assert "every text gets the same scores" in refused(model, runtime, precision)


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("precision", binding.precisions())
@pytest.mark.parametrize("name", [HIDDEN, "embedding.weight"])
def test_weights_too_large_for_the_kernel_are_noticed(tmp_path: Path, precision: str, name: str) -> None:
    """It multiplies and rounds them before it computes; in a table a bound would hide that they are infinite."""
    model = add_checkpoint(tmp_path)
    if name == HIDDEN:
        rewrite(model, only(HIDDEN, 3e38))
    else:
        large = ("embedding.weight", "recurrent.0.0.weight_ih_l0")
        rewrite(model, lambda other, tensor: tensor.float() * (1e21 if other in large else 1))
    assert f"too large to be computed with in {precision}" in refused(model, "native", precision)


def test_weights_too_large_for_half_precision_are_noticed() -> None:
    network = tiny_network(tiny_config())
    with torch.no_grad():
        network.embedding.weight[3, 1] = 1e5
    with pytest.raises(OverflowError, match="float16"):
        TorchPredictor(network, precision="float16")


def test_without_any_runtime_the_remedies_are_named(tiny_model: StoredModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a compiled kernel nor PyTorch."""
    monkeypatch.setattr(binding, "variants", list)
    monkeypatch.setitem(sys.modules, "torch", None)
    for runtime in ("auto", "torch"):
        with pytest.raises(SettingsError, match=r"sentiment-service\[torch\]"):
            load_predictors(tiny_model, "cpu", runtime, "auto", 1)
