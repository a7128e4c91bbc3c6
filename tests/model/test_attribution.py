"""Integrated gradients and the reading curve, for every kind of network."""

from __future__ import annotations

import copy
import math
import random
from array import array
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from app.errors import DeadlineError
from app.model.attribution import Attribution, integrated_gradients
from app.model.curves import MOST_BEGINNINGS, curve_of, curve_of_beginnings
from app.model.double_network import DoubleNetwork
from app.model.networks import SentimentNetwork
from app.model.torch_predictor import TorchPredictor, probabilities_of
from app.sentiment import TOKEN_TYPECODE, TokenIds
from tests.checkpoints import tiny_config, tiny_network, tiny_tokenizer
from tests.reviews import written_reviews

SHAPES: list[dict[str, Any]] = [
    {},
    {"pooling": ("last",)},
    {"pooling": ("mean",), "temperature": 1.7},
    {"pooling": ("max",)},
    {"layers": 2},
    {"bidirectional": True},
    {"bidirectional": True, "layers": 2, "pooling": ("last", "max")},
    {"output": "sigmoid", "temperature": 0.8},
    {"labels": ("bad", "middling", "good", "superb")},
    {"rating": True},
]
NETWORKS = [
    pytest.param({"architecture": cell, **shape}, id=f"{cell}-" + "-".join(f"{k}={v}" for k, v in shape.items()))
    for cell in ("gru", "lstm", "rnn")
    for shape in SHAPES
]
TEXTS = [ids.tolist() for ids in (tiny_tokenizer(tiny_config()).encode(text).ids for text in written_reviews(200))]


def network_of(changes: dict[str, Any]) -> SentimentNetwork:
    return tiny_network(tiny_config(**changes)).double().requires_grad_(False)


def double(network: SentimentNetwork) -> DoubleNetwork:
    """The same without torch."""
    return DoubleNetwork({name: tensor.numpy() for name, tensor in network.state_dict().items()}, network.config)


def predicted(network: SentimentNetwork, ids: list[int]) -> list[float]:
    with torch.no_grad():
        logits = network(torch.tensor([ids]), torch.tensor([len(ids)])).logits
    [row] = probabilities_of(logits, network.config.temperature).tolist()
    return list(row)


def tokens_of(ids: list[int]) -> TokenIds[int]:
    return array(TOKEN_TYPECODE, ids)


def gap(found: Attribution) -> float:
    difference = found.text - found.baseline
    return abs(sum(found.tokens) - difference) / max(1.0, abs(difference))


@pytest.mark.parametrize("changes", NETWORKS)
def test_attributions_add_up(changes: dict[str, Any]) -> None:
    """To the difference of the log-odds of the probability that the network gives, for any class; 200 texts for one
    network, a few for each of the others."""
    network, chance = network_of(changes), random.Random(0)
    for ids in TEXTS if changes == {"architecture": "gru"} else TEXTS[:3]:
        probabilities = predicted(network, ids)
        target = chance.randrange(len(probabilities))
        found = integrated_gradients(double(network), tokens_of(ids), target)
        assert len(found.tokens) == len(ids)
        assert found.text == pytest.approx(math.log(probabilities[target] / (1 - probabilities[target])), abs=1e-4)
        assert gap(found) <= 0.01
        assert found.jumps == 0


@pytest.mark.parametrize("changes", NETWORKS)
def test_attributions_are_the_integral(changes: dict[str, Any]) -> None:
    """Token by token near a sum over hundreds of points, by the definition; each gradient is what PyTorch computes."""
    network = network_of(changes)
    ids = TEXTS[0]
    vectors = network.embed(torch.tensor([ids])).detach()
    steps = (torch.arange(200, dtype=torch.float64) + 0.5) / 200
    points = (vectors * steps.view(1, -1, 1)).requires_grad_()
    lengths = torch.full((200,), len(ids))
    logits = network.head(network.pool(network.states(points, lengths), lengths)).logits
    scaled = logits / network.config.temperature
    others = torch.cat([scaled[:, :1], scaled[:, 2:]], dim=-1)
    (gradient,) = torch.autograd.grad((scaled[:, 1] - others.logsumexp(-1)).sum(), points)
    slopes = double(network).slopes(points.detach().numpy(), 1)
    assert np.abs(slopes - gradient.numpy()).max() < 1e-12
    expected = (gradient.mean(1) * vectors.squeeze(1)).sum(-1)
    found = torch.tensor(integrated_gradients(double(network), tokens_of(ids), 1).tokens, dtype=torch.float64)
    assert (found - expected).abs().max() < 0.03 * max(1.0, float(expected.abs().max()))


