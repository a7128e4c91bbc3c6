"""The native kernel against the torch network, on every variant this processor can run."""

from __future__ import annotations

import random
import subprocess
import sys
from array import array
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from app.errors import CheckpointError
from app.model.checkpoint import load_network
from app.model.native_predictor import NativePredictor, choose_variant
from app.model.networks import SentimentNetwork
from app.model.torch_predictor import TorchPredictor
from app.model.weights import expected_shapes, read_weights
from app.native import binding
from app.native.packed_model import PackedModel
from app.sentiment import Scores, TokenIds
from app.store import WEIGHTS_FILE, ModelConfig, Pooling
from tests.checkpoints import add_checkpoint, tiny_config, tiny_network

pytestmark = pytest.mark.usefixtures("kernel")

CELLS = ("gru", "lstm", "rnn")
TOLERANCE = {"float32": 1e-5, "bfloat16": 1e-2}
POOLINGS: tuple[tuple[Pooling, ...], ...] = (("last",), ("mean",), ("max",), ("max", "last", "mean"))


def texts_of(config: ModelConfig, count: int = 21, seed: int = 0) -> list[TokenIds[int]]:
    """Texts of 1 to ``max_tokens`` tokens, the shortest and the longest among them, in no order."""
    source = random.Random(seed)
    lengths = [1, config.max_tokens, *(source.randint(1, config.max_tokens) for _ in range(count - 2))]
    source.shuffle(lengths)
    return [array("i", (source.randrange(1, config.vocabulary_size) for _ in range(length))) for length in lengths]


def native_of(network: SentimentNetwork, variant: binding.Variant, **options: Any) -> NativePredictor:
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    return NativePredictor(PackedModel(network.config, weights, variant, **options), network.config)


def assert_close(ours: Sequence[Scores], theirs: Sequence[Scores], tolerance: float) -> None:
    assert len(ours) == len(theirs)
    for our, their in zip(ours, theirs, strict=True):
        assert our.probabilities == pytest.approx(their.probabilities, abs=tolerance)
        assert sum(our.probabilities) == pytest.approx(1)
        # A rating lies within 1 to 10 stars.
        assert our.rating == (None if their.rating is None else pytest.approx(their.rating, abs=10 * tolerance))


def variants() -> list[binding.Variant]:
    found = binding.variants()
    assert found
    assert found[-1].name == "portable"
    return found


@pytest.mark.parametrize(("architecture", "layers", "bidirectional"), list(product(CELLS, (1, 3), (False, True))))
def test_every_network_scores_as_in_torch(architecture: str, layers: int, bidirectional: bool) -> None:
    for seed, (sizes, pooling) in enumerate(product([(8, 6), (33, 37), (5, 64), (1, 1)], POOLINGS)):
        config = tiny_config(
            architecture=architecture,
            layers=layers,
            bidirectional=bidirectional,
            embedding_size=sizes[0],
            hidden_size=sizes[1],
            pooling=pooling,
        )
        network, texts = tiny_network(config, seed), texts_of(config, seed=seed)
        expected = TorchPredictor(network).predict(texts)
        for variant in variants():
            assert_close(native_of(network, variant).predict(texts), expected, TOLERANCE[variant.precision])


@pytest.mark.parametrize(
    "changes", [{"output": "sigmoid"}, {"rating": True, "temperature": 1.7}, {"labels": tuple("abcde")}]
)
def test_every_output_scores_as_in_torch(changes: dict[str, Any]) -> None:
    config = tiny_config(**changes)
    network, texts = tiny_network(config), texts_of(config)
    expected = TorchPredictor(network).predict(texts)
    for variant in variants():
        assert_close(native_of(network, variant).predict(texts), expected, TOLERANCE[variant.precision])


def test_float32_is_as_close_to_exact_arithmetic_as_torch_is() -> None:
    config = tiny_config(embedding_size=64, hidden_size=64, max_tokens=400, layers=2)
    network, texts = tiny_network(config), texts_of(config)
    float32 = [variant for variant in variants() if variant.precision == "float32"]
    computed = [native_of(network, variant).logits(texts) for variant in float32]
    exact = TorchPredictor(network.double()).outputs(texts).logits.numpy()
    for logits in computed:
        assert np.abs(logits - exact).max() < 1e-5


@pytest.mark.parametrize("architecture", CELLS)
@pytest.mark.parametrize("layers", [1, 2])
def test_a_vocabulary_too_large_for_a_table_scores_the_same(architecture: str, layers: int) -> None:
    config = tiny_config(architecture=architecture, layers=layers, bidirectional=True, embedding_size=11)
    network, texts = tiny_network(config), texts_of(config)
    expected = TorchPredictor(network).predict(texts)
    for variant in variants():
        predictor = native_of(network, variant, table_limit=0)
        assert_close(predictor.predict(texts), expected, TOLERANCE[variant.precision])


@pytest.mark.parametrize(("architecture", "layers"), list(product(CELLS, (1, 2))))
def test_a_score_is_the_same_to_the_last_bit_in_every_batch(architecture: str, layers: int) -> None:
    config = tiny_config(
        architecture=architecture, layers=layers, bidirectional=True, hidden_size=40, rating=True, max_tokens=300
    )
    network, texts = tiny_network(config), texts_of(config, count=37)
    for variant in variants():
        predictor = native_of(network, variant)
        alone = [predictor.predict([text])[0] for text in texts]
        for size in (2, 3, 5, 7, 8, 9, 37):
            together = [score for i in range(0, 37, size) for score in predictor.predict(texts[i : i + size])]
            assert together == alone
        assert predictor.predict(texts[::-1]) == alone[::-1]
        with ThreadPoolExecutor(3) as pool:
            assert list(pool.map(predictor.predict, [texts] * 6)) == [alone] * 6


