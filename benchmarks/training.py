"""Steps of training alone, on one core: the fused recurrent layer beside PyTorch's.

``python -m benchmarks.training [--hidden 128]`` measures tokens per second of whole steps (forward, backward, weights)
on random texts of 230 tokens, in batches of 128, and the rate of a large matrix product as the machine's limit.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from dataclasses import replace

import torch
from torch import nn

from app.model.networks import SentimentNetwork
from app.training.kernels import keep_memory
from app.training.recipe import best
from app.training.recurrence import TrainingNetwork
from benchmarks.engine import matmul_flops
from benchmarks.machine import machine, versions

TEXTS, TOKENS = 128, 230


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)), help="the core to run on")
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    torch.set_num_threads(1)
    keep_memory()
    recipe = best("gru")
    config = replace(recipe, network={**recipe.network, "hidden_size": options.hidden}).config(30_000, ("a", "b"))
    print(f"{machine()}; {versions(('torch',))}; one core, one thread; {options.hidden} units\n")
    limits = ", ".join(f"{matmul_flops(kind) / 1e9:,.0f} GFLOP/s in {kind}" for kind in (torch.float32, torch.bfloat16))
    print(f"A large matrix product: {limits}.\n\n| layer | tokens/s | GFLOP/s of matrix products |\n|---|---|---|")
    # Forward once, backward twice: input and recurrent products of three gates.
    flops = 3 * 2 * 3 * config.hidden_size * (config.embedding_size + config.hidden_size)
    networks = {"PyTorch": SentimentNetwork(config), "fused": TrainingNetwork(config)}
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    for turn in range(options.rounds + 1):
        for name, network in networks.items():
            taken = step_seconds(network)
            if turn:
                seconds[name].append(taken)
    for name, taken_all in seconds.items():
        rate = TEXTS * TOKENS / statistics.median(taken_all)
        print(f"| {name} | {rate:,.0f} | {rate * flops / 1e9:,.0f} |")


def step_seconds(network: SentimentNetwork) -> float:
    """Processor time of one step on chance texts."""
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    ids = torch.randint(2, network.config.vocabulary_size, (TEXTS, TOKENS))
    lengths, labels = torch.full((TEXTS,), TOKENS), torch.randint(0, 2, (TEXTS,))
    start = time.process_time()
    nn.functional.cross_entropy(network(ids, lengths).logits, labels).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return time.process_time() - start


if __name__ == "__main__":
    main()