def test_two_classes_mirror_each_other() -> None:
    """What speaks for one of two classes speaks against the other."""
    network = double(network_of({}))
    for_, against = (integrated_gradients(network, tokens_of(TEXTS[0]), target).tokens for target in (1, 0))
    assert for_ == pytest.approx([-value for value in against])


def test_jumps_are_divided() -> None:
    """A network that latches tips over within no measurable stretch of the path; attributions add up all the same,
    and the tokens that tip it over get the credit."""
    config = tiny_config(architecture="rnn", embedding_size=1, hidden_size=1, pooling=("last",), output="sigmoid")
    network = SentimentNetwork(config).double().eval().requires_grad_(False)
    cell = network.recurrent[0][0]  # type: ignore[index]
    # One unit that doubles whatever is in it and holds on: negative to begin with, pushed by the first token only.
    for name, value in {"weight_ih_l0": 3.0, "weight_hh_l0": 4.0, "bias_ih_l0": -0.5, "bias_hh_l0": 0.0}.items():
        getattr(cell, name).fill_(value)
    network.embedding.weight.zero_()
    network.embedding.weight[2] = 1.0
    network.output.weight.fill_(3.0)
    network.output.bias.zero_()
    found = integrated_gradients(double(network), tokens_of([2] + [3] * 200), 1)
    assert [found.baseline, found.text] == pytest.approx([-3, 3], abs=0.1)
    assert found.jumps >= 1
    assert gap(found) <= 0.01
    assert found.tokens[0] == pytest.approx(6, abs=0.1)
    assert found.tokens[1:] == pytest.approx([0] * 200, abs=0.01)


def test_work_is_stopped() -> None:
    """Between passes, as soon as the check says so."""
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise DeadlineError("enough")

    with pytest.raises(DeadlineError):
        integrated_gradients(double(network_of({})), tokens_of(TEXTS[0]), 1, check)
    assert calls == 2
    with pytest.raises(DeadlineError):
        the_curve(network_of({}), TEXTS[0], fail)


def fail() -> None:
    raise DeadlineError("enough")


def the_curve(
    network: SentimentNetwork, ids: list[int], check: Callable[[], None] = lambda: None
) -> list[tuple[int, float]]:
    if network.config.bidirectional:
        predictor = TorchPredictor(copy.deepcopy(network).float())
        return curve_of_beginnings(predictor, tokens_of(ids), range(1, len(ids) + 1), 1, check)
    return curve_of(double(network), tokens_of(ids), range(1, len(ids) + 1), 1, check)


@pytest.mark.parametrize("changes", NETWORKS)
def test_the_curve_is_what_beginnings_score(changes: dict[str, Any]) -> None:
    """Each point is the probability that the text up to that token gets alone, the last that of the whole text."""
    network = network_of(changes)
    for ids in TEXTS[:3]:
        curve = the_curve(network, ids)
        assert [index for index, _ in curve] == list(range(len(ids)))
        for index, score in curve:
            assert score == pytest.approx(predicted(network, ids[: index + 1])[1], abs=1e-6)


def test_bidirectional_curves_are_bounded() -> None:
    """So many points at most, in order, the first and the last token among them."""
    network = network_of({"bidirectional": True})
    ids = random.Random(1).choices(range(2, 20), k=501)
    curve = the_curve(network, ids)
    indices = [index for index, _ in curve]
    assert len(indices) == MOST_BEGINNINGS
    assert indices == sorted(set(indices))
    assert (indices[0], indices[-1]) == (0, 500)
    for index, score in curve[::9]:
        assert score == pytest.approx(predicted(network, ids[: index + 1])[1], abs=1e-6)
