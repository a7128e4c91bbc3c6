"""From splits to encoded datasets, the teacher's opinion included."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.text.tokenizer import Tokenizer
from app.training.data import Dataset, encode_dataset, one_hot
from app.training.labelled import Examples, Splits
from app.training.teacher import teach

OPINION_FILE = "teacher.npz"


@dataclass(frozen=True)
class Opinion:
    """What the teacher thinks, as probabilities of the second class.

    Attributes:
        labelled: (N,) out-of-fold opinion on the labelled training texts.
        unlabelled: (M,) opinion on the unlabelled texts.
        seconds: how long it took to form.
    """

    labelled: np.ndarray
    unlabelled: np.ndarray
    seconds: float


def encode_examples(examples: Examples, classes: int, tokenizer: Tokenizer) -> Dataset:
    """Labelled texts as a dataset."""
    return encode_dataset(examples.texts, one_hot(examples.labels, classes), examples.stars, tokenizer)


def training_data(splits: Splits, share: float, opinion: Opinion | None, tokenizer: Tokenizer) -> Dataset:
    """The training split and, where there is a teacher, the unlabelled texts with its opinion.

    Args:
        splits: the data.
        share: the teacher's share in the targets of labelled texts.
        opinion: the teacher's opinion; None trains on labels alone.
        tokenizer: encodes the texts.
    """
    labelled = encode_examples(splits.train, len(splits.labels), tokenizer)
    if opinion is None:
        return labelled
    labelled.targets[:] = (1 - share) * labelled.targets + share * _two_classes(opinion.labelled)
    unknown: list[int | None] = [None] * len(splits.unlabelled)
    return labelled + encode_dataset(splits.unlabelled, _two_classes(opinion.unlabelled), unknown, tokenizer)


def form_opinion(splits: Splits, folder: Path) -> Opinion:
    """The teacher's opinion on two-class splits, kept in the run's folder so that a resumed run need not wait again."""
    path = folder / OPINION_FILE
    digest = _digest([*splits.train.texts, *splits.unlabelled])
    if path.exists():
        with np.load(path, allow_pickle=False) as kept:
            if str(kept["digest"]) == digest:
                return Opinion(kept["labelled"], kept["unlabelled"], float(kept["seconds"]))
    started = time.monotonic()
    labelled, unlabelled = teach(splits.train.texts, splits.train.labels, splits.unlabelled)
    opinion = Opinion(labelled, unlabelled, time.monotonic() - started)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{OPINION_FILE}.part").open("wb") as file:
        np.savez(file, digest=digest, labelled=labelled, unlabelled=unlabelled, seconds=opinion.seconds)
    (folder / f"{OPINION_FILE}.part").rename(path)
    return opinion


def _two_classes(second: np.ndarray) -> np.ndarray:
    return np.stack([1 - second, second], axis=-1).astype(np.float32)


def _digest(texts: Iterable[str]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.hexdigest()
