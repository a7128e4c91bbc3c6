"""The C kernel against the reference network: every cell, depth, direction, pooling, size and compiled variant."""

from __future__ import annotations

import os
import random
from array import array
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from app.errors import CheckpointError
from app.modeling.checkpoint import load_network
from app.modeling.cpu import build, predictor
from app.modeling.cpu.build import Variant
from app.modeling.cpu.predictor import NativeModel, NativePredictor
from app.modeling.predictor import TorchPredictor
from app.sentiment import TokenIds
from app.store import WEIGHTS_FILE, StoredModel
from tests.checkpoints import add_checkpoint

SHAPES: list[dict[str, Any]] = [
    {},
    {"hidden_size": 16, "embedding_size": 16},
    {"hidden_size": 33, "embedding_size": 5, "pooling": ("last",)},
    {"bidirectional": True, "hidden_size": 17},
    {"layers": 2, "hidden_size": 20, "pooling": ("max", "mean")},
    {"layers": 3, "bidirectional": True, "hidden_size": 9, "pooling": ("mean", "last", "max")},
    {"output": "sigmoid", "pooling": ("last",), "temperature": 1.7},
    {"labels": ("a", "b", "c"), "rating": True},
]


@pytest.fixture(params=[variant.name for variant in build.variants()])
def variant(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Variant:
    """Each compiled variant in turn, as if the CPU had no other. Those this CPU lacks are skipped."""
    usable = {variant.name: variant for variant in build.usable_variants()}
    if not usable:
        message = "the kernel is not compiled: python -m app.modeling.cpu.build"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    if request.param not in usable:
        pytest.skip(f"this CPU has no {request.param}")
    monkeypatch.setattr(predictor, "usable_variants", lambda: [usable[request.param]])
    return usable[request.param]


def batch(count: int, vocabulary: int, longest: int = 32, seed: int = 0) -> list[TokenIds[int]]:
    """Texts of chance length and content; the first is a single token, the last as long as can be."""
    chance = random.Random(seed)
    lengths = [1, *(chance.randint(1, longest) for _ in range(count - 2)), longest]
    return [array("i", (chance.randrange(1, vocabulary) for _ in range(length))) for length in lengths]


def scores(model: StoredModel, texts: list[TokenIds[int]]) -> np.ndarray:
    found = NativePredictor(NativeModel(model.path, model.config)).predict(texts)
    return np.array([[*score.probabilities, score.rating or 0.0] for score in found])


def reference(model: StoredModel, texts: list[TokenIds[int]]) -> np.ndarray:
    found = TorchPredictor(load_network(model.path, model.config)).predict(texts)
    return np.array([[*score.probabilities, score.rating or 0.0] for score in found])


@pytest.mark.parametrize("architecture", ["gru", "lstm", "rnn"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "-".join(shape) or "default")
def test_equals_the_reference(tmp_path: Path, variant: Variant, architecture: str, shape: dict[str, Any]) -> None:
    """Float32 agrees with torch to 1e-5, bfloat16 to a hundredth on random weights, ratings in proportion."""
    model = add_checkpoint(tmp_path, architecture=architecture, **shape)
    texts = batch(21, model.config.vocabulary_size)
    tolerance = 1e-5 if variant.precision == "float32" else 2e-2
    assert scores(model, texts) == pytest.approx(reference(model, texts), abs=tolerance, rel=tolerance)


@pytest.mark.parametrize("architecture", ["gru", "lstm", "rnn"])
def test_a_score_does_not_depend_on_its_batch(tmp_path: Path, variant: Variant, architecture: str) -> None:
    """A text alone, in any company and in any order has bit for bit the same scores, in every precision."""
    model = add_checkpoint(tmp_path, architecture=architecture, bidirectional=True, hidden_size=24)
    texts = batch(40, model.config.vocabulary_size, seed=1)
    together = scores(model, texts)
    alone = np.concatenate([scores(model, [text]) for text in texts])
    assert (together == alone).all()
    order = random.Random(2).sample(range(len(texts)), len(texts))
    assert (scores(model, [texts[index] for index in order]) == together[order]).all()


def test_wide_states_do_not_overflow(tmp_path: Path, variant: Variant) -> None:
    """Weights large enough to saturate every gate give finite scores, equal to the reference's."""
    model = add_checkpoint(tmp_path)
    weights = load_file(model.path / WEIGHTS_FILE)
    save_file(
        {name: tensor * 100 if "weight_" in name else tensor for name, tensor in weights.items()},
        model.path / WEIGHTS_FILE,
    )
    texts = batch(9, model.config.vocabulary_size)
    found = scores(model, texts)
    assert np.isfinite(found).all()
    if variant.precision == "float32":
        assert found == pytest.approx(reference(model, texts), abs=1e-4)


def test_predictors_share_weights_between_threads(tmp_path: Path, variant: Variant) -> None:
    """Two predictors of one model, computing at the same time, give the same scores."""
    from concurrent.futures import ThreadPoolExecutor

    model = add_checkpoint(tmp_path, hidden_size=64)
    shared = NativeModel(model.path, model.config)
    texts = batch(64, model.config.vocabulary_size)
    with ThreadPoolExecutor(2) as pool:
        predictors = [NativePredictor(shared) for _ in range(2)]
        results = list(pool.map(lambda predictor: [predictor.predict(texts) for _ in range(20)], predictors))
    assert all(result == results[0][0] for results_of_one in results for result in results_of_one)


@pytest.mark.parametrize("fault", ["missing", "shape", "nan", "garbage"])
def test_bad_weights_are_named(tmp_path: Path, fault: str) -> None:
    """A tensor that is missing, misshapen or not finite is named with its file."""
    if not build.usable_variants():
        pytest.skip("the kernel is not compiled")
    model = add_checkpoint(tmp_path)
    path = model.path / WEIGHTS_FILE
    weights = load_file(path)
    name = "recurrent.0.0.weight_hh_l0"
    if fault == "missing":
        del weights[name]
    elif fault == "shape":
        weights[name] = weights[name][:, :-1].copy()
    else:
        weights[name][0, 0] = np.nan
    save_file(weights, path)
    if fault == "garbage":
        path.write_bytes(b"no tensors")
    with pytest.raises(CheckpointError) as refused:
        NativeModel(model.path, model.config)
    assert WEIGHTS_FILE in str(refused.value)
    assert fault == "garbage" or name in str(refused.value)


def test_expected_shapes_are_those_of_the_network(tmp_path: Path) -> None:
    """The torch-free list of tensors is the network's own, for every cell."""
    for number, architecture in enumerate(("gru", "lstm", "rnn")):
        model = add_checkpoint(
            tmp_path, f"m{number}", architecture=architecture, layers=2, bidirectional=True, rating=True
        )
        state = load_network(model.path, model.config).state_dict()
        assert predictor.expected_shapes(model.config) == {name: tuple(value.shape) for name, value in state.items()}


def test_rounding_to_bfloat16_is_that_of_torch() -> None:
    """To nearest, ties to even."""
    values = np.random.default_rng(0).normal(size=10_000).astype(np.float32)
    expected = torch.from_numpy(values).bfloat16().view(torch.int16).numpy().view(np.uint16)
    assert (predictor._to_bfloat16(values) == expected).all()


def test_without_a_library_the_choice_falls_back_to_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Automatic choice serves with torch where no kernel is compiled; asking for the kernel is a clear error."""
    from app.errors import SettingsError
    from app.modeling.runtimes import load_predictor

    model = add_checkpoint(tmp_path)
    monkeypatch.setattr(predictor, "usable_variants", list)
    assert load_predictor(model, "cpu").runtime == "torch"
    with pytest.raises(SettingsError, match="SENTIMENT_RUNTIME"):
        load_predictor(model, "cpu", "native")
    with pytest.raises(SettingsError, match="SENTIMENT_PRECISION"):
        load_predictor(model, "cpu", "auto", "bfloat16")


def test_a_compiler_that_fails_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the compiler said is in the error, and no half-written library is left."""
    broken = tmp_path / "kernel.c"
    broken.write_text("this is no C")
    monkeypatch.setattr(build, "SOURCE", broken)
    compiler = build.find_compiler()
    if compiler is None:
        pytest.skip("no C compiler")
    with pytest.raises(RuntimeError, match="error"):
        build.compile_variant(build.variants()[-1], compiler, tmp_path / "out.so")
    assert list(tmp_path.iterdir()) == [broken]
