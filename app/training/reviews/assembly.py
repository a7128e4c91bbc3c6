"""From files to a trainer for the ``reviews`` preset, and what of it is kept in the run's folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from app.errors import DataError
from app.modeling.checkpoint import load_network
from app.modeling.networks import SentimentNetwork
from app.store import TOKENIZER_FILE, ModelStore, StoredModel
from app.text.tokenizer import Tokenizer, load_tokenizer
from app.training.corpus import Corpus, Review, load_corpus
from app.training.data import Dataset
from app.training.fragments import draw_crops
from app.training.labelled import CORPUS_LABELS, CORPUS_SOURCE, Examples, Splits, corpus_examples
from app.training.peer import soft_labels_of
from app.training.recipe import Recipe, reviews
from app.training.reviews.generated import Generator
from app.training.reviews.mixture import Mixture, MixtureSizes, encoded, mix, one_hot_target
from app.training.reviews.sources import LABELS, Source, parse_sources, read_source
from app.training.reviews.teachers import (
    blended,
    fresh_network,
    network_labels,
    regression_labels,
    reversed_texts,
    trained,
)
from app.training.reviews.vocabulary import build_tokenizer
from app.training.reviews.wordlists import emoji_sentiment, sentiment_words
from app.training.version import TrainingRecord, WrittenVersion, write_version

if TYPE_CHECKING:
    from app.training.reviews.command import ReviewOptions

_CROP_SEED = 1
_SOFT_LABELS_FILE, _REGRESSION_FILE = "soft-labels.npy", "regression.npy"
_FORWARD_SEED, _BACKWARD_SEED = 101, 102
_TEACHER_EPOCHS = 2
_SURE = 0.95
"""Probability of the class that a film review's stars name."""


def review_tokenizer(
    folder: Path, corpus: Corpus, sources: Sequence[Source], size: int, pieces: int, max_tokens: int, head_tokens: int
) -> Tokenizer:
    """The tokenizer of all training texts; kept in the run's folder, since counting takes minutes."""
    path = folder / TOKENIZER_FILE
    if path.exists():
        return Tokenizer.load(path, max_tokens, head_tokens)
    texts = [review.text for review in [*corpus.train, *corpus.unsup]]
    texts += [text for source in sources for text in source.examples.texts]
    made = Generator(0)
    extra = [*(word for word in sentiment_words() if word.isalpha()), *emoji_sentiment()]
    extra += [of.text for of in made.texts(20_000)]
    tokenizer = build_tokenizer(texts, size, pieces, max_tokens, head_tokens, extra)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(path)
    return tokenizer


def film_mixture(corpus: Corpus, crops: int, peers: Sequence[StoredModel], folder: Path) -> Mixture:
    """Film reviews: the labelled ones with their stars, others and parts of all with what stored teachers say."""
    mixture = Mixture()
    for review in corpus.train:
        mixture.add(review.text, film_target(_SURE if review.label else 1 - _SURE), float(review.stars or 0))
    if not peers:
        return mixture
    unlabelled = [review.text for review in corpus.unsup]
    labelled = [review.text for review in corpus.train]
    unlabelled += draw_crops([*labelled, *unlabelled], crops, _CROP_SEED).texts
    heard = np.mean([_heard(peer, unlabelled, folder) for peer in peers], axis=0)
    for text, positive in zip(unlabelled, heard.tolist(), strict=True):
        mixture.add(text, film_target(positive))
    return mixture


def film_target(positive: float) -> tuple[float, float, float]:
    """A two-class probability as a three-class target: a film review is hardly ever neutral."""
    neutral = 0.02 + 0.16 * (1 - abs(2 * positive - 1))
    return ((1 - neutral) * (1 - positive), neutral, (1 - neutral) * positive)


def _heard(peer: StoredModel, texts: Sequence[str], folder: Path) -> np.ndarray:
    """Probability of positive that a stored two-class model gives each text; kept in the run's folder."""
    if peer.config.labels != CORPUS_LABELS:
        raise DataError(f"{peer.reference}: a teacher of film reviews must tell negative and positive apart")
    digest = hashlib.blake2b("\0".join([peer.digest, *texts]).encode(), digest_size=8).hexdigest()
    path = folder / f"heard-{digest}.npy"
    if path.exists():
        return np.asarray(np.load(path, allow_pickle=False))
    said = soft_labels_of(peer, texts, CORPUS_LABELS)
    folder.mkdir(parents=True, exist_ok=True)
    np.save(path, said)
    return said


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


