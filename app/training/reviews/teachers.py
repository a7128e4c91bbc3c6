"""Teachers of the ``reviews`` model: what several different models think of each training text, as soft labels.

A text's label says little about how sure it is, is sometimes wrong, and parts of texts have none. Three kinds of models
that err differently are asked, and their geometric mean is learnt from (Hinton et al. 2015, "Distilling the knowledge
in a neural network"): a network that reads forwards, one that reads backwards, and logistic regression on word 1- to
3-grams, of which no text is judged by a regression that was fitted on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

from app.model.torch_predictor import TorchPredictor
from app.text.preprocessing2 import words
from app.text.tokenizer import Tokenizer
from app.training.batches import predict_sorted
from app.training.data import Dataset
from app.training.loop import STATE_FILE, Trainer
from app.training.recipe import Recipe
from app.training.recurrence import TrainingNetwork
from app.training.reviews.sources import LABELS

_FOLDS = 3
_FOLD_SEED = 0
_STRENGTH = 6.0
_ITERATIONS = 45
_FEWEST_TEXTS = 3
_LONGEST_GRAM = 3
_REGRESSION_SHARE = 0.25
_FLOOR = 1e-6


def reversed_texts(data: Dataset) -> Dataset:
    """The same texts read backwards."""
    return replace(data, ids=[ids[::-1] for ids in data.ids])


def trained(
    network: TrainingNetwork, recipe: Recipe, train: Dataset, validation: Dataset, seed: int, folder: Path
) -> Trainer:
    """A trainer that has run to its end, going on from the state in the folder where there is one.

    Raises:
        KeyboardInterrupt: on Ctrl-C; the state is kept.
    """
    trainer = Trainer(network, recipe, train, validation, device="cpu", seed=seed, folder=folder)
    if (folder / STATE_FILE).exists():
        trainer.resume()
    trainer.run()
    return trainer


def network_labels(
    network: TrainingNetwork, tokenizer: Tokenizer, texts: Sequence[str], *, backwards: bool
) -> np.ndarray:
    """Probabilities (N, 3) that a trained network gives N texts, each with a word."""
    predictor = TorchPredictor(network)
    ids = [tokenizer.encode(text).ids for text in texts]
    scores = predict_sorted(predictor, [text[::-1] for text in ids] if backwards else ids)
    return np.asarray([score.probabilities for score in scores])


def regression_labels(
    texts: Sequence[str], labels: Sequence[int], unlabelled: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """What logistic regression on TF-IDF of 1- to 3-grams thinks of texts.

    Args:
        texts: N labelled texts, each of which is judged by the regression that did not see its third of them.
        labels: index into ``LABELS`` of each.
        unlabelled: M others, judged by the mean of the three regressions.

    Returns:
        Probabilities (N, 3) and (M, 3).
    """
    vectorizer = TfidfVectorizer(analyzer=_grams, min_df=_FEWEST_TEXTS, sublinear_tf=True, dtype=np.float32)
    features = vectorizer.fit_transform(texts)
    others = vectorizer.transform(unlabelled) if unlabelled else None
    classes = np.asarray(labels)
    fold = np.random.default_rng(_FOLD_SEED).integers(0, _FOLDS, len(classes))
    found = np.zeros((len(classes), len(LABELS)))
    of_others = np.zeros((len(unlabelled), len(LABELS)))
    for number in tqdm(range(_FOLDS), desc="regression"):
        inside = fold != number
        model = LogisticRegression(C=_STRENGTH, max_iter=_ITERATIONS).fit(features[inside], classes[inside])
        found[~inside] = model.predict_proba(features[~inside])
        if others is not None:
            of_others += model.predict_proba(others) / _FOLDS
    return found, of_others


def _grams(text: str) -> list[str]:
    found = words(text)
    return [
        " ".join(found[at : at + size]) for size in range(1, _LONGEST_GRAM + 1) for at in range(len(found) - size + 1)
    ]


def blended(networks: Sequence[np.ndarray], regression: np.ndarray) -> np.ndarray:
    """The weighted geometric mean (N, 3) of what networks and regression say."""
    share = (1 - _REGRESSION_SHARE) / len(networks)
    return geometric_mean([*((said, share) for said in networks), (regression, _REGRESSION_SHARE)])


def geometric_mean(said: Sequence[tuple[np.ndarray, float]]) -> np.ndarray:
    """The mean (N, 3) of probabilities (N, 3) with their weights, which add up to 1."""
    mean = np.exp(sum(weight * np.log(probabilities + _FLOOR) for probabilities, weight in said))
    return np.asarray(mean / mean.sum(-1, keepdims=True))


def fresh_network(recipe: Recipe, vocabulary: int, seed: int) -> TrainingNetwork:
    """A network of a recipe, initialized by the seed."""
    torch.manual_seed(seed)
    return TrainingNetwork(recipe.config(vocabulary, LABELS))
