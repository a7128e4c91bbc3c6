"""Labelled texts as encoded examples, and their order in an epoch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from app.sentiment import TokenIds
from app.text.preprocessing import words
from app.text.tokenizer import Tokenizer

_POOL_BATCHES = 50


@dataclass(frozen=True)
class Dataset:
    """Encoded texts with their labels.

    Attributes:
        ids: token ids of each text.
        targets: (N, C) probability of each class, float32; a label is a row of 0 and 1, a soft label a softer
            one.
        stars: (N,) star rating of each text, fractions included, 0 where there is none.
        word_targets: for each token of each text what it adds to a teacher's logit; empty without them.
    """

    ids: Sequence[TokenIds[int]]
    targets: np.ndarray
    stars: np.ndarray
    word_targets: Sequence[np.ndarray] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labels(self) -> np.ndarray:
        """(N,) most probable class of each text."""
        return np.asarray(self.targets.argmax(-1))

    def __add__(self, other: Dataset) -> Dataset:
        return Dataset(
            [*self.ids, *other.ids],
            np.concatenate([self.targets, other.targets]),
            np.concatenate([self.stars, other.stars]),
            [*self.word_targets, *other.word_targets],
        )


def one_hot(labels: Sequence[int], classes: int) -> np.ndarray:
    """(N,) labels to (N, C) targets."""
    targets = np.zeros((len(labels), classes), dtype=np.float32)
    targets[np.arange(len(labels)), np.asarray(labels, dtype=np.int64)] = 1
    return targets


def encode_dataset(
    texts: Sequence[str], targets: np.ndarray, stars: Sequence[float | None], tokenizer: Tokenizer
) -> Dataset:
    """Encode texts once, before training."""
    return Dataset(
        [tokenizer.encode(text).ids for text in texts],
        targets.astype(np.float32),
        np.asarray([star or 0 for star in stars], dtype=np.float32),
    )


def word_targets_of_tokens(word_targets: np.ndarray, texts: Sequence[str], tokenizer: Tokenizer) -> list[np.ndarray]:
    """Targets of all words of all texts, one after the other, as those of the tokens of each; scaled to variance 1."""
    counts = [len(words(text)) for text in texts]
    scaled = (word_targets / max(float(word_targets.std()), 1e-6)).astype(np.float32)
    tail = tokenizer.max_tokens - tokenizer.head_tokens
    return [
        part if len(part) <= tokenizer.max_tokens else np.concatenate([part[: tokenizer.head_tokens], part[-tail:]])
        for part in np.split(scaled, np.cumsum(counts)[:-1])
    ]


def bucketed_batches(lengths: np.ndarray, batch_size: int, seed: int, epoch: int) -> Iterator[np.ndarray]:
    """Indices of one epoch's batches: every text once, texts of like length together, batches in random order.

    The order depends on ``seed`` and ``epoch`` alone, so that a resumed epoch continues exactly.

    Args:
        lengths: (N,) tokens per text.
    """
    random = np.random.default_rng((seed, epoch))
    order = random.permutation(len(lengths))
    batches = []
    pool = batch_size * _POOL_BATCHES
    for start in range(0, len(order), pool):
        chunk = order[start : start + pool]
        chunk = chunk[np.argsort(lengths[chunk], kind="stable")]
        batches += [chunk[at : at + batch_size] for at in range(0, len(chunk), batch_size)]
    for index in random.permutation(len(batches)):
        yield batches[index]


def fingerprint(*datasets: Dataset) -> str:
    """Digest of all token ids, in order: two runs with the same one see the same texts."""
    digest = hashlib.blake2b(digest_size=16)
    for dataset in datasets:
        digest.update(len(dataset).to_bytes(8, "big"))
        for ids in dataset.ids:
            digest.update(len(ids).to_bytes(4, "big"))
            digest.update(ids)
    return digest.hexdigest()
