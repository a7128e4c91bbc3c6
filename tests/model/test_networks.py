from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from app.model.networks import SentimentNetwork, pad
from app.model.torch_predictor import TorchPredictor, expected_rating, probabilities_of
from app.sentiment import PAD_ID, TOKEN_TYPECODE, TokenIds
from tests.checkpoints import tiny_config, tiny_network

ARCHITECTURES = ("gru", "lstm", "rnn")
POOLINGS = (("last",), ("mean",), ("max",), ("max", "last"), ("last", "mean", "max"))
Array = np.ndarray


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def _rnn(x: Array, h: Array, _: Array, w: Array, u: Array, b: Array, c: Array) -> tuple[Array, Array]:
    return np.tanh(w @ x + u @ h + b + c), _


def _lstm(x: Array, h: Array, cell: Array, w: Array, u: Array, b: Array, c: Array) -> tuple[Array, Array]:
    i, f, g, o = np.split(w @ x + u @ h + b + c, 4)
    cell = _sigmoid(f) * cell + _sigmoid(i) * np.tanh(g)
    return _sigmoid(o) * np.tanh(cell), cell


def _gru(x: Array, h: Array, _: Array, w: Array, u: Array, b: Array, c: Array) -> tuple[Array, Array]:
    (w_r, w_z, w_n), (u_r, u_z, u_n) = np.split(w, 3), np.split(u, 3)
    (b_r, b_z, b_n), (c_r, c_z, c_n) = np.split(b, 3), np.split(c, 3)
    r = _sigmoid(w_r @ x + u_r @ h + b_r + c_r)
    z = _sigmoid(w_z @ x + u_z @ h + b_z + c_z)
    n = np.tanh(w_n @ x + b_n + r * (u_n @ h + c_n))
    return (1 - z) * n + z * h, _


_STEPS: dict[str, Callable[..., tuple[Array, Array]]] = {"rnn": _rnn, "lstm": _lstm, "gru": _gru}


def oracle(network: SentimentNetwork, ids: list[int]) -> Array:
    """Logits (C,) of one text by the published equations, in float64, word by word."""
    config = network.config
    weights = {name: tensor.double().numpy() for name, tensor in network.state_dict().items()}
    rows = list(weights["embedding.weight"][ids])
    ends: list[Array] = []
    for layer in range(config.layers):
        ends, columns = [], []
        for direction in range(config.directions):
            prefix = f"recurrent.{layer}.{direction}."
            parts = [weights[prefix + name] for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")]
            h = cell = np.zeros(config.hidden_size)
            states = []
            for x in rows[::-1] if direction else rows:
                h, cell = _STEPS[config.architecture](x, h, cell, *parts)
                states.append(h)
            ends.append(h)
            columns.append(states[::-1] if direction else states)
        rows = [np.concatenate(states) for states in zip(*columns, strict=True)]
    pooled = {"last": np.concatenate(ends), "mean": np.mean(rows, axis=0), "max": np.max(rows, axis=0)}
    features = np.concatenate([pooled[name] for name in config.pooling])
    logits: Array = weights["output.weight"] @ features + weights["output.bias"]
    return logits


def _ids(*words: int) -> TokenIds[int]:
    return array(TOKEN_TYPECODE, words)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_equals_the_published_equations(
    architecture: str, bidirectional: bool, layers: int, pooling: tuple[str, ...]
) -> None:
    config = tiny_config(architecture=architecture, bidirectional=bidirectional, layers=layers, pooling=pooling)
    network = tiny_network(config)
    texts = [[3, 1, 7, 2, 9], [4], [5, 6, 5]]
    logits = TorchPredictor(network).outputs([_ids(*text) for text in texts]).logits
    for row, text in zip(logits.numpy(), texts, strict=True):
        np.testing.assert_allclose(row, oracle(network, text), atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    architecture=st.sampled_from(ARCHITECTURES),
    bidirectional=st.booleans(),
    layers=st.integers(1, 3),
    pooling=st.sampled_from(POOLINGS),
    texts=st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=20), min_size=1, max_size=6),
    extra=st.integers(0, 30),
)
def test_padding_and_neighbours_change_nothing(
    architecture: str,
    bidirectional: bool,
    layers: int,
    pooling: tuple[str, ...],
    texts: list[list[int]],
    extra: int,
) -> None:
    config = tiny_config(architecture=architecture, bidirectional=bidirectional, layers=layers, pooling=pooling)
    network = tiny_network(config)
    ids, lengths = pad([_ids(*text) for text in texts])
    ids = torch.nn.functional.pad(ids, (0, extra), value=PAD_ID)
    with torch.inference_mode():
        together = network(ids, lengths).logits
        alone = torch.cat([network(*pad([_ids(*text)])).logits for text in texts])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_the_padding_embedding_never_reaches_a_score() -> None:
    network = tiny_network(tiny_config(bidirectional=True))
    ids, lengths = pad([_ids(2, 3), _ids(4, 5, 6, 7)])
    before = network(ids, lengths).logits
    with torch.no_grad():
        network.embedding.weight[PAD_ID] = 1e3
    torch.testing.assert_close(network(ids, lengths).logits, before, atol=0, rtol=0)


