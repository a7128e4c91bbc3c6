"""The fast recurrent layer against PyTorch's own."""

from __future__ import annotations

import pytest
import torch

import app.training.recurrence as module
from app.model.networks import SentimentNetwork
from app.store import ModelConfig, Pooling
from app.training.kernels import library
from app.training.recurrence import TrainingNetwork

LENGTHS = torch.tensor([9, 1, 4, 7])


def _config(bidirectional: bool, pooling: tuple[Pooling, ...] = ("last", "mean", "max")) -> ModelConfig:
    return ModelConfig(
        architecture="gru",
        vocabulary_size=50,
        embedding_size=12,
        hidden_size=20,
        pooling=pooling,
        bidirectional=bidirectional,
        max_tokens=9,
        head_tokens=3,
        labels=("a", "b"),
        preprocessing=1,
    )


def _ids() -> torch.Tensor:
    ids = torch.randint(2, 50, (4, 9), generator=torch.Generator().manual_seed(1))
    return ids.masked_fill(torch.arange(9) >= LENGTHS[:, None], 0)


def _gradients(network: SentimentNetwork) -> dict[str, torch.Tensor]:
    network.train()
    vectors = network.embed(_ids())
    if isinstance(network, TrainingNetwork):
        features, states = network.read_states(vectors, LENGTHS)
    else:
        states = network.states(vectors, LENGTHS)
        features, states = network.pool(states, LENGTHS), states[..., : network.config.hidden_size]
    logits = network.head(features).logits
    valid = torch.arange(9)[:, None] < LENGTHS
    beside = (states.sum(-1) * valid).square().sum()
    ((logits * torch.tensor([1.0, -2.0])).sum() + 0.1 * beside).backward()  # type: ignore[no-untyped-call]
    found = {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}
    return {**found, "logits": logits.detach()}


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("pooling", [("last",), ("mean",), ("max", "last", "mean")])
def test_outputs_and_gradients_agree(bidirectional: bool, pooling: tuple[Pooling, ...]) -> None:
    assert library() is not None
    torch.manual_seed(2)
    reference = SentimentNetwork(_config(bidirectional, pooling))
    fast = TrainingNetwork(reference.config)
    fast.load_state_dict(reference.state_dict())
    expected, found = _gradients(reference), _gradients(fast)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        # bfloat16 keeps eight bits; a maximum may move to a neighbour that is as high.
        error = (value - found[name]).norm() / value.norm().clamp_min(1e-3)
        assert error < (0.25 if "max" in pooling else 0.02), name


def test_a_step_repeats_itself_to_the_bit() -> None:
    torch.manual_seed(2)
    network = TrainingNetwork(_config(True))
    first = _gradients(network)
    network.zero_grad()
    again = _gradients(network)
    assert all(torch.equal(value, again[name]) for name, value in first.items())


def test_evaluation_goes_the_usual_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "pooled_states", None)
    torch.manual_seed(2)
    network = TrainingNetwork(_config(False)).eval()
    reference = SentimentNetwork(network.config).eval()
    reference.load_state_dict(network.state_dict())
    assert torch.equal(network(_ids(), LENGTHS).logits, reference(_ids(), LENGTHS).logits)


def test_without_a_compiler_training_goes_the_usual_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "library", lambda: None)
    monkeypatch.setattr(module, "pooled_states", None)
    assert "output.weight" in _gradients(TrainingNetwork(_config(False)))