def start_from(network: SentimentNetwork, tokenizer: Tokenizer, model: StoredModel, *, recurrent: bool = True) -> None:
    """Take a stored network's weights: recurrent layers of the same size, and vectors of all words both know.

    Of the same size, its output layer is taken too where its labels are the same, or negative and positive with a
    softmax. A new word gets the vector of the stored unknown word and a little noise.

    Args:
        network: fresh; changed in place.
        tokenizer: the network's.
        model: a stored version with as large embeddings.
        recurrent: whether to take more than the vectors.

    Raises:
        CheckpointError: it cannot be read.
        DataError: its sizes are others.
    """
    stored, old = load_network(model.path, model.config), load_tokenizer(model)
    if model.config.embedding_size != network.config.embedding_size:
        raise DataError(f"{model.reference}: embeddings of {model.config.embedding_size}, the recipe has others")
    numbers = {word: number for number, word in enumerate(old.vocabulary)}
    with torch.no_grad():
        weight = network.embedding.weight
        weight.mul_(0.2 * float(stored.embedding.weight.std()))
        weight.add_(stored.embedding.weight[1])
        rows = [row for row, word in enumerate(tokenizer.vocabulary) if word in numbers]
        weight[rows] = stored.embedding.weight[[numbers[tokenizer.vocabulary[row]] for row in rows]]
        shape = ("architecture", "hidden_size", "layers", "bidirectional", "pooling", "rating")
        if recurrent and all(getattr(model.config, name) == getattr(network.config, name) for name in shape):
            network.recurrent.load_state_dict(stored.recurrent.state_dict())
            if stored.rating is not None and network.rating is not None:
                network.rating.load_state_dict(stored.rating.state_dict())
            if model.config.labels == network.config.labels:
                network.output.load_state_dict(stored.output.state_dict())
            elif model.config.labels == CORPUS_LABELS and model.config.output == "softmax":
                negative, positive = stored.output.weight
                network.output.weight.copy_(torch.stack([negative, (negative + positive) / 2, positive]))


