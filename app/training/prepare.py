"""From splits to encoded datasets, the teachers' opinion included."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from app.errors import DataError
from app.modeling.runtimes import load_predictor
from app.store import ModelStore
from app.text.tokenizer import Tokenizer, load_tokenizer
from app.training.data import Dataset, clues_of_tokens, encode_dataset, one_hot
from app.training.fragments import Fragments, draw_fragments
from app.training.labelled import Examples, Splits
from app.training.recipe import Recipe
from app.training.teacher import Opinions, clues, teach

OPINION_FILE = "teacher.npz"
_FRAGMENT_SEED = 0
_PEER_BATCH = 256


@dataclass(frozen=True)
class Lesson:
    """What a network is taught beyond the labels, as probabilities of the second class.

    Attributes:
        opinions: of the labelled texts and the unlabelled ones.
        fragments: short texts cut out of them.
        clues: what each word of all those texts adds to the n-gram teacher's logit; empty where not asked for.
        seconds: how long it took to form the opinions.
    """

    opinions: Opinions
    fragments: Fragments
    clues: np.ndarray
    seconds: float


def encode_examples(examples: Examples, classes: int, tokenizer: Tokenizer) -> Dataset:
    """Labelled texts as a dataset."""
    return encode_dataset(examples.texts, one_hot(examples.labels, classes), examples.stars, tokenizer)


def training_data(splits: Splits, share: float, lesson: Lesson | None, tokenizer: Tokenizer) -> Dataset:
    """The training split and, where there is a lesson, unlabelled texts and fragments with the opinions on them.

    Args:
        splits: the data.
        share: the teachers' share in the targets of labelled texts.
        lesson: the teachers' opinions; None trains on labels alone.
        tokenizer: encodes the texts.
    """
    data = encode_examples(splits.train, len(splits.labels), tokenizer)
    if lesson is None:
        return data
    opinions = lesson.opinions
    data.targets[:] = (1 - share) * data.targets + share * _two_classes(opinions.labelled)
    data += _unlabelled(splits.unlabelled, _two_classes(opinions.unlabelled), tokenizer)
    # What a few sentences say of the review they are from: a neutral one is from a good review as often as not.
    data += _unlabelled(lesson.fragments.texts, data.targets[lesson.fragments.sources], tokenizer)
    if not len(lesson.clues):
        return data
    texts = [*splits.train.texts, *splits.unlabelled, *lesson.fragments.texts]
    return replace(data, clues=clues_of_tokens(lesson.clues, texts, tokenizer))


def _unlabelled(texts: Sequence[str], targets: np.ndarray, tokenizer: Tokenizer) -> Dataset:
    return encode_dataset(texts, targets, [None] * len(texts), tokenizer)


def prepare_lesson(splits: Splits, recipe: Recipe, folder: Path, store: ModelStore) -> Lesson:
    """The lesson for two-class splits.

    The teachers' part is kept in the run's folder, so that a resumed run need not wait again.
    """
    texts = [*splits.train.texts, *splits.unlabelled]
    fragments = draw_fragments(texts, recipe.fragments, _FRAGMENT_SEED)
    opinions, seconds = _teachers(splits, recipe, folder)
    if recipe.peer is not None:
        started = time.monotonic()
        heard = _peer(recipe.peer, store, splits.unlabelled, splits.labels)
        opinions = Opinions(opinions.labelled, (opinions.unlabelled + heard) / 2)
        seconds += time.monotonic() - started
    hints = np.zeros(0, dtype=np.float32)
    if recipe.clues:
        started = time.monotonic()
        hints = clues(splits.train.texts, splits.train.labels, splits.unlabelled, fragments.texts)
        seconds += time.monotonic() - started
    return Lesson(opinions, fragments, hints, seconds)


def _teachers(splits: Splits, recipe: Recipe, folder: Path) -> tuple[Opinions, float]:
    """The teachers' opinions and the seconds it took to form them."""
    path = folder / OPINION_FILE
    digest = _digest([str(recipe.vector_passes), *splits.train.texts, *splits.unlabelled])
    if path.exists():
        with np.load(path, allow_pickle=False) as kept:
            if str(kept["digest"]) == digest:
                return Opinions(kept["labelled"], kept["unlabelled"]), float(kept["seconds"])
    started = time.monotonic()
    opinions = teach(splits.train.texts, splits.train.labels, splits.unlabelled, recipe.vector_passes)
    seconds = time.monotonic() - started
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{OPINION_FILE}.part").open("wb") as file:
        np.savez(file, digest=digest, seconds=seconds, **vars(opinions))
    (folder / f"{OPINION_FILE}.part").rename(path)
    return opinions, seconds


def _peer(reference: str, store: ModelStore, texts: Sequence[str], labels: tuple[str, ...]) -> np.ndarray:
    """Probabilities of the second class from a stored model.

    Raises:
        DataError: the model has other labels.
        CheckpointError: it cannot be read.
    """
    model = store.open(reference)
    if model.config.labels != labels:
        raise DataError(f"{model.reference}: labels {', '.join(model.config.labels)}, the data has {', '.join(labels)}")
    tokenizer, predictor = load_tokenizer(model), load_predictor(model)
    ids = [tokenizer.encode(text).ids for text in texts]
    result = np.zeros(len(ids))
    order = np.argsort([len(text) for text in ids], kind="stable")
    for start in range(0, len(order), _PEER_BATCH):
        rows = order[start : start + _PEER_BATCH]
        result[rows] = [scores.probabilities[1] for scores in predictor.predict([ids[row] for row in rows])]
    return result


def _two_classes(second: np.ndarray) -> np.ndarray:
    return np.stack([1 - second, second], axis=-1).astype(np.float32)


def _digest(texts: Iterable[str]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.hexdigest()
