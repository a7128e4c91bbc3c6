"""A stored model as a teacher: what it thinks of texts, and its word vectors to start from.

Hinton et al. 2015, "Distilling the knowledge in a neural network".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from app.errors import DataError
from app.model.checkpoint import load_network
from app.model.networks import SentimentNetwork
from app.model.runtimes import load_predictor
from app.store import StoredModel
from app.text.tokenizer import Tokenizer, load_tokenizer
from app.training.batches import predict_sorted


def soft_labels_of(model: StoredModel, texts: Sequence[str], labels: tuple[str, ...]) -> np.ndarray:
    """Probabilities (N, C) that a teacher gives N texts.

    Args:
        model: the teacher.
        texts: each with a word.
        labels: names of the classes, which must be the teacher's.

    Raises:
        DataError: the teacher has other labels.
        CheckpointError: it cannot be read.
    """
    if model.config.labels != labels:
        raise DataError(f"{model.reference}: labels {', '.join(model.config.labels)}, the data has {', '.join(labels)}")
    tokenizer, predictor = load_tokenizer(model), load_predictor(model)
    scores = predict_sorted(predictor, [tokenizer.encode(text).ids for text in texts])
    return np.asarray([score.probabilities for score in scores])


def adopt_word_vectors(network: SentimentNetwork, tokenizer: Tokenizer, model: StoredModel) -> None:
    """Start from a teacher's word vectors, where they are as long: those of all words that both know.

    Args:
        network: fresh; its embedding is changed.
        tokenizer: the network's.
        model: the teacher.

    Raises:
        CheckpointError: it cannot be read.
    """
    if model.config.embedding_size != network.config.embedding_size:
        return
    numbers = {word: number for number, word in enumerate(load_tokenizer(model).vocabulary)}
    rows = [row for row, word in enumerate(tokenizer.vocabulary) if word in numbers]
    theirs = load_network(model.path, model.config).embedding.weight
    with torch.no_grad():
        network.embedding.weight[rows] = theirs[[numbers[tokenizer.vocabulary[row]] for row in rows]]
