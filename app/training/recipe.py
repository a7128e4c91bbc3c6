"""What a training run does, as data: the presets and their settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from app.store import Architecture, ModelConfig
from app.text.preprocessing import PREPROCESSING_VERSION


@dataclass(frozen=True)
class Recipe:
    """One training run, up to the corpus and the seed.

    Attributes:
        network: fields of ``ModelConfig``; the vocabulary size is the upper bound.
        epochs: passes over the training split at the most.
        batch_size: texts per step.
        learning_rate: peak step size of Adam (Kingma and Ba 2015), decoupled weight decay (Loshchilov and Hutter 2019).
        weight_decay: decay per unit of learning rate; 0 is plain Adam.
        warmup: share of all steps in which the learning rate rises linearly from 0.
        decay: whether it then falls linearly to 0; otherwise it stays.
        clip: largest norm of the gradient; None leaves it alone.
        average: decay per step of an exponential moving average of the weights, which is what is validated and kept
            (Polyak and Juditsky 1992); 0 keeps the last weights.
        patience: epochs without a better validation accuracy after which the run stops; None never stops early.
        teacher: share of the n-gram teacher's opinion in the targets of labelled texts; above 0 the unlabelled texts
            are trained on too, with that opinion alone (see ``teacher.py``); 0 trains on labels alone.
        preset: name of the preset this is.
    """

    network: dict[str, Any]
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.0
    warmup: float = 0.0
    decay: bool = False
    clip: float | None = None
    average: float = 0.0
    patience: int | None = None
    teacher: float = 0.0
    preset: str = "custom"

    def config(self, vocabulary_size: int, labels: tuple[str, ...]) -> ModelConfig:
        """The configuration of the network this recipe trains."""
        network = {**self.network, "vocabulary_size": vocabulary_size}
        return ModelConfig(**network, labels=labels, preprocessing=PREPROCESSING_VERSION)

    def as_dict(self) -> dict[str, Any]:
        """For ``metrics.json``."""
        return asdict(self)


def article(architecture: Architecture) -> Recipe:
    """The source article's recipe: one recurrent layer of 100 units, Keras defaults, ten epochs.

    The article's code puts the dense layer on every time step, which cannot be trained against one label per review;
    this takes the last state. It pads every review to 500 tokens; here padding is a no-op, so batches are padded to
    their longest review only. Of reviews over 500 tokens the last 500 are read, as Keras' ``pad_sequences`` does.
    """
    return Recipe(
        network={
            "architecture": architecture,
            "vocabulary_size": 20_000,
            "embedding_size": 100,
            "hidden_size": 100,
            "pooling": ("last",),
            "output": "sigmoid",
            "output_dropout": 0.5,
            "max_tokens": 500,
            "head_tokens": 0,
        },
        epochs=10,
        batch_size=128,
        learning_rate=1e-3,
        preset="article",
    )


def best(architecture: Architecture) -> Recipe:
    """This project's recipe: three poolings, dropout on words, channels and features, averaged weights.

    Where the data has unlabelled texts (the corpus has 50,000 reviews) they are trained on too, with the opinion of an
    n-gram teacher; where it has none, the teacher is left out.
    """
    return Recipe(
        network={
            "architecture": architecture,
            "vocabulary_size": 30_000,
            "embedding_size": 128,
            "hidden_size": 128,
            "pooling": ("last", "mean", "max"),
            "max_tokens": 400,
            "head_tokens": 100,
            "embedding_dropout": 0.3,
            "word_dropout": 0.1,
            "output_dropout": 0.5,
        },
        epochs=4,
        batch_size=64,
        learning_rate=2e-3,
        weight_decay=0.01,
        warmup=0.1,
        decay=True,
        clip=1.0,
        average=0.998,
        patience=2,
        teacher=0.5,
        preset="best",
    )


def labelled(architecture: Architecture) -> Recipe:
    """``best`` without the unlabelled reviews: what they are worth is the difference."""
    return replace(best(architecture), epochs=5, teacher=0.0, preset="labelled")


PRESETS: dict[str, Callable[[Architecture], Recipe]] = {"article": article, "best": best, "labelled": labelled}
