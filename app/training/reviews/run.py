"""A run of ``train-reviews``: what it was asked for, all texts that it reads, and what it keeps in its folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from app.errors import DataError, NoWordsError
from app.store import ModelStore, StoredModel
from app.text.tokenizer import Tokenizer, load_tokenizer
from app.training.corpus import Corpus, Review, load_corpus
from app.training.data import Dataset
from app.training.fragments import draw_crops, draw_fragments
from app.training.labelled import CORPUS_LABELS
from app.training.recipe import REVIEWS_FURTHER, Recipe
from app.training.reviews.generated import Generator
from app.training.reviews.mixture import Mixture, encoded, one_hot_target
from app.training.reviews.sources import LABELS, Source, parse_sources, read_source
from app.training.reviews.vocabulary import build_tokenizer
from app.training.reviews.wordlists import emoji_sentiment, sentiment_words

if TYPE_CHECKING:
    from app.training.requested import ReviewOptions

_CROP_SEED, _FRAGMENT_SEED = 1, 2
_LONG = 200
"""Characters of a text out of which sentences are cut."""


@dataclass(frozen=True)
class Run:
    """A run of ``train-reviews`` and what it reads.

    What takes long is kept in the run's folder under a name that has a digest of all that it depends on.
    """

    options: ReviewOptions
    recipe: Recipe
    store: ModelStore
    peers: Sequence[StoredModel]
    corpus: Corpus
    sources: Sequence[Source]
    development: Sequence[Source]

    @cached_property
    def digest(self) -> str:
        """Of the recipe and all texts with their labels and weights."""
        found = hashlib.blake2b(json.dumps(self.recipe.as_dict(), sort_keys=True).encode(), digest_size=8)
        for source in (*self.sources, *self.development):
            found.update(f"{source.name} {source.weight} {source.examples}".encode())
        for reviews_of in (self.corpus.train, self.corpus.validation, self.corpus.unsup):
            for review in reviews_of:
                found.update(f"{review.label} {review.stars} {review.text}".encode())
        for reference in filter(None, (self.options.start, self.options.words)):
            found.update(self.store.open(reference).digest.encode())
        return found.hexdigest()

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of all training texts, or of a stored version."""
        network = self.recipe.network
        limits = (network["max_tokens"], network["head_tokens"])
        if self.options.words:
            return load_tokenizer(self.store.open(self.options.words)).with_limits(*limits)
        path = self.options.run / f"tokenizer-{self.digest}.json"
        if path.exists():
            return Tokenizer.load(path, *limits)
        texts = [review.text for review in [*self.corpus.train, *self.corpus.unsup]]
        texts += [text for source in self.sources for text in source.examples.texts]
        extra = [*(word for word in sentiment_words() if word.isalpha()), *emoji_sentiment()]
        extra += [of.text for of in Generator(0).texts(20_000)]
        tokenizer = build_tokenizer(texts, network["vocabulary_size"], self.recipe.pieces, *limits, extra)
        self.options.run.mkdir(parents=True, exist_ok=True)
        tokenizer.save(path)
        return tokenizer

    @cached_property
    def start(self) -> StoredModel:
        """Where students start."""
        return self.store.open(self.options.large or self.options.start)

    @property
    def goes_on(self) -> bool:
        """Whether students start from a model of the same classes."""
        return self.recipe.preset == REVIEWS_FURTHER

    @property
    def film_teachers(self) -> list[StoredModel]:
        """Stored models that teach what film reviews without a label are."""
        return [peer for peer in self.peers if peer.config.labels == CORPUS_LABELS]

    @property
    def review_teachers(self) -> list[StoredModel]:
        """Stored models that teach of all texts."""
        return [peer for peer in self.peers if peer.config.labels == LABELS]

    @cached_property
    def validation(self) -> Dataset:
        """Development texts and film reviews that choose the epoch."""
        labelled = labelled_mixture(self.development, self.corpus.validation)
        return encoded(labelled, self.tokenizer, self.options.seed, cut=False)

    def kept(self, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """An array that was computed before for the same data and recipe, or now."""
        path = self.options.run / f"{name}-{self.digest}.npy"
        if path.exists():
            return np.asarray(np.load(path, allow_pickle=False))
        found = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, found)
        return found


@dataclass(frozen=True)
class TaughtTexts:
    """All texts that teachers are asked about.

    Attributes:
        labelled: N texts with a label.
        labels: of each, an index into ``LABELS``.
        films: film reviews without a label.
        parts: sentences and longer parts of film reviews and of the sources' texts.
    """

    labelled: list[str]
    labels: list[int]
    films: list[str]
    parts: list[str]


def taught_texts(run: Run) -> TaughtTexts:
    """The run's labelled texts, those without a label, and what is cut out of both."""
    examples = [source.examples for source in run.sources]
    of_films = [review.text for review in run.corpus.train]
    of_sources = [text for of in examples for text in of.texts]
    # A recipe without parts of texts learns from labelled and generated ones alone.
    films = [review.text for review in run.corpus.unsup] if run.recipe.crops else []
    crops = draw_crops([*of_films, *films], run.recipe.crops, _CROP_SEED)
    long = [text for text in of_sources if len(text) > _LONG]
    sentences = [
        draw_fragments(texts, run.recipe.fragments // 2, _FRAGMENT_SEED) for texts in ([*of_films, *films], long)
    ]
    parts = [text for drawn in (crops, *sentences) for text in drawn.texts]
    readable = [not isinstance(encoding, NoWordsError) for encoding in run.tokenizer.encode_all(parts)]
    return TaughtTexts(
        of_sources + of_films,
        [label for of in examples for label in of.labels] + [2 if review.label else 0 for review in run.corpus.train],
        films,
        [text for text, kept in zip(parts, readable, strict=True) if kept],
    )


def labelled_mixture(sources: Sequence[Source], reviews: Sequence[Review]) -> Mixture:
    """Development sets and film reviews with their plain labels."""
    mixture = Mixture()
    for source in sources:
        of = source.examples
        for text, label, stars in zip(of.texts, of.labels, of.stars, strict=True):
            mixture.add(text, one_hot_target(label), stars or 0.0)
    for review in reviews:
        mixture.add(review.text, (0.0, 0.0, 1.0) if review.label else (1.0, 0.0, 0.0), float(review.stars or 0))
    return mixture


def prepared(options: ReviewOptions, recipe: Recipe, store: ModelStore) -> Run:
    """A run with its texts read.

    Raises:
        CheckpointError: a stored teacher cannot be read.
        DataError: a file is not as it should be, a stored teacher has other labels, or there must be one and is none.
    """
    peers = [store.open(reference) for reference in options.peers]
    for peer in peers:
        if peer.config.labels not in (CORPUS_LABELS, LABELS):
            wanted = f"{' and '.join(CORPUS_LABELS)} apart, or {', '.join(LABELS)}"
            raise DataError(f"{peer.reference}: a teacher must tell {wanted}")
    if recipe.preset == REVIEWS_FURTHER and all(peer.config.labels == CORPUS_LABELS for peer in peers):
        raise DataError(
            f"--start {options.start}: what goes on from it is taught by a stored model; name it with --peer"
        )
    return Run(
        options,
        replace(recipe, peers=options.peers),
        store,
        peers,
        load_corpus(options.corpus),
        [read_source(path, weight) for path, weight in parse_sources(options.data)],
        [read_source(path) for path, _ in parse_sources(options.development)],
    )
