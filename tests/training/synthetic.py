"""A made-up corpus in the official layout, small enough to train on in a second."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from app.training.recipe import Recipe
from app.training.requested import TrainOptions

PRAISE = ("great", "lovely", "brilliant", "funny")
BLAME = ("awful", "dull", "boring", "slow")
FILLER = ("the", "film", "was", "and", "its", "story", "cast", "ending", "<br />", "it's")


def review(positive: bool, rng: random.Random) -> str:
    """A few filler words with some that tell the class."""
    chosen = rng.choices(PRAISE if positive else BLAME, k=2) + rng.choices(FILLER, k=rng.randint(3, 30))
    rng.shuffle(chosen)
    return " ".join(chosen)


def write_corpus(root: Path, train: int = 40, test: int = 20, unsup: int = 10) -> Path:
    """Write ``aclImdb`` under ``root``; numbers of reviews are per class."""
    rng = random.Random(0)
    folder = root / "aclImdb"
    for split, count in (("train", train), ("test", test)):
        for label in ("pos", "neg"):
            (folder / split / label).mkdir(parents=True)
            for number in range(count):
                stars = rng.randint(7, 10) if label == "pos" else rng.randint(1, 4)
                path = folder / split / label / f"{number}_{stars}.txt"
                path.write_text(review(label == "pos", rng), encoding="utf-8")
    (folder / "train" / "unsup").mkdir()
    for number in range(unsup):
        (folder / "train" / "unsup" / f"{number}_0.txt").write_text(review(number % 2 == 0, rng), encoding="utf-8")
    (folder / "README").write_text("not a review")
    return folder


def tiny_recipe(**changes: Any) -> Recipe:
    """A recipe that learns the made-up corpus in a second; ``changes`` override its fields."""
    fields: dict[str, Any] = {
        "network": {
            "architecture": "gru",
            "vocabulary_size": 60,
            "embedding_size": 8,
            "hidden_size": 8,
            "pooling": ("last", "max"),
            "output_dropout": 0.1,
            "word_dropout": 0.05,
            "max_tokens": 20,
            "head_tokens": 5,
        },
        "epochs": 3,
        "batch_size": 8,
        "learning_rate": 0.05,
        "average": 0.5,
        "warmup": 0.1,
        "decay": True,
        "clip": 1.0,
        "preset": "tiny",
    }
    return Recipe(**{**fields, **changes})


def options(root: Path, **changes: Any) -> TrainOptions:
    """Options that train the preset ``tiny`` on the corpus under ``root``."""
    fields: dict[str, Any] = {
        "name": "synthetic",
        "preset": "tiny",
        "architecture": "gru",
        "corpus": root / "aclImdb",
        "data": None,
        "text_column": "text",
        "label_column": "label",
        "store": root / "store",
        "run": root / "run",
        "device": "cpu",
        "seed": 1,
        "threads": 1,
        "resume": False,
        "finish": False,
    }
    return TrainOptions(**{**fields, **changes})