def train_reviews(options: ReviewOptions, store: ModelStore) -> WrittenVersion:
    """Train, evaluate and store one version.

    Everything that takes long is kept in the run's folder, and the same command goes on from there.

    Raises:
        KeyboardInterrupt: on Ctrl-C; the state is kept.
        SentimentError: the data or the run is not as it should be.
    """
    torch.set_num_threads(options.threads)
    corpus = load_corpus(options.corpus)
    sources = [read_source(path, weight) for path, weight in parse_sources(options.data)]
    development = [read_source(path) for path, _ in parse_sources(options.development)]
    recipe = replace(reviews("gru"), peers=options.peers)
    limits = (recipe.network["max_tokens"], recipe.network["head_tokens"])
    size = recipe.network["vocabulary_size"]
    tokenizer = review_tokenizer(options.run, corpus, sources, size, recipe.pieces, *limits)
    labelled = labelled_mixture(development, corpus.validation)
    validation = encoded(labelled, tokenizer, options.seed, cut=False)
    soft = soft_labels(options, recipe, store, corpus, sources, tokenizer, validation)
    films = film_mixture(corpus, recipe.crops, [store.open(peer) for peer in recipe.peers], options.run)
    mixture = mix(sources, MixtureSizes(generated=recipe.generated), options.seed)
    for texts in (films, mixture):
        soften(texts, soft, recipe.teacher)
    train = encoded(films, tokenizer, options.seed) + encoded(mixture, tokenizer, options.seed)
    network = fresh_network(recipe, len(tokenizer), options.seed)
    start_from(network, tokenizer, store.open(options.start))
    trainer = trained(network, recipe, train, validation, options.seed, options.run)
    record = TrainingRecord(
        recipe=recipe,
        seed=options.seed,
        command=options.command,
        device="cpu",
        threads=options.threads,
        seconds=trainer.seconds,
        teacher_seconds=0.0,
        best_epoch=trainer.best_epoch,
        history=trainer.history,
    )
    tokenizer = tokenizer.with_limits(recipe.reads, recipe.reads // 3)
    reads = {"max_tokens": tokenizer.max_tokens, "head_tokens": tokenizer.head_tokens}
    network.config = network.config.model_copy(update=reads)
    splits = review_splits(corpus, sources, development)
    return write_version(store, options.name, network, tokenizer, splits, record)


def soft_labels(
    options: ReviewOptions,
    recipe: Recipe,
    store: ModelStore,
    corpus: Corpus,
    sources: Sequence[Source],
    tokenizer: Tokenizer,
    validation: Dataset,
) -> dict[str, np.ndarray]:
    """What the teachers think of each labelled training text, by text; kept in the run's folder.

    The teachers have seeds of their own, so runs of other seeds may share them (a copy of the folder will do).
    """
    examples = [source.examples for source in sources]
    texts = [text for of in examples for text in of.texts] + [review.text for review in corpus.train]
    labels = [label for of in examples for label in of.labels] + [2 if review.label else 0 for review in corpus.train]
    path = options.run / _SOFT_LABELS_FILE
    if path.exists() and len(kept := np.load(path, allow_pickle=False)) == len(texts):
        return dict(zip(texts, kept, strict=True))
    said = [
        teacher_labels(options, recipe, store, corpus, sources, tokenizer, validation, texts, backwards=backwards)
        for backwards in (False, True)
    ]
    blend = blended(said, regression_labels(texts, labels, options.run / _REGRESSION_FILE))
    np.save(path, blend)
    return dict(zip(texts, blend, strict=True))


def teacher_labels(
    options: ReviewOptions,
    recipe: Recipe,
    store: ModelStore,
    corpus: Corpus,
    sources: Sequence[Source],
    tokenizer: Tokenizer,
    validation: Dataset,
    texts: Sequence[str],
    *,
    backwards: bool,
) -> np.ndarray:
    """Probabilities (N, 3) of N texts by a network that is trained on labels alone, forwards or backwards."""
    name = "backward" if backwards else "forward"
    path = options.run / f"{name}.npy"
    if path.exists():
        return np.asarray(np.load(path, allow_pickle=False))
    seed = _BACKWARD_SEED if backwards else _FORWARD_SEED
    films = film_mixture(corpus, 0, [], options.run)
    mixture = mix(sources, MixtureSizes(generated=recipe.generated), seed)
    train, chosen = encoded(films, tokenizer, seed) + encoded(mixture, tokenizer, seed), validation
    if backwards:
        train, chosen = reversed_texts(train), reversed_texts(validation)
    network = fresh_network(recipe, len(tokenizer), seed)
    start_from(network, tokenizer, store.open(options.start), recurrent=not backwards)
    teacher = replace(recipe, epochs=_TEACHER_EPOCHS)
    trained(network, teacher, train, chosen, seed, options.run / f"teacher-{name}")
    found = network_labels(network, tokenizer, texts, backwards=backwards)
    np.save(path, found)
    return found


def soften(mixture: Mixture, soft: Mapping[str, np.ndarray], share: float) -> None:
    """Mix what the teachers say into the targets of the texts that they know."""
    for row, text in enumerate(mixture.texts):
        said = soft.get(text)
        if said is not None:
            mixture.targets[row] = ((1 - share) * np.asarray(mixture.targets[row]) + share * said).tolist()


def review_splits(corpus: Corpus, sources: Sequence[Source], development: Sequence[Source]) -> Splits:
    """All labelled texts as splits; the test split is that of the films."""
    films = {name: corpus_examples(getattr(corpus, name), LABELS) for name in ("train", "validation", "test")}
    return Splits(
        f"{CORPUS_SOURCE}, and labelled texts of {len(sources)} other sources",
        LABELS,
        _joined([*(source.examples for source in sources), films["train"]]),
        _joined([*(source.examples for source in development), films["validation"]]),
        films["test"],
        [review.text for review in corpus.unsup],
        {source.name: source.examples for source in development},
    )


def _joined(parts: Sequence[Examples]) -> Examples:
    return Examples(
        [text for part in parts for text in part.texts],
        [label for part in parts for label in part.labels],
        [stars for part in parts for stars in part.stars],
    )
