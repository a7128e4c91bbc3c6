"""From files to a trainer for the ``reviews`` preset, and what of it is kept in the run's folder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from app.errors import DataError
from app.modeling.checkpoint import load_network
from app.modeling.networks import SentimentNetwork
from app.modeling.runtimes import load_predictors
from app.sentiment import TokenIds
from app.store import TOKENIZER_FILE, ModelStore, StoredModel
from app.text.tokenizer import Tokenizer, load_tokenizer
from app.training.corpus import Corpus, Review
from app.training.data import Dataset
from app.training.fragments import draw_crops
from app.training.reviews.generated import Generator
from app.training.reviews.mixture import Mixture, MixtureSizes, encoded, mix, one_hot_target
from app.training.reviews.sources import Source
from app.training.reviews.vocabulary import build_tokenizer
from app.training.reviews.wordlists import emoji_sentiment, sentiment_words

_CROP_SEED = 1
_BATCH = 256
_SURE = 0.95
"""Probability of the class that a film review's stars name."""


@dataclass(frozen=True)
class ReviewData:
    """What a run reads.

    Attributes:
        tokenizer: built from the training texts.
        train: encoded, targets (N, 3).
        validation: encoded; the development sets and the film reviews' validation split.
    """

    tokenizer: Tokenizer
    train: Dataset
    validation: Dataset


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


def film_mixture(corpus: Corpus, crops: int, peers: Sequence[StoredModel], folder: Path, threads: int) -> Mixture:
    """Film reviews: the labelled ones with their stars, others and parts of all with what stored teachers say."""
    mixture = Mixture()
    for review in corpus.train:
        mixture.add(review.text, film_target(_SURE if review.label else 1 - _SURE), float(review.stars or 0))
    if not peers:
        return mixture
    unlabelled = [review.text for review in corpus.unsup]
    labelled = [review.text for review in corpus.train]
    unlabelled += draw_crops([*labelled, *unlabelled], crops, _CROP_SEED).texts
    heard = np.mean([_heard(peer, unlabelled, folder, threads) for peer in peers], axis=0)
    for text, positive in zip(unlabelled, heard.tolist(), strict=True):
        mixture.add(text, film_target(positive))
    return mixture


def film_target(positive: float) -> tuple[float, float, float]:
    """A two-class probability as a three-class target: a film review is hardly ever neutral."""
    neutral = 0.02 + 0.16 * (1 - abs(2 * positive - 1))
    return ((1 - neutral) * (1 - positive), neutral, (1 - neutral) * positive)


def _heard(peer: StoredModel, texts: Sequence[str], folder: Path, threads: int) -> np.ndarray:
    """Probability of positive that a stored two-class model gives each text; kept in the run's folder."""
    if peer.config.labels != ("negative", "positive"):
        raise DataError(f"{peer.reference}: a teacher of film reviews must tell negative and positive apart")
    digest = hashlib.blake2b("\0".join([peer.digest, *texts]).encode(), digest_size=8).hexdigest()
    path = folder / f"heard-{digest}.npy"
    if path.exists():
        return np.asarray(np.load(path, allow_pickle=False))
    tokenizer, predictor = load_tokenizer(peer), load_predictors(peer, "cpu", "auto", "auto", 1)[0]
    ids = [tokenizer.encode(text).ids for text in texts]
    said = np.zeros(len(ids))
    order = np.argsort([len(text) for text in ids], kind="stable")
    for start in tqdm(range(0, len(order), _BATCH), desc=peer.reference):
        rows = order[start : start + _BATCH]
        said[rows] = [scores.probabilities[1] for scores in predictor.predict([ids[row] for row in rows])]
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


def review_data(
    folder: Path,
    tokenizer: Tokenizer,
    corpus: Corpus,
    sources: Sequence[Source],
    development: Sequence[Source],
    films: Mixture,
    sizes: MixtureSizes,
    seed: int,
) -> ReviewData:
    """All texts, encoded."""
    train = encoded(films, tokenizer, seed) + encoded(mix(sources, sizes, seed), tokenizer, seed)
    validation = encoded(labelled_mixture(development, corpus.validation), tokenizer, seed, cut=False)
    return ReviewData(tokenizer, train, validation)


def start_from(network: SentimentNetwork, tokenizer: Tokenizer, model: StoredModel) -> None:
    """Take a stored network's weights: recurrent layers of the same size, and vectors of all words both know.

    A new word gets the vector of the stored unknown word and a little noise.

    Args:
        network: fresh; changed in place.
        tokenizer: the network's.
        model: a stored version with as large embeddings.

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
        if (
            model.config.hidden_size == network.config.hidden_size
            and model.config.directions == network.config.directions
        ):
            network.recurrent.load_state_dict(stored.recurrent.state_dict())
            if (
                stored.rating is not None
                and network.rating is not None
                and model.config.pooling == network.config.pooling
            ):
                network.rating.load_state_dict(stored.rating.state_dict())
                negative, positive = stored.output.weight
                network.output.weight.copy_(torch.stack([negative, (negative + positive) / 2, positive]))


def ids_of(dataset: Dataset) -> Sequence[TokenIds[int]]:
    """Token ids of a dataset."""
    return dataset.ids


def open_peers(store: ModelStore, names: Sequence[str]) -> list[StoredModel]:
    """Stored teachers by name."""
    return [store.open(name) for name in names]
