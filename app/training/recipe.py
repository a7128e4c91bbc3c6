"""What a training run does, as data: the presets and their settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from app.store import Architecture, ModelConfig

REVIEWS_FURTHER = "reviews-further"
"""Name of the preset of runs that go on from a stored model."""
_SMALLEST_BATCH = 8
_STEPS_PER_EPOCH = 20


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
        patience: epochs without a better one after which the run stops; None never stops early.
        keep: what decides which epoch is kept, on the validation split: its accuracy, or its loss, which chance moves
            less.
        teacher: share of the teachers' soft labels in the targets of labelled texts; above 0 the unlabelled texts
            are trained on too, with soft labels alone (see ``teacher.py``); 0 trains on labels alone.
        vector_passes: passes over the texts that train document vectors for the second teacher; 0 leaves it out.
        fragments: how many short texts to cut out of the others, to train on with what is thought of their sources.
        crops: how many parts of a fifth to four fifths to cut out of the texts as well.
        clues: weight of the auxiliary loss: predicting what each word adds to the n-gram teacher's logit; 0: none.
        adversarial: length of the perturbation of a text's word vectors under which it is learnt once more in each step
            (see ``adversarial_perturbation``), in deviations of all vectors' entries; 0 leaves that out.
        pretraining: passes over all texts in which embedding and recurrent layers first learn to predict the next word
            (see ``pretraining.py``); 0 leaves that out.
        pretraining_rate: peak step size in those passes.
        pretraining_batch: texts per step in those passes.
        peers: names of stored models that are teachers too; on unlabelled texts their mean counts like the others'.
        reads: tokens that the stored version reads of a text at the most, a third of them from its start; 0: as many as
            in training. Training on so many would take longer and teaches no more.
        balanced: whether the classes weigh the same in the loss however many texts each has.
        generated: how many texts of patterns are trained on as well (see ``reviews/generated.py``).
        pieces: entries of the vocabulary that are pieces of unknown words.
        preprocessing: version of the preprocessing.
        fewest_steps: steps that a run on few texts takes at least, in smaller batches and more epochs.
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
    keep: Literal["accuracy", "loss"] = "accuracy"
    teacher: float = 0.0
    vector_passes: int = 0
    fragments: int = 0
    crops: int = 0
    clues: float = 0.0
    adversarial: float = 0.0
    pretraining: int = 0
    pretraining_rate: float = 2e-3
    pretraining_batch: int = 32
    peers: tuple[str, ...] = ()
    reads: int = 0
    balanced: bool = False
    generated: int = 0
    pieces: int = 0
    preprocessing: int = 1
    fewest_steps: int = 0
    preset: str = "custom"

    def config(self, vocabulary_size: int, labels: tuple[str, ...]) -> ModelConfig:
        """The configuration of the network this recipe trains."""
        network = {**self.network, "vocabulary_size": vocabulary_size}
        return ModelConfig(**network, labels=labels, preprocessing=self.preprocessing)

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
    """This project's recipe for a model that is cheap to serve.

    Three poolings, dropout on words, channels and features, averaged weights. Where the data has unlabelled texts (the
    corpus has 50,000 reviews) they are trained on too, with the soft labels of two teachers, and so are short texts cut
    out of all of them; where it has none, the teachers are left out.
    """
    return Recipe(
        network={
            "architecture": architecture,
            "vocabulary_size": 30_000,
            "embedding_size": 256,
            "hidden_size": 112,
            "pooling": ("last", "mean", "max"),
            "rating": True,
            "max_tokens": 400,
            "head_tokens": 100,
            "embedding_dropout": 0.2,
            "word_dropout": 0.1,
            "output_dropout": 0.5,
        },
        epochs=3,
        batch_size=128,
        learning_rate=2e-3,
        weight_decay=0.01,
        warmup=0.05,
        decay=True,
        clip=1.0,
        average=0.998,
        keep="loss",
        teacher=0.5,
        vector_passes=14,
        fragments=225_000,
        crops=450_000,
        clues=0.5,
        reads=600,
        fewest_steps=600,
        preset="best",
    )


def large(architecture: Architecture) -> Recipe:
    """``best`` for the most accurate model: more units, pretrained as a language model."""
    recipe = best(architecture)
    return replace(
        recipe,
        network={**recipe.network, "hidden_size": 640},
        epochs=2,
        learning_rate=1e-3,
        pretraining=6,
        fragments=150_000,
        crops=225_000,
        reads=1_000,
        preset="large",
    )


def labelled(architecture: Architecture) -> Recipe:
    """``best`` on labels alone: what the unlabelled reviews are worth is the difference."""
    return replace(
        best(architecture),
        teacher=0.0,
        vector_passes=0,
        fragments=0,
        crops=0,
        clues=0.0,
        epochs=5,
        learning_rate=3e-3,
        keep="accuracy",
        patience=2,
        preset="labelled",
    )


def reviews(architecture: Architecture) -> Recipe:
    """For reviews of any kind, in three classes (``train-reviews``): as cheap to serve as ``best``."""
    recipe = best(architecture)
    return replace(
        recipe,
        network={
            **recipe.network,
            "vocabulary_size": 40_000,
            "embedding_dropout": 0.2,
            "word_dropout": 0.08,
            "output_dropout": 0.5,
        },
        epochs=4,
        batch_size=256,
        teacher=0.6,
        vector_passes=0,
        fragments=120_000,
        crops=60_000,
        clues=0.0,
        reads=600,
        generated=180_000,
        pieces=2_500,
        preprocessing=2,
        fewest_steps=0,
        preset="reviews",
    )


def reviews_large(architecture: Architecture) -> Recipe:
    """``reviews`` for accuracy at some 25 times the cost: more units, and what they learn is labelled or generated."""
    recipe = reviews(architecture)
    return replace(
        recipe,
        network={**recipe.network, "hidden_size": 640},
        epochs=2,
        batch_size=128,
        learning_rate=1e-3,
        teacher=0.5,
        fragments=0,
        crops=0,
        generated=60_000,
        reads=1_000,
        preset="reviews-large",
    )


def reviews_further(architecture: Architecture) -> Recipe:
    """``reviews`` for a network that goes on from a stored one of the same classes, taught by stored ones alone."""
    return replace(reviews(architecture), epochs=2, learning_rate=1e-3, preset=REVIEWS_FURTHER)


def enough_steps(recipe: Recipe, texts: int) -> Recipe:
    """The recipe for few texts: smaller batches and more epochs, until the optimizer takes its fewest steps."""
    batch_size = min(recipe.batch_size, max(_SMALLEST_BATCH, texts // _STEPS_PER_EPOCH))
    epochs = -(-recipe.fewest_steps * batch_size // texts)
    if epochs <= recipe.epochs:
        return recipe
    return replace(recipe, batch_size=batch_size, epochs=epochs, patience=None)


PRESETS: dict[str, Callable[[Architecture], Recipe]] = {
    "article": article,
    "best": best,
    "large": large,
    "labelled": labelled,
}