def test_sigmoid_output_is_served_as_two_classes() -> None:
    network = tiny_network(tiny_config(output="sigmoid"))
    predictor = TorchPredictor(network)
    batch = [_ids(2, 3, 4), _ids(5)]
    single = predictor.outputs(batch).logits[:, 1].sigmoid().tolist()
    for score, p in zip(predictor.predict(batch), single, strict=True):
        assert score.probabilities == pytest.approx((1 - p, p), abs=1e-6)


def test_predictions_come_in_order_and_one_per_text() -> None:
    predictor = TorchPredictor(tiny_network(tiny_config()))
    batch = [_ids(*range(2, 2 + length)) for length in (5, 1, 9, 3, 1)]
    scores = predictor.predict(batch)
    assert len(scores) == len(batch)
    for text, score in zip(batch, scores, strict=True):
        assert score.probabilities == pytest.approx(predictor.predict([text])[0].probabilities, abs=1e-5)
        assert sum(score.probabilities) == pytest.approx(1, abs=1e-6)


def test_temperature_softens_without_changing_the_decision() -> None:
    logits = torch.tensor([[0.0, 2.0]])
    assert probabilities_of(logits, 2.0)[0, 1].item() == pytest.approx(torch.tensor(1.0).sigmoid().item())


def test_rating_is_the_expectation_over_the_stars() -> None:
    assert expected_rating(torch.zeros(1, 10)).item() == pytest.approx(5.5)
    sure = torch.full((1, 10), -100.0)
    sure[0, 6] = 100
    assert expected_rating(sure).item() == pytest.approx(7)
    predictor = TorchPredictor(tiny_network(tiny_config(rating=True)))
    (score,) = predictor.predict([_ids(2, 3)])
    assert score.rating is not None
    assert 1 <= score.rating <= 10


def test_many_classes() -> None:
    config = tiny_config(labels=tuple("abcdefg"))
    (score,) = TorchPredictor(tiny_network(config)).predict([_ids(2)])
    assert len(score.probabilities) == 7


@pytest.mark.parametrize("dropout", ["word_dropout", "embedding_dropout", "output_dropout"])
def test_dropout_acts_in_training_only(dropout: str) -> None:
    fields: dict[str, Any] = {dropout: 0.5}
    network = tiny_network(tiny_config(**fields))
    ids, lengths = pad([_ids(*range(2, 20))])
    assert torch.equal(network(ids, lengths).logits, network(ids, lengths).logits)
    network.train()
    assert not torch.equal(network(ids, lengths).logits, network(ids, lengths).logits)
