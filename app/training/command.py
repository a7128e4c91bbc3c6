"""``python -m app train``: from a corpus to a new version in the model store."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from app.modeling.networks import SentimentNetwork
from app.store import Architecture
from app.text.tokenizer import Tokenizer, build_vocabulary
from app.training.corpus import Corpus, Review, load_corpus
from app.training.data import Dataset, encode_dataset, one_hot
from app.training.loop import Trainer
from app.training.recipe import PRESETS

LABELS = ("negative", "positive")


@dataclass(frozen=True)
class TrainOptions:
    """What ``train`` was asked for; see ``--help``."""

    name: str
    preset: str
    architecture: Architecture
    corpus: Path | None
    store: Path
    run: Path
    device: str
    seed: int
    threads: int
    resume: bool
    finish: bool


def train(options: TrainOptions) -> None:
    """Train, evaluate and store one version."""
    torch.set_num_threads(options.threads)
    random.seed(options.seed)
    torch.manual_seed(options.seed)
    recipe = PRESETS[options.preset](options.architecture)
    corpus = load_corpus(options.corpus)
    vocabulary = build_vocabulary((review.text for review in corpus.train), recipe.network["vocabulary_size"])
    config = recipe.config(len(vocabulary), LABELS)
    tokenizer = Tokenizer(vocabulary, config.max_tokens, config.head_tokens)
    trainer = Trainer(
        SentimentNetwork(config),
        recipe,
        training_data(corpus, recipe.teacher, tokenizer),
        encode_reviews(corpus.validation, tokenizer),
        device=options.device,
        seed=options.seed,
        folder=options.run,
    )
    if options.resume:
        trainer.resume()
    if options.finish:
        trainer.use_best()
    else:
        trainer.run()


def encode_reviews(reviews: list[Review], tokenizer: Tokenizer) -> Dataset:
    """The labelled reviews of one split."""
    targets = one_hot(_labels(reviews), len(LABELS))
    return encode_dataset([review.text for review in reviews], targets, [review.stars for review in reviews], tokenizer)


def training_data(corpus: Corpus, teacher: float, tokenizer: Tokenizer) -> Dataset:
    """The training split and, where a teacher has a share, the unlabelled reviews with its opinion."""
    labelled = encode_reviews(corpus.train, tokenizer)
    if not teacher:
        return labelled
    # Only training needs scikit-learn.
    from app.training.teacher import teach

    unlabelled = [review.text for review in corpus.unsup]
    held_out, opinion = teach([review.text for review in corpus.train], _labels(corpus.train), unlabelled)
    labelled.targets[:] = (1 - teacher) * labelled.targets + teacher * _two_classes(held_out)
    return labelled + encode_dataset(unlabelled, _two_classes(opinion), [None] * len(unlabelled), tokenizer)


def _two_classes(positive: np.ndarray) -> np.ndarray:
    return np.stack([1 - positive, positive], axis=-1).astype(np.float32)


def _labels(reviews: list[Review]) -> list[int]:
    return [review.label for review in reviews if review.label is not None]
