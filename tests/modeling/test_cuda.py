"""The kernel for GPUs, run on the CPU by Triton's interpreter, and what the compiler makes of it for a real GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
import pytest
import torch

from app.errors import SettingsError
from app.modeling.predictor import TorchPredictor
from app.modeling.runtimes import load_predictors
from app.modeling.weights import Array
from app.sentiment import TablePredictor, TextTable
from app.store import ModelConfig, StoredModel
from tests.checkpoints import tiny_config, tiny_network
from tests.modeling.test_native import POOLINGS, assert_close, texts_of

if os.environ.get("CI"):
    import triton  # noqa: F401 - its absence fails there
else:
    pytest.importorskip("triton", reason="THE KERNEL FOR GPUS IS NOT TESTED: triton is not installed")

from app.modeling.cuda import packing
from app.modeling.cuda.network import TILE_TEXTS
from app.modeling.cuda.predictor import TritonPredictor

CELLS = ("gru", "lstm", "rnn")
TOLERANCE = 2e-3
"""Of a probability: operands are float16."""


def config_of(architecture: str = "gru", **sizes: object) -> ModelConfig:
    return tiny_config(architecture=architecture, **{"embedding_size": 8, "hidden_size": 20, "max_tokens": 24, **sizes})


def weights_of(network: torch.nn.Module) -> dict[str, Array]:
    return {name: tensor.numpy() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize(
    ("architecture", "layers", "bidirectional", "pooling"), list(product(CELLS, (1, 2), (False, True), POOLINGS[1:]))
)
def test_every_network_scores_as_in_torch(
    architecture: str, layers: int, bidirectional: bool, pooling: tuple[str, ...]
) -> None:
    """More texts than a tile has, of all lengths."""
    config = config_of(architecture, layers=layers, bidirectional=bidirectional, pooling=pooling)
    network, texts = tiny_network(config), texts_of(config, TILE_TEXTS + 3)
    expected = TorchPredictor(network).predict(texts)
    assert_close(TritonPredictor(config, weights_of(network), "cpu").predict(texts), expected, TOLERANCE)


@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
@pytest.mark.parametrize("rating", [False, True])
@pytest.mark.parametrize("hidden_size", [1, 16, 33])
def test_every_output_and_size_scores_as_in_torch(output: str, rating: bool, hidden_size: int) -> None:
    config = config_of(output=output, rating=rating, hidden_size=hidden_size, pooling=("last",))
    network, texts = tiny_network(config), texts_of(config, 5)
    expected = TorchPredictor(network).predict(texts)
    assert_close(TritonPredictor(config, weights_of(network), "cpu").predict(texts), expected, TOLERANCE)


@pytest.mark.parametrize("architecture", CELLS)
def test_logits_are_those_of_exact_arithmetic_but_for_the_rounding_of_operands(architecture: str) -> None:
    """Relative error against float64: some float16 roundings of 2^-12 each."""
    config = config_of(architecture, hidden_size=32, pooling=("last", "mean", "max"))
    network, texts = tiny_network(config), texts_of(config, 7)
    ours = TritonPredictor(config, weights_of(network), "cpu").logits(texts)
    outputs = TorchPredictor(network.double()).outputs(texts)
    exact = outputs.logits if outputs.rating_logits is None else torch.cat([outputs.logits, outputs.rating_logits], -1)
    exact = exact[:, 1:] if config.output == "sigmoid" else exact
    assert np.linalg.norm(ours - exact.numpy()) < 2e-3 * np.linalg.norm(exact.numpy())


@pytest.mark.parametrize("architecture", CELLS)
def test_a_text_scores_the_same_in_every_batch(architecture: str) -> None:
    config = config_of(architecture, bidirectional=True)
    predictor = TritonPredictor(config, weights_of(tiny_network(config)), "cpu")
    texts = texts_of(config, TILE_TEXTS + 1)
    together = predictor.predict(texts)
    for text, scores in zip(texts[:4], together[:4], strict=True):
        assert_close(predictor.predict([text]), [scores], 1e-6)
    assert_close(predictor.predict(texts[::-1]), together[::-1], 1e-6)


def test_tables_and_several_threads_get_the_scores_of_their_texts() -> None:
    config = config_of()
    predictor = TritonPredictor(config, weights_of(tiny_network(config)), "cpu")
    assert isinstance(predictor, TablePredictor)
    batches = [texts_of(config, 4, seed) for seed in range(6)]
    expected = [[row.probabilities for row in predictor.predict(batch)] for batch in batches]

    def computed(number: int) -> list[float]:
        texts = batches[number]
        ids = texts[0][:0]
        for text in texts:
            ids += text
        return list(predictor.predict_table(TextTable(ids, [len(text) for text in texts])).probabilities)

    with ThreadPoolExecutor(4) as pool:
        for number, found in enumerate(pool.map(computed, range(len(batches)))):
            assert found == pytest.approx([value for row in expected[number] for value in row], abs=1e-6)


def test_a_token_id_beyond_the_vocabulary_and_an_empty_text_are_refused() -> None:
    config = config_of()
    predictor = TritonPredictor(config, weights_of(tiny_network(config)), "cpu")
    text = texts_of(config, 2)[0]
    beyond = text[:0]
    beyond.append(config.vocabulary_size)
    with pytest.raises(IndexError):
        predictor.predict([text, beyond])
    with pytest.raises(ValueError, match="without tokens"):
        predictor.predict([text, text[:0]])
    assert predictor.predict([]) == []


def test_buffers_grow_with_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.modeling.cuda.predictor._LEAST_ELEMENTS", 4)
    config = config_of()
    network, texts = tiny_network(config), texts_of(config, 9)
    predictor, expected = TritonPredictor(config, weights_of(network), "cpu"), TorchPredictor(network).predict(texts)
    for count in (1, 9, 2):
        assert_close(predictor.predict(texts[:count]), expected[:count], TOLERANCE)


def test_the_kernel_is_for_gpus_only(tiny_model: StoredModel) -> None:
    with pytest.raises(SettingsError, match=r"no triton runtime in auto on cpu"):
        load_predictors(tiny_model, "cpu", "triton", "auto", 1)
    with pytest.raises(SettingsError, match=r"torch in float32 is what there is"):
        load_predictors(tiny_model, "cpu", "torch", "float16", 1)


@pytest.mark.parametrize("capability", [80, 90])
def test_the_compiler_keeps_the_weights_on_the_chip(capability: int) -> None:
    """With 128 hidden units no register is spilled, and the kernel takes the shared memory that is reserved for it."""
    command = [sys.executable, "-m", "benchmarks.gpu_code", str(capability)]
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=300).stdout
    rows = [line.strip("| ").split(" | ") for line in output.splitlines() if line.startswith("| ")][1:]
    assert [row[0] for row in rows] == list(CELLS)
    for cell, units, _, spilled, shared, promised in rows:
        assert int(spilled) == 0, cell
        assert int(shared) <= int(promised) == packing.shared_memory(config_of(cell, hidden_size=int(units)))
