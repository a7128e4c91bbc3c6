"""GRU, LSTM and tanh RNN classifiers behind one configuration.

Shape legend: B texts, T tokens, V vocabulary, E embedding, H hidden units per direction, D directions, C classes,
P poolings.

The published equations, with x the input and h the state of one time step, s the logistic function, * the
element-wise product:

- RNN (Elman 1990, "Finding structure in time"):
  h' = tanh(W x + U h + b)
- LSTM (Hochreiter and Schmidhuber 1997, "Long short-term memory"; with the forget gate of Gers et al. 2000):
  i, f, o = s(W_i x + U_i h + b_i), s(W_f x + U_f h + b_f), s(W_o x + U_o h + b_o)
  g = tanh(W_g x + U_g h + b_g);  c' = f * c + i * g;  h' = o * tanh(c')
- GRU (Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder"): two gates, reset r and update z
  r, z = s(W_r x + U_r h + b_r), s(W_z x + U_z h + b_z)
  n = tanh(W_n x + b_n + r * (U_n h + c_n));  h' = (1 - z) * n + z * h
  (cuDNN's and PyTorch's form: r is applied after the matrix product and z keeps the old state.)

Padding is a no-op. Texts are padded on the right; a forward layer never sees padding before a text ends, a backward
layer reads each text reversed within its own length, and every pooling looks at valid positions only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from app.sentiment import PAD_ID, UNKNOWN_ID, TokenIds
from app.store import ModelConfig, Pooling

# Called with (input size, hidden size); torch's own annotation of these classes misses the shared constructor.
_CELLS: dict[str, Callable[[int, int], nn.RNNBase]] = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}
RATING_STARS = 10


class Outputs(NamedTuple):
    """What the network computes for B texts."""

    logits: Tensor
    """(B, C), before temperature and softmax."""
    rating_logits: Tensor | None
    """(B, 10) over one to ten stars, where the configuration has that output."""


class SentimentNetwork(nn.Module):
    """Embedding, recurrent layers, pooling, linear output.

    Each direction of each layer is a module of its own (``recurrent.<layer>.<direction>``), so that a backward
    direction can read texts reversed within their lengths without ``PackedSequence``, whose backward pass is several
    times slower than a padded one on the CPU.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        cell = _CELLS[config.architecture]
        self.embedding = nn.Embedding(config.vocabulary_size, config.embedding_size, padding_idx=PAD_ID)
        self.recurrent = nn.ModuleList(
            nn.ModuleList(
                cell(
                    config.embedding_size if layer == 0 else config.hidden_size * config.directions, config.hidden_size
                )
                for _ in range(config.directions)
            )
            for layer in range(config.layers)
        )
        self.embedding_dropout = nn.Dropout2d(config.embedding_dropout)
        self.output_dropout = nn.Dropout(config.output_dropout)
        self.output = nn.Linear(config.features, 1 if config.output == "sigmoid" else len(config.labels))
        self.rating = nn.Linear(config.features, RATING_STARS) if config.rating else None

    def forward(self, ids: Tensor, lengths: Tensor) -> Outputs:
        """Scores of B texts.

        Args:
            ids: (B, T) token ids, padded on the right.
            lengths: (B,) valid tokens of each text, 1 to T.
        """
        return self.head(self.read(self.embed(ids), lengths))

    def embed(self, ids: Tensor) -> Tensor:
        """Token ids (B, T) to vectors (T, B, E), with word and channel dropout in training."""
        if self.training and self.config.word_dropout:
            dropped = torch.rand(ids.shape, device=ids.device) < self.config.word_dropout
            ids = ids.masked_fill(dropped & (ids != PAD_ID), UNKNOWN_ID)
        vectors: Tensor = self.embedding(ids)
        if self.training and self.config.embedding_dropout:
            # Dropout2d drops whole channels: (B, T, E) -> (B, E, T, 1), the same channels at every time step.
            vectors = self.embedding_dropout(vectors.transpose(1, 2).unsqueeze(-1)).squeeze(-1).transpose(1, 2)
        return vectors.transpose(0, 1)

    def read(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """Vectors (T, B, E) to features (B, P * D * H), which are pooled in the precision of the output."""
        return self.pool(self.states(vectors, lengths).to(self.output.weight.dtype), lengths)

    def states(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """Hidden states (T, B, D * H) of the last layer for vectors (T, B, E); arbitrary beyond a text's length.

        The backward half of position t has read the text from its end down to t.
        """
        reverse = reversal(vectors.shape[0], lengths) if self.config.bidirectional else None
        for layer in self.recurrent:
            directions = [layer[0](vectors)[0]]  # type: ignore[index]
            if reverse is not None:
                backward = layer[1](gather_time(vectors, reverse))[0]  # type: ignore[index]
                directions.append(gather_time(backward, reverse))
            vectors = torch.cat(directions, dim=-1) if len(directions) > 1 else directions[0]
        return vectors

    def pool(self, states: Tensor, lengths: Tensor) -> Tensor:
        """States (T, B, D * H) to features (B, P * D * H)."""
        return torch.cat([self._pooled(name, states, lengths) for name in self.config.pooling], -1)

    def _pooled(self, name: Pooling, states: Tensor, lengths: Tensor) -> Tensor:
        """One pooling: states (T, B, D * H) to (B, D * H)."""
        if name == "last":
            return _pool_last(states, lengths, self.config.hidden_size)
        return _pool_mean(states, lengths) if name == "mean" else _pool_max(states, lengths)

    def head(self, features: Tensor) -> Outputs:
        """Features (B, P * D * H) to logits."""
        features = self.output_dropout(features)
        logits = self.output(features)
        if self.config.output == "sigmoid":
            # softmax([0, z]) = [1 - sigmoid(z), sigmoid(z)]: one logit, served as two classes.
            logits = torch.cat([torch.zeros_like(logits), logits], dim=-1)
        return Outputs(logits, self.rating(features) if self.rating is not None else None)


def reversal(length: int, lengths: Tensor) -> Tensor:
    """(T, B) time indices that reverse each text within its own length and leave padding where it is."""
    steps = torch.arange(length, device=lengths.device).unsqueeze(1)
    return torch.where(steps < lengths, lengths - 1 - steps, steps)


def gather_time(values: Tensor, index: Tensor) -> Tensor:
    """Values (T, B, N) at time indices (T, B)."""
    return values.gather(0, index.unsqueeze(-1).expand(-1, -1, values.shape[-1]))


def _valid(states: Tensor, lengths: Tensor) -> Tensor:
    """(T, B, 1) true where there is a token."""
    return (torch.arange(states.shape[0], device=lengths.device).unsqueeze(1) < lengths).unsqueeze(-1)


def _pool_last(states: Tensor, lengths: Tensor, hidden: int) -> Tensor:
    """State of each direction after its last token: at length - 1 forward, at 0 backward."""
    index = (lengths - 1).view(1, -1, 1).expand(1, -1, hidden)
    forward = states[..., :hidden].gather(0, index).squeeze(0)
    return torch.cat([forward, states[0, :, hidden:]], dim=-1)


def _pool_mean(states: Tensor, lengths: Tensor) -> Tensor:
    return states.masked_fill(~_valid(states, lengths), 0.0).sum(0) / lengths.unsqueeze(-1).to(states.dtype)


def _pool_max(states: Tensor, lengths: Tensor) -> Tensor:
    # States lie within [-1, 1] for every cell, so -2 is below all of them, in every precision.
    return states.masked_fill(~_valid(states, lengths), -2.0).amax(0)


def pad(batch: Sequence[TokenIds[int]]) -> tuple[Tensor, Tensor]:
    """Pad on the right to the longest text.

    Returns:
        ids (B, T) and lengths (B,), both int64 on the CPU.
    """
    lengths = [len(ids) for ids in batch]
    padded = np.full((len(batch), max(lengths)), PAD_ID, dtype=np.int64)
    for row, ids in enumerate(batch):
        padded[row, : lengths[row]] = ids
    return torch.from_numpy(padded), torch.tensor(lengths)
