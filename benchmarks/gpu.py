"""Forward passes alone, on an NVIDIA GPU: cuDNN through PyTorch, and FlashRNN where it is installed.

``python -m benchmarks.gpu [--model NAME[/VERSION]]`` measures reviews per second by batch size and writes markdown.
Every contestant computes embedding, recurrent layer, pooling and output of texts whose token ids are on the device
already; the last column is the whole way from ids in the host's memory to scores. Texts of a batch come in no order;
what needs them sorted sorts them in its time. Contestants take turns; a figure is the median of the rounds, each the
median of several calls, with the lowest and the highest round beside it.

Without ``--model`` the weights are random. Lengths and ids are those of ``benchmarks.engine``.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from app.model.networks import SentimentNetwork, pad
from app.model.torch_predictor import TorchPredictor
from app.store import ModelConfig
from benchmarks.engine import Batch, chance_texts, stored_network
from benchmarks.machine import versions

BATCHES = (1, 32, 512, 4096)
Contestant = Callable[[], Any]
_ROUNDS = 3
_SECONDS = 0.15
_CALLS = (3, 200)
_MATRIX = 8192


class Cudnn:
    """``nn.GRU`` through cuDNN, over padded texts or a ``PackedSequence``."""

    def __init__(self, network: SentimentNetwork, precision: str, batch: Batch, *, packed: bool) -> None:
        self._network, self._packed = network, packed
        self._half = precision == "float16"
        ids, lengths = pad(batch)
        self._ids, self._lengths = ids.cuda(), lengths if packed else lengths.cuda()

    @torch.inference_mode()
    def __call__(self) -> Tensor:
        network, lengths = self._network, self._lengths
        vectors = network.embed(self._ids)
        if self._packed:
            sequence = pack_padded_sequence(vectors, lengths, enforce_sorted=False)
            states, _ = pad_packed_sequence(network.recurrent[0][0](sequence)[0])  # type: ignore[index]
            lengths = lengths.cuda(non_blocking=True)
        else:
            states = network.states(vectors, lengths)
        return network.head(network.pool(states.float(), lengths)).logits


class FlashRnn:
    """FlashRNN's fused CUDA kernel over padded texts, in bfloat16, the input half from a table.

    Raises:
        ImportError: not installed.
        Exception: whatever it raises where it does not build or run.
    """

    def __init__(self, network: SentimentNetwork, batch: Batch, backend: str) -> None:
        from flashrnn import flashrnn  # type: ignore[import-not-found,unused-ignore]

        self._function, self._network, self._backend = flashrnn, network, backend
        ids, lengths = pad(batch)
        self._ids, self._lengths = ids.cuda(), lengths.cuda()
        cell, hidden = network.recurrent[0][0], network.config.hidden_size  # type: ignore[index]
        table = network.embedding.weight.float() @ cell.weight_ih_l0.float().T
        self._table = table.bfloat16()
        self._recurrent = cell.weight_hh_l0.view(3, 1, hidden, hidden).bfloat16().contiguous()
        self._bias = torch.zeros(4, 1, hidden, device="cuda", dtype=torch.bfloat16)
        self._hidden = hidden

    @torch.inference_mode()
    def __call__(self) -> Tensor:
        inputs = self._table[self._ids].view(*self._ids.shape, 3, 1, self._hidden)
        states = self._function(
            inputs, self._recurrent, self._bias, function="gru", backend=self._backend, dtype="bfloat16"
        )[0][0]
        states = states.squeeze(-2).transpose(0, 1).float()
        return self._network.head(self._network.pool(states, self._lengths)).logits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="a stored model; random weights of the default size otherwise")
    parser.add_argument("--store", type=Path, default=Path("model_store"))
    parser.add_argument("--length", default="mix", help="tokens of every text, or mix (default)")
    options = parser.parse_args()
    print(f"{torch.cuda.get_device_name()}; {versions(('torch', 'triton', 'flashrnn'))}\n")
    network = stored_network(options.model, options.store)
    length = options.length if options.length == "mix" else int(options.length)
    report(network, length)


def report(network: SentimentNetwork, length: int | str) -> None:
    """Measure all batch sizes and print a table of reviews per second."""
    config = network.config
    texts = chance_texts(config, length, max(BATCHES))
    mean = float(np.mean([len(ids) for ids in texts]))
    flops, table = 2 * 3 * config.hidden_size**2 * mean, 8 * config.hidden_size * mean
    print(
        f"**Length {length}** (mean {mean:.0f} tokens), reviews per second. Limits: the recurrent product alone at "
        f"the rate of a large matrix product in float16 {matmul_flops() / flops:,.0f}, the look-up of the input half "
        f"at the rate of a copy {copy_bytes() / table:,.0f}.\n"
    )
    results = {size: measure(contestants(network, texts[:size])) for size in BATCHES}
    names = list(results[BATCHES[0]])
    print(f"| batch | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for size, rounds in results.items():
        cells = [
            f"{size / statistics.median(r):,.0f} ({size / max(r):,.0f}–{size / min(r):,.0f})" if r else "–"
            for r in (rounds.get(name, []) for name in names)
        ]
        print(f"| {size} | {' | '.join(cells)} |", flush=True)


def contestants(network: SentimentNetwork, batch: Batch) -> dict[str, Contestant]:
    """All that can be measured here; says what cannot and why."""
    config = network.config
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    predictor = TorchPredictor(copy.deepcopy(network), "cuda", "float16")
    single, half = on_gpu(config, weights, "float32"), on_gpu(config, weights, "float16")
    found: dict[str, Contestant] = {}
    if config.layers == config.directions == 1 and config.architecture == "gru":
        for backend in ("cuda_fused", "cuda"):
            try:
                contestant = FlashRnn(single, batch, backend)
                contestant()
                found[f"FlashRNN {backend}, bfloat16"] = contestant
            except Exception as error:
                print(f"FlashRNN {backend} is left out for {len(batch)} texts: {str(error)[:200]!r}\n")
    found |= {
        "cuDNN padded, float16": Cudnn(half, "float16", batch, packed=False),
        "cuDNN packed, float16": Cudnn(half, "float16", batch, packed=True),
        "cuDNN padded, float32": Cudnn(single, "float32", batch, packed=False),
        "cuDNN packed, float32": Cudnn(single, "float32", batch, packed=True),
        "cuDNN, float16, ids to scores": lambda: predictor.predict(batch),
    }
    return found


def on_gpu(config: ModelConfig, weights: dict[str, Any], precision: str) -> SentimentNetwork:
    """A network of these weights as ``TorchPredictor`` has it."""
    network = SentimentNetwork(config)
    network.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    TorchPredictor(network, "cuda", precision)
    return network


def measure(engines: dict[str, Contestant]) -> dict[str, list[float]]:
    """Seconds of a call in every round."""
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for engine in engines.values():
        for _ in range(_CALLS[0]):
            engine()
        torch.cuda.synchronize()
    for _ in range(_ROUNDS):
        for name, engine in engines.items():
            times: list[float] = []
            while len(times) < _CALLS[0] or (sum(times) < _SECONDS and len(times) < _CALLS[1]):
                start = time.perf_counter()
                engine()
                torch.cuda.synchronize()
                times.append(time.perf_counter() - start)
            seconds[name].append(statistics.median(times))
    return seconds


def matmul_flops() -> float:
    """Floating-point operations per second of a large float16 matrix product."""
    matrix = torch.rand(_MATRIX, _MATRIX, device="cuda", dtype=torch.float16)
    return 2 * _MATRIX**3 / _best(lambda: matrix @ matrix)


def copy_bytes() -> float:
    """Bytes per second that a large copy reads."""
    source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * len(source) / _best(lambda: target.copy_(source))


def _best(work: Contestant) -> float:
    best = float("inf")
    for _ in range(6):
        torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return best


if __name__ == "__main__":
    main()
