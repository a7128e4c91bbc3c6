"""Forward passes alone, on one core: the native kernel beside PyTorch, ONNX Runtime and OpenVINO.

``python -m benchmarks.engine [--model NAME[/VERSION]]`` measures reviews per second by batch size and length and writes
markdown. Every contestant gets the same token ids and returns class probabilities; embedding, recurrent layer, pooling
and output are part of it, tokenizing is not. Contestants take turns, so that a disturbance hits all alike; a figure is
the median of the rounds, with the lowest and the highest beside it.

Without ``--model`` the weights are random (the figures do not depend on them, the errors do). Ids follow a power law
as words do; the length mix is log-normal, cut at the model's limit, with a mean near that of film reviews.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from app.model.checkpoint import load_network
from app.model.native_predictor import NativePredictor
from app.model.networks import SentimentNetwork
from app.model.torch_predictor import TorchPredictor
from app.native import binding
from app.native.packed_model import PackedModel
from app.sentiment import TokenIds
from app.store import ModelConfig, ModelStore
from benchmarks.engine_graphs import OnnxEngine, OpenVinoEngine, PackedTorchEngine
from benchmarks.machine import machine, versions

Batch: TypeAlias = "Sequence[TokenIds[int]]"
Probabilities = NDArray[np.float64]
Engine: TypeAlias = "Callable[[Batch], Probabilities]"

BATCHES = (1, 8, 32, 128)
LENGTHS: tuple[int | str, ...] = (32, 128, 400, "mix")
_MIX_LOCATION, _MIX_SCALE, _MIX_SHORTEST = 5.42, 0.65, 10
_TOKENS_A_ROUND = 60_000
_MATRIX = 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="a stored model; random weights of the default size otherwise")
    parser.add_argument("--store", type=Path, default=Path("model_store"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)), help="the core to run on")
    options = parser.parse_args()
    print(f"{machine()}; {versions(('torch', 'onnxruntime', 'openvino', 'numpy'))}; one core, one thread\n")
    os.sched_setaffinity(0, {options.core})
    torch.set_num_threads(1)
    network = stored_network(options.model, options.store)
    engines = _engines(network)
    sample = chance_texts(network.config, "mix", 256)
    expected = engines["torch padded"](sample)
    for length in LENGTHS:
        _report(length, network.config, engines, options.rounds)
    print("largest difference from torch in float32, of a probability, over 256 texts:\n")
    for name, engine in engines.items():
        print(f"- {name}: {np.abs(_in_batches(engine, sample, 32) - expected).max():.1e}")


def stored_network(reference: str | None, store: Path) -> SentimentNetwork:
    if reference:
        stored = ModelStore(store).open(reference)
        return load_network(stored.path, stored.config)
    torch.manual_seed(0)
    config = ModelConfig(
        architecture="gru",
        vocabulary_size=30_000,
        embedding_size=128,
        hidden_size=128,
        pooling=("last", "mean", "max"),
        max_tokens=400,
        preprocessing=1,
    )
    return SentimentNetwork(config).eval()


def _engines(network: SentimentNetwork) -> dict[str, Engine]:
    """What can be measured here; says what cannot and why."""
    padded = TorchPredictor(network)
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    engines: dict[str, Engine] = {"torch packed": PackedTorchEngine(network), "torch padded": _of(padded)}
    with tempfile.TemporaryDirectory() as folder:
        others: dict[str, Callable[[], Engine]] = {
            "ONNX Runtime": lambda: OnnxEngine(network.config, weights, Path(folder)),
            "OpenVINO float32": lambda: OpenVinoEngine(network.config, weights, "f32"),
            "OpenVINO bfloat16": lambda: OpenVinoEngine(network.config, weights, "bf16"),
        }
        for name, make in others.items():
            try:
                engines[name] = make()
            except (ImportError, ValueError) as error:
                print(f"{name} is left out: {error}\n")
    for precision in reversed(binding.precisions()):
        variant = next(variant for variant in binding.variants() if variant.precision == precision)
        packed = PackedModel(network.config, weights, variant)
        engines[f"native {precision}"] = _of(NativePredictor(packed, network.config))
    if not binding.precisions():
        print("the native kernel is left out: run `python -m app.native.compiler`\n")
    return engines


def _of(predictor: TorchPredictor | NativePredictor) -> Engine:
    return lambda batch: np.array([score.probabilities for score in predictor.predict(batch)])


def chance_texts(config: ModelConfig, length: int | str, count: int) -> list[TokenIds[int]]:
    """Chance texts of one length, or of the length mix."""
    chance = np.random.default_rng(0)
    lengths = np.full(count, length if isinstance(length, int) else 0).clip(0, config.max_tokens)
    if length == "mix":
        drawn = chance.lognormal(_MIX_LOCATION, _MIX_SCALE, count)
        lengths = drawn.clip(_MIX_SHORTEST, config.max_tokens).astype(int)
    # Rank = V^u for even u: the probability of a word is in inverse proportion to its rank.
    ids = [config.vocabulary_size ** chance.random(size) for size in lengths]
    return [array("i", values.astype(np.int32).tolist()) for values in ids]


def _report(length: int | str, config: ModelConfig, engines: dict[str, Engine], rounds: int) -> None:
    """Measure one length at every batch size and print a table of reviews per second."""
    mean = float(np.mean([len(ids) for ids in chance_texts(config, length, 2048)]))
    gates = {"gru": 3, "lstm": 4, "rnn": 1}[config.architecture]
    flops = 2 * gates * config.hidden_size**2 * config.directions * mean
    print(f"**Length {length}** (mean {mean:.0f} tokens), reviews per second.", end=" ")
    if config.layers == 1:
        limits = {name: matmul_flops(getattr(torch, name)) for name in ("float32", "bfloat16")}
        parts = [f"{limit / flops:,.0f} in {name} ({limit / 1e9:.0f} GFLOP/s)" for name, limit in limits.items()]
        print(f"The recurrent product alone, at the rate of a large matrix product: {', '.join(parts)}.", end="")
    print(f"\n\n| batch | {' | '.join(engines)} |\n|---|{'---|' * len(engines)}")
    for size in BATCHES:
        count = max(1, round(_TOKENS_A_ROUND / mean / size)) * size
        speeds = _measure(engines, chance_texts(config, length, count), size, rounds)
        cells = (f"{statistics.median(s):,.0f} ({min(s):,.0f}–{max(s):,.0f})" for s in speeds.values())
        print(f"| {size} | {' | '.join(cells)} |", flush=True)
    print()


def _measure(engines: dict[str, Engine], texts: Batch, size: int, rounds: int) -> dict[str, list[float]]:
    """Texts per second of every engine in every round."""
    speeds: dict[str, list[float]] = {name: [] for name in engines}
    for engine in engines.values():  # set-up for new shapes is not measured
        _in_batches(engine, texts[: 2 * size], size)
    for _ in range(rounds):
        for name, engine in engines.items():
            start = time.perf_counter()
            _in_batches(engine, texts, size)
            speeds[name].append(len(texts) / (time.perf_counter() - start))
    return speeds


def _in_batches(engine: Engine, texts: Batch, size: int) -> Probabilities:
    return np.concatenate([engine(texts[at : at + size]) for at in range(0, len(texts), size)])


def matmul_flops(dtype: torch.dtype) -> float:
    """Floating-point operations per second of a square matrix product, the best of several."""
    matrix = torch.rand(_MATRIX, _MATRIX).to(dtype)
    best = 0.0
    for _ in range(8):
        start = time.perf_counter()
        matrix @ matrix
        best = max(best, 2 * _MATRIX**3 / (time.perf_counter() - start))
    return best


if __name__ == "__main__":
    main()
