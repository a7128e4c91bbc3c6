"""From splits to encoded datasets, the teachers' soft labels included."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from app.store import ModelStore
from app.text.tokenizer import Tokenizer
from app.training.data import Dataset, encode_dataset, one_hot, word_targets_of_tokens
from app.training.fragments import Fragments, draw_crops, draw_fragments
from app.training.labelled import Examples, Splits
from app.training.peer import soft_labels_of
from app.training.recipe import Recipe
from app.training.teacher import SoftLabels, teach, word_targets

SOFT_LABELS_FILE = "teacher.npz"
_FRAGMENT_SEED, _CROP_SEED = 0, 1


@dataclass(frozen=True)
class Lesson:
    """What a network is taught beyond the labels, as probabilities of the second class.

    Attributes:
        soft_labels: of the labelled texts and the unlabelled ones.
        fragments: parts of them, short and long.
        fragment_labels: mean of the stored teachers' for each; empty without them: then those of the sources count.
        word_targets: what each word of all those texts adds to the n-gram teacher's logit; empty where not asked for.
        seconds: how long the soft labels took.
    """

    soft_labels: SoftLabels
    fragments: Fragments
    fragment_labels: np.ndarray
    word_targets: np.ndarray
    seconds: float


def encode_examples(examples: Examples, classes: int, tokenizer: Tokenizer) -> Dataset:
    """Labelled texts as a dataset."""
    return encode_dataset(examples.texts, one_hot(examples.labels, classes), examples.stars, tokenizer)


def training_data(splits: Splits, share: float, lesson: Lesson | None, tokenizer: Tokenizer) -> Dataset:
    """The training split and, where there is a lesson, unlabelled texts and fragments with their soft labels.

    Args:
        splits: the data.
        share: the teachers' share in the targets of labelled texts.
        lesson: the teachers' soft labels; None trains on labels alone.
        tokenizer: encodes the texts.
    """
    data = encode_examples(splits.train, len(splits.labels), tokenizer)
    if lesson is None:
        return data
    soft_labels = lesson.soft_labels
    data.targets[:] = (1 - share) * data.targets + share * _two_classes(soft_labels.labelled)
    data += _unlabelled(splits.unlabelled, _two_classes(soft_labels.unlabelled), tokenizer)
    # What a few sentences say of the review they are from: a neutral one is from a good review as often as not. A
    # stored teacher has learnt just that, and so says it with less noise.
    of_sources = data.targets[lesson.fragments.sources]
    of_fragments = _two_classes(lesson.fragment_labels) if len(lesson.fragment_labels) else of_sources
    data += _unlabelled(lesson.fragments.texts, of_fragments, tokenizer)
    if not len(lesson.word_targets):
        return data
    texts = [*splits.train.texts, *splits.unlabelled, *lesson.fragments.texts]
    return replace(data, word_targets=word_targets_of_tokens(lesson.word_targets, texts, tokenizer))


def _unlabelled(texts: Sequence[str], targets: np.ndarray, tokenizer: Tokenizer) -> Dataset:
    return encode_dataset(texts, targets, [None] * len(texts), tokenizer)


def prepare_lesson(splits: Splits, recipe: Recipe, folder: Path, store: ModelStore) -> Lesson:
    """The lesson for two-class splits.

    The teachers' part is kept in the run's folder, so that a resumed run need not wait again.
    """
    texts = [*splits.train.texts, *splits.unlabelled]
    fragments = draw_fragments(texts, recipe.fragments, _FRAGMENT_SEED)
    fragments += draw_crops(texts, recipe.crops, _CROP_SEED)
    soft_labels, seconds = _teachers(splits, recipe, folder)
    heard = np.zeros(0)
    if recipe.peers:
        started = time.monotonic()
        judged = [*splits.unlabelled, *fragments.texts]
        said = [soft_labels_of(store.open(peer), judged, splits.labels)[:, 1] for peer in recipe.peers]
        of_texts, heard = np.split(np.mean(said, axis=0), [len(splits.unlabelled)])
        soft_labels = SoftLabels(soft_labels.labelled, (soft_labels.unlabelled + of_texts) / 2)
        seconds += time.monotonic() - started
    hints = np.zeros(0, dtype=np.float32)
    if recipe.clues:
        started = time.monotonic()
        hints = word_targets(splits.train.texts, splits.train.labels, splits.unlabelled, fragments.texts)
        seconds += time.monotonic() - started
    return Lesson(soft_labels, fragments, heard, hints, seconds)


def _teachers(splits: Splits, recipe: Recipe, folder: Path) -> tuple[SoftLabels, float]:
    """The teachers' soft labels, and the seconds that they took."""
    path = folder / SOFT_LABELS_FILE
    digest = _digest([str(recipe.vector_passes), *splits.train.texts, *splits.unlabelled])
    if path.exists():
        with np.load(path, allow_pickle=False) as kept:
            if str(kept["digest"]) == digest:
                return SoftLabels(kept["labelled"], kept["unlabelled"]), float(kept["seconds"])
    started = time.monotonic()
    soft_labels = teach(splits.train.texts, splits.train.labels, splits.unlabelled, recipe.vector_passes)
    seconds = time.monotonic() - started
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{SOFT_LABELS_FILE}.part").open("wb") as file:
        np.savez(file, digest=digest, seconds=seconds, **vars(soft_labels))
    (folder / f"{SOFT_LABELS_FILE}.part").rename(path)
    return soft_labels, seconds


def _two_classes(second: np.ndarray) -> np.ndarray:
    return np.stack([1 - second, second], axis=-1).astype(np.float32)


def _digest(texts: Iterable[str]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.hexdigest()
