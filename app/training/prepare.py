"""From splits to encoded datasets, the teachers' opinion included."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from app.store import ModelStore
from app.text.tokenizer import Tokenizer
from app.training.data import Dataset, clues_of_tokens, encode_dataset, one_hot
from app.training.fragments import Fragments, draw_crops, draw_fragments
from app.training.labelled import Examples, Splits
from app.training.peer import opinions_of_peer
from app.training.recipe import Recipe
from app.training.teacher import Opinions, clues, teach

OPINION_FILE = "teacher.npz"
_FRAGMENT_SEED, _CROP_SEED = 0, 1


@dataclass(frozen=True)
class Lesson:
    """What a network is taught beyond the labels, as probabilities of the second class.

    Attributes:
        opinions: of the labelled texts and the unlabelled ones.
        fragments: parts of them, short and long.
        fragment_opinions: the peers' mean opinion on each; empty without peers: then they have that on their sources.
        clues: what each word of all those texts adds to the n-gram teacher's logit; empty where not asked for.
        seconds: how long it took to form the opinions.
    """

    opinions: Opinions
    fragments: Fragments
    fragment_opinions: np.ndarray
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
    # What a few sentences say of the review they are from: a neutral one is from a good review as often as not. A peer
    # has learnt just that, and so says it with less noise.
    of_sources = data.targets[lesson.fragments.sources]
    of_fragments = _two_classes(lesson.fragment_opinions) if len(lesson.fragment_opinions) else of_sources
    data += _unlabelled(lesson.fragments.texts, of_fragments, tokenizer)
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
    fragments += draw_crops(texts, recipe.crops, _CROP_SEED)
    opinions, seconds = _teachers(splits, recipe, folder)
    heard = np.zeros(0)
    if recipe.peers:
        started = time.monotonic()
        judged = [*splits.unlabelled, *fragments.texts]
        said = [opinions_of_peer(store.open(peer), judged, splits.labels) for peer in recipe.peers]
        of_texts, heard = np.split(np.mean(said, axis=0), [len(splits.unlabelled)])
        opinions = Opinions(opinions.labelled, (opinions.unlabelled + of_texts) / 2)
        seconds += time.monotonic() - started
    hints = np.zeros(0, dtype=np.float32)
    if recipe.clues:
        started = time.monotonic()
        hints = clues(splits.train.texts, splits.train.labels, splits.unlabelled, fragments.texts)
        seconds += time.monotonic() - started
    return Lesson(opinions, fragments, heard, hints, seconds)


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


def _two_classes(second: np.ndarray) -> np.ndarray:
    return np.stack([1 - second, second], axis=-1).astype(np.float32)


def _digest(texts: Iterable[str]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.hexdigest()
