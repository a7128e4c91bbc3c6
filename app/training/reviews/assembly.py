"""From a run's texts to a trained and stored model for the ``reviews`` preset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from app.errors import DataError
from app.model.checkpoint import load_network
from app.model.networks import SentimentNetwork
from app.store import ModelStore, StoredModel
from app.text.tokenizer import Tokenizer, load_tokenizer
from app.training.corpus import Corpus
from app.training.data import Dataset
from app.training.labelled import CORPUS_LABELS, CORPUS_SOURCE, Examples, Splits, corpus_examples
from app.training.loop import Trainer
from app.training.model_version import TrainingRecord, WrittenVersion, write_version
from app.training.peer import soft_labels_of
from app.training.recipe import Recipe, reviews, reviews_further, reviews_large
from app.training.recurrence import TrainingNetwork
from app.training.reviews.mixture import Mixture, MixtureSizes, encoded, mix
from app.training.reviews.run import Run, TaughtTexts, prepared, taught_texts
from app.training.reviews.sources import LABELS, Source
from app.training.reviews.teachers import (
    blended,
    fresh_network,
    geometric_mean,
    network_labels,
    regression_labels,
    reversed_texts,
    trained,
)
from app.training.reviews.wordlists import AMBIGUOUS_NAMES

if TYPE_CHECKING:
    from app.training.requested import ReviewOptions

_FORWARD_SEED, _BACKWARD_SEED = 101, 102
_TEACHER_EPOCHS = 2
_LARGE_MADE = {"unreadable": 12_000, "phrases": 24_000, "flipped": 24_000}
"""How many texts of each made kind a large network learns, which has fewer generated ones."""
_SURE = 0.95
"""Probability of the class that a film review's stars name."""


def film_mixture(corpus: Corpus) -> Mixture:
    """Labelled film reviews with their stars."""
    mixture = Mixture()
    for review in corpus.train:
        mixture.add(review.text, film_target(_SURE if review.label else 1 - _SURE), float(review.stars or 0))
    return mixture


def film_target(positive: float) -> tuple[float, float, float]:
    """A two-class probability as a three-class target: a film review is hardly ever neutral."""
    neutral = 0.02 + 0.16 * (1 - abs(2 * positive - 1))
    return ((1 - neutral) * (1 - positive), neutral, (1 - neutral) * positive)