@pytest.mark.parametrize(("architecture", "layers"), list(product(CELLS, (1, 2))))
def test_products_over_more_padding_than_there_are_units_score_the_same(architecture: str, layers: int) -> None:
    for bidirectional, table_limit in product((False, True), (0, 1 << 20)):
        config = tiny_config(
            architecture=architecture, layers=layers, bidirectional=bidirectional, hidden_size=40, embedding_size=11
        )
        network, texts = tiny_network(config), texts_of(config)
        for variant in variants():
            expected = native_of(network, variant, table_limit=table_limit).predict(texts)
            wider = replace(variant, multiple=2 * variant.multiple)
            assert native_of(network, wider, table_limit=table_limit).predict(texts) == expected


@pytest.mark.parametrize("scale", [1e2, 1e5])
def test_saturated_gates_stay_finite(scale: float) -> None:
    for architecture in CELLS:
        config = tiny_config(architecture=architecture)
        network, texts = tiny_network(config), texts_of(config)
        with torch.no_grad():
            network.embedding.weight.mul_(scale)
        expected = TorchPredictor(network).predict(texts)
        for variant in variants():
            scores = native_of(network, variant).predict(texts)
            assert_close(scores, expected, 1e-4 if variant.precision == "float32" else 0.2)


def test_stored_checkpoints_are_read(tmp_path: Path) -> None:
    stored = add_checkpoint(tmp_path, rating=True)
    weights = read_weights(stored.path, stored.config)
    predictor = NativePredictor(PackedModel(stored.config, weights, choose_variant("float32")), stored.config)
    assert (predictor.runtime, predictor.precision, predictor.device) == ("native", "float32", "cpu")
    texts = texts_of(stored.config)
    expected = TorchPredictor(load_network(stored.path, stored.config)).predict(texts)
    assert_close(predictor.predict(texts), expected, 1e-5)
    fastest = NativePredictor(PackedModel(stored.config, weights, choose_variant("auto")), stored.config)
    assert fastest.precision == binding.precisions()[0]
    assert_close(fastest.predict(texts), expected, 1e-2)


def test_expected_tensors_are_those_of_the_torch_network() -> None:
    for architecture, bidirectional, output in product(CELLS, (False, True), ("softmax", "sigmoid")):
        config = tiny_config(
            architecture=architecture, bidirectional=bidirectional, output=output, layers=2, rating=bidirectional
        )
        state = {name: tuple(tensor.shape) for name, tensor in SentimentNetwork(config).state_dict().items()}
        assert list(expected_shapes(config).items()) == list(state.items())


@pytest.mark.parametrize("damage", ["missing", "misshapen", "infinite", "surplus", "garbage", "absent"])
def test_damaged_weights_are_named_in_the_words_of_the_torch_runtime(tmp_path: Path, damage: str) -> None:
    stored = add_checkpoint(tmp_path)
    path = stored.path / WEIGHTS_FILE
    weights = load_file(path)
    if damage == "missing":
        del weights["recurrent.0.0.bias_hh_l0"]
    elif damage == "misshapen":
        weights["output.weight"] = weights["output.weight"][:, 1:].copy()
    elif damage == "infinite":
        weights["embedding.weight"][3, 2] = np.inf
    elif damage == "surplus":
        weights["other"] = np.zeros(1, np.float16)
    save_file(weights, path)
    if damage == "garbage":
        path.write_bytes(b"no tensors")
    elif damage == "absent":
        path.unlink()
    with pytest.raises(CheckpointError) as theirs:
        load_network(stored.path, stored.config)
    with pytest.raises(CheckpointError) as ours:
        read_weights(stored.path, stored.config)
    assert str(ours.value) == str(theirs.value)


def test_what_the_kernel_cannot_read_never_reaches_it() -> None:
    config = tiny_config()
    predictor = native_of(tiny_network(config), choose_variant("float32"))
    assert predictor.predict([]) == []
    for wrong in (-1, config.vocabulary_size):
        with pytest.raises(IndexError, match="token ids must be 0 to"):
            predictor.predict([array("i", [1, wrong])])
    with pytest.raises(ValueError, match="without tokens"):
        predictor.predict([array("i", [1]), array("i")])
    with pytest.raises(ValueError, match="32-bit"):
        predictor.predict([array("q", [1])])


def test_memory_that_is_not_there_is_a_memory_error(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = native_of(tiny_network(tiny_config()), choose_variant("float32"))
    monkeypatch.setattr(binding, "_function", lambda *_: lambda *_: 1)
    with pytest.raises(MemoryError, match="this batch"):
        predictor.predict([array("i", [1])])


def test_a_precision_that_is_not_to_be_had_is_a_lookup_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LookupError, match="does not compute in float16"):
        choose_variant("float16")
    monkeypatch.setattr(binding, "_processor_flags", frozenset)
    assert [variant.name for variant in binding.variants()] == ["portable"]
    assert choose_variant("auto").precision == "float32"
    with pytest.raises(LookupError, match="does not compute in bfloat16"):
        choose_variant("bfloat16")
    monkeypatch.setattr(binding, "variants", list)
    with pytest.raises(LookupError, match="not compiled"):
        choose_variant("auto")


def test_no_part_of_it_imports_torch() -> None:
    code = "import sys, app.model.native_predictor; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
