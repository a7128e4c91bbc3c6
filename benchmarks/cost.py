"""Forward cost of a stored model beside that of a plain GRU of the usual size, in one run, on one core.

``python -m benchmarks.cost [MODEL ...]``. The reference is a GRU of one layer and one direction with embedding 128 and
128 units over 30,000 words, classified from its last state; both are computed by the native kernel on the same token
ids, of a mix of lengths up to 400 and of 400 alone. They take turns; the cost is the median over the rounds of the
ratio of processor times.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path

import torch

from app.model.checkpoint import load_network
from app.model.native_predictor import NativePredictor
from app.model.networks import SentimentNetwork
from app.native import binding
from app.native.packed_model import PackedModel
from app.store import ModelConfig, ModelStore
from benchmarks.engine import Batch, chance_texts
from benchmarks.machine import machine, versions

BATCH = 32
TEXTS = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=["imdb-gru"], metavar="MODEL", help="default: imdb-gru")
    parser.add_argument("--store", type=Path, default=Path("model_store"))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)), help="the core to run on")
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    reference = _reference()
    print(f"{machine()}; {versions(('torch', 'numpy'))}; one core\n")
    print("| model | precision | length mix | 400 tokens |\n|---|---|---|---|")
    for name in options.models:
        stored = ModelStore(options.store).open(name)
        network = load_network(stored.path, stored.config)
        for variant in {variant.precision: variant for variant in reversed(binding.variants())}.values():
            ratios = [
                cost(_predictor(network, variant), _predictor(reference, variant), texts, options.rounds)
                for texts in (_shared(reference, network, "mix"), _shared(reference, network, 400))
            ]
            print(f"| {stored.reference} | {variant.precision} | {ratios[0]:.3f} | {ratios[1]:.3f} |", flush=True)


def cost(predictor: NativePredictor, reference: NativePredictor, texts: Batch, rounds: int) -> float:
    """Processor time of ``predictor`` over that of ``reference``, the median of the rounds."""
    _seconds(predictor, texts), _seconds(reference, texts)
    return statistics.median(_seconds(predictor, texts) / _seconds(reference, texts) for _ in range(rounds))


def _seconds(predictor: NativePredictor, texts: Batch) -> float:
    start = time.process_time()
    for at in range(0, len(texts), BATCH):
        predictor.predict(texts[at : at + BATCH])
    return time.process_time() - start


def _shared(one: SentimentNetwork, other: SentimentNetwork, length: int | str) -> Batch:
    """Texts that both can read."""
    smaller = min(one.config, other.config, key=lambda config: (config.max_tokens, config.vocabulary_size))
    return chance_texts(smaller, length, TEXTS)


def _reference() -> SentimentNetwork:
    torch.manual_seed(0)
    config = ModelConfig(
        architecture="gru",
        vocabulary_size=30_000,
        embedding_size=128,
        hidden_size=128,
        pooling=("last",),
        max_tokens=400,
        preprocessing=1,
    )
    return SentimentNetwork(config).eval()


def _predictor(network: SentimentNetwork, variant: binding.Variant) -> NativePredictor:
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    return NativePredictor(PackedModel(network.config, weights, variant), network.config)


if __name__ == "__main__":
    main()