def film_peers_labels(run: Run, films: Sequence[str]) -> np.ndarray:
    """Targets (N, 3) by stored two-class models of films, for N whole film reviews; their mean."""
    heard = np.zeros(len(films))
    for peer in run.film_teachers:
        said = run.kept(f"peer-{peer.digest[:8]}", partial(soft_labels_of, peer, films, CORPUS_LABELS))
        heard += said[:, 1] / len(run.film_teachers)
    return np.asarray([film_target(positive) for positive in heard.tolist()])


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
    """Train, evaluate and store one version: the mean of networks that started from the same weights.

    These are students of different seeds and, where it started there too, the forward teacher; their mean is better
    than each of them (Wortsman et al. 2022, "Model soups"). A stored version may be one more of them.
    Students that start from a model of the same classes go on with what it has learnt, taught by stored models alone.
    Everything that takes long is kept in the run's folder, and the same command goes on from there.

    Raises:
        KeyboardInterrupt: on Ctrl-C; the state is kept.
        SentimentError: the data or the run is not as it should be.
    """
    torch.set_num_threads(options.threads)
    run = prepared(options, _recipe_of(options, store), store)
    recipe, tokenizer = run.recipe, run.tokenizer
    # Read first: hours later is no time to say that it has other sizes.
    others = [stored_network(run, store.open(options.average))] if options.average else []
    texts = taught_texts(run)
    said = soft_labels(run, texts)
    students = [student(run, options.seed + number, texts, said) for number in range(options.students)]
    networks = [trainer.network for trainer in students]
    teacher = None if run.goes_on else teacher_trainer(run, backwards=False)
    if teacher is not None and options.large is None:
        networks.insert(0, teacher.network)
    network = averaged([*networks, *others])
    share_vectors(network, tokenizer)
    record = TrainingRecord(
        recipe=recipe,
        seed=options.seed,
        command=options.command,
        device="cpu",
        threads=options.threads,
        seconds=sum(trainer.seconds for trainer in students),
        teacher_seconds=0.0 if teacher is None else teacher.seconds,
        best_epoch=students[0].best_epoch,
        history=students[0].history,
    )
    tokenizer = tokenizer.with_limits(recipe.reads, recipe.reads // 3)
    reads = {"max_tokens": tokenizer.max_tokens, "head_tokens": tokenizer.head_tokens}
    network.config = network.config.model_copy(update=reads)
    splits = review_splits(run.corpus, run.sources, run.development)
    return write_version(store, options.name, network, tokenizer, splits, record)


def _recipe_of(options: ReviewOptions, store: ModelStore) -> Recipe:
    """What students do; those that start from a model of the same classes go on with what it has learnt."""
    if options.large:
        return reviews_large("gru")
    return (reviews_further if store.open(options.start).config.labels == LABELS else reviews)("gru")


def student(run: Run, seed: int, texts: TaughtTexts, said: np.ndarray) -> Trainer:
    """A trainer that has trained a network on labels and on what the teachers say."""
    network = fresh_network(run.recipe, len(run.tokenizer), seed)
    start_from(network, run.tokenizer, run.start)
    train = training_texts(run, seed, texts, said)
    return trained(network, run.recipe, train, run.validation, seed, run.options.run / f"student-{seed}")


def averaged(networks: Sequence[TrainingNetwork]) -> TrainingNetwork:
    """The first of some networks, with the mean of the weights of all."""
    states = [network.state_dict() for network in networks]
    networks[0].load_state_dict({name: sum(state[name] for state in states) / len(states) for name in states[0]})
    return networks[0]


def share_vectors(network: TrainingNetwork, tokenizer: Tokenizer) -> None:
    """Give words that name people, and mean other things as well, the vector of the token that such names share."""
    numbers = {word: number for number, word in enumerate(tokenizer.vocabulary)}
    with torch.no_grad():
        for word, token in AMBIGUOUS_NAMES.items():
            if word in numbers:
                network.embedding.weight[numbers[word]] = network.embedding.weight[numbers[token]]


def stored_network(run: Run, model: StoredModel) -> TrainingNetwork:
    """A stored version's network, of which the mean with one of the same words can be taken.

    Raises:
        CheckpointError: it cannot be read.
        DataError: its sizes are others.
    """
    network = fresh_network(run.recipe, len(run.tokenizer), 0)
    stored = load_network(model.path, model.config).state_dict()
    shapes = [{name: tensor.shape for name, tensor in state.items()} for state in (network.state_dict(), stored)]
    if shapes[0] != shapes[1]:
        raise DataError(f"{model.reference}: its sizes are others, so there is no mean of it and this run's network")
    network.load_state_dict(stored)
    return network


def training_texts(run: Run, seed: int, texts: TaughtTexts, said: np.ndarray) -> Dataset:
    """What a student is trained on: labelled, generated and unlabelled texts, with what the teachers say of them."""
    soft = dict(zip(texts.labelled, said, strict=False))
    films = film_mixture(run.corpus)
    sizes = MixtureSizes(generated=run.recipe.generated, **(_LARGE_MADE if run.options.large else {}))
    mixture = mix(run.sources, sizes, seed)
    for labelled in (films, mixture):
        soften(labelled, soft, run.recipe.teacher)
    without_label = said[len(texts.labelled) :].copy()
    if texts.films and run.film_teachers:
        # Of whole film reviews, those who know nothing else know most.
        known = without_label[: len(texts.films)]
        known[:] = (known + film_peers_labels(run, texts.films)) / 2
    for text, target in zip([*texts.films, *texts.parts], without_label.tolist(), strict=True):
        films.add(text, target)
    return encoded(films, run.tokenizer, seed) + encoded(mixture, run.tokenizer, seed)


def soft_labels(run: Run, texts: TaughtTexts) -> np.ndarray:
    """Probabilities (N, 3) by all teachers of all N texts: labelled ones, films, parts.

    The teachers have seeds of their own, so runs of other seeds may share them (a copy of the folder will do).
    """
    unlabelled = [*texts.films, *texts.parts]
    everything = [*texts.labelled, *unlabelled]
    stored = [
        run.kept(f"of-all-{peer.digest[:8]}", partial(soft_labels_of, peer, everything, LABELS))
        for peer in run.review_teachers
    ]
    if run.goes_on:
        return geometric_mean([(said, 1 / len(stored)) for said in stored])
    networks = [
        run.kept(name, partial(teacher_labels, run, everything, backwards=name == "backward"))
        for name in ("forward", "backward")
    ]
    regression = run.kept(
        "regression", lambda: np.concatenate(regression_labels(texts.labelled, texts.labels, unlabelled))
    )
    said = blended(networks, regression)
    for theirs in stored:
        said = geometric_mean([(said, 0.5), (theirs, 0.5)])
    return said


def teacher_labels(run: Run, texts: Sequence[str], *, backwards: bool) -> np.ndarray:
    """Probabilities (N, 3) of N texts by a network that is trained on labels alone, forwards or backwards."""
    trainer = teacher_trainer(run, backwards=backwards)
    return network_labels(trainer.network, run.tokenizer, texts, backwards=backwards)


def teacher_trainer(run: Run, *, backwards: bool) -> Trainer:
    """A trainer that has trained a network on labels alone, forwards or backwards; a small one in every run."""
    recipe, tokenizer = reviews("gru"), run.tokenizer
    seed = _BACKWARD_SEED if backwards else _FORWARD_SEED
    mixture = mix(run.sources, MixtureSizes(generated=recipe.generated), seed)
    train = encoded(film_mixture(run.corpus), tokenizer, seed) + encoded(mixture, tokenizer, seed)
    chosen = run.validation
    if backwards:
        train, chosen = reversed_texts(train), reversed_texts(chosen)
    network = fresh_network(recipe, len(tokenizer), seed)
    start_from(network, tokenizer, run.store.open(run.options.start), recurrent=not backwards)
    folder = run.options.run / f"teacher-{'backward' if backwards else 'forward'}"
    return trained(network, replace(recipe, epochs=_TEACHER_EPOCHS), train, chosen, seed, folder)


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
