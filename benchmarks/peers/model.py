"""The model inside every peer: texts in, answers out, from the environment.

- ``BENCH_MODEL``    folder of the stored version
- ``BENCH_INSIDE``   ``torch``: plain PyTorch, as any user would write it; ``own``: this project's own predictor
- ``BENCH_THREADS``  threads of one forward pass
- ``BENCH_WORKERS``  inference workers
- ``BENCH_PORT``     port to listen on
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from app.store import WEIGHTS_FILE, ModelConfig, StoredModel, open_version
from app.text.tokenizer import Tokenizer, load_tokenizer

MAX_BATCH = 32
MAX_WAIT_MS = 10
PORT = int(os.environ.get("BENCH_PORT", "8000"))
WORKERS = int(os.environ.get("BENCH_WORKERS", "1"))

Answer = dict[str, Any]
Classify = Callable[[Sequence[str]], list[Answer]]

_CELLS: dict[str, Any] = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}


def load_classify() -> Classify:
    """A function from texts to answers ``{"label": ..., "score": ...}``, by what the environment says."""
    model = open_version(Path(os.environ["BENCH_MODEL"]))
    threads = int(os.environ.get("BENCH_THREADS", "1"))
    probabilities = _own(model, threads) if os.environ.get("BENCH_INSIDE") == "own" else _torch(model, threads)
    labels = model.config.labels

    def classify(texts: Sequence[str]) -> list[Answer]:
        answers = []
        for row in probabilities(texts):
            score = max(row)
            answers.append({"label": labels[row.index(score)], "score": score})
        return answers

    return classify


def _own(model: StoredModel, threads: int) -> Callable[[Sequence[str]], list[list[float]]]:
    from app.model.runtimes import load_predictor

    tokenizer = load_tokenizer(model)
    predictor = load_predictor(model, "cpu", "auto", "auto", threads)

    def probabilities(texts: Sequence[str]) -> list[list[float]]:
        scores = predictor.predict([tokenizer.encode(text).ids for text in texts])
        return [list(score.probabilities) for score in scores]

    return probabilities


def _torch(model: StoredModel, threads: int) -> Callable[[Sequence[str]], list[list[float]]]:
    torch.set_num_threads(threads)
    tokenizer = load_tokenizer(model)
    network = PlainNetwork(model.config)
    network.load_state_dict(_plain_weights(load_file(model.path / WEIGHTS_FILE)))
    network.eval()

    @torch.inference_mode()
    def probabilities(texts: Sequence[str]) -> list[list[float]]:
        rows: list[list[float]] = network(*_tensors(tokenizer, texts)).tolist()
        return rows

    return probabilities


def _tensors(tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Token ids (B, T), padded on the right, and lengths (B,)."""
    rows = [torch.tensor(tokenizer.encode(text).ids) for text in texts]
    return pad_sequence(rows, batch_first=True), torch.tensor([len(row) for row in rows])


class PlainNetwork(nn.Module):
    """Embedding, packed ``nn.GRU`` (or LSTM, RNN), pooling, linear layer: what a PyTorch tutorial ends up with."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary_size, config.embedding_size)
        self.recurrent = _CELLS[config.architecture](
            config.embedding_size,
            config.hidden_size,
            config.layers,
            batch_first=True,
            bidirectional=config.bidirectional,
        )
        self.output = nn.Linear(config.features, 1 if config.output == "sigmoid" else len(config.labels))

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Class probabilities (B, C) of ids (B, T) and lengths (B,)."""
        packed = pack_padded_sequence(self.embedding(ids), lengths, batch_first=True, enforce_sorted=False)
        states, last = self.recurrent(packed)
        last = last[0] if self.config.architecture == "lstm" else last
        features = torch.cat([self._pooled(name, states, last, lengths) for name in self.config.pooling], dim=-1)
        logits = self.output(features) / self.config.temperature
        if self.config.output == "sigmoid":
            positive = torch.sigmoid(logits)
            return torch.cat([1 - positive, positive], dim=-1)
        return torch.softmax(logits, dim=-1)

    def _pooled(self, name: str, packed: Any, last: Tensor, lengths: Tensor) -> Tensor:
        """One pooling (B, D * H) of the packed states; ``last`` is (layers * D, B, H)."""
        if name == "last":
            return torch.cat(list(last[-self.config.directions :]), dim=-1)
        states, _ = pad_packed_sequence(packed, batch_first=True, padding_value=0.0 if name == "mean" else -2.0)
        return states.sum(1) / lengths.unsqueeze(1) if name == "mean" else states.amax(1)


def _plain_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights under the names of ``PlainNetwork``: ``recurrent.1.0.weight_ih_l0`` is ``recurrent.weight_ih_l1``."""
    plain = {}
    for name, tensor in weights.items():
        if name.startswith("recurrent."):
            _, layer, direction, parameter = name.split(".")
            suffix = "_reverse" if direction == "1" else ""
            name = f"recurrent.{parameter.removesuffix('0')}{layer}{suffix}"  # noqa: PLW2901
        if not name.startswith("rating."):
            plain[name] = tensor.float()
    return plain
