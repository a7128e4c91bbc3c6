from __future__ import annotations

import signal
from array import array
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from app.errors import DataError
from app.sentiment import TokenIds
from app.training.pretraining import PRETRAINING_FILE, Pretrainer
from app.training.recipe import Recipe
from app.training.recurrence import TrainingNetwork
from tests.training.synthetic import tiny_recipe

WORDS = 30


def _texts(count: int = 64) -> list[TokenIds[int]]:
    """Each word tells the next: a walk around a circle of words, from anywhere."""
    random = np.random.default_rng(0)
    walks = [random.integers(WORDS - 2) + np.arange(random.integers(2, 20)) for _ in range(count)]
    return [array("I", (2 + walk % (WORDS - 2)).tolist()) for walk in walks]


def _recipe(**changes: Any) -> Recipe:
    fields = {"pretraining": 4, "pretraining_rate": 0.02, "pretraining_batch": 8, **changes}
    return tiny_recipe(**fields)


def _pretrainer(folder: Path, recipe: Recipe | None = None, texts: list[TokenIds[int]] | None = None) -> Pretrainer:
    recipe = recipe or _recipe()
    torch.manual_seed(1)
    network = TrainingNetwork(recipe.config(WORDS, ("a", "b")))
    texts = texts or _texts()
    return Pretrainer(network, recipe, texts, texts[:5], device="cpu", seed=1, folder=folder)


def _weights(pretrainer: Pretrainer) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in pretrainer.network.state_dict().items()}


def test_the_next_word_is_learnt(tmp_path: Path) -> None:
    """The perplexity falls from the number of words to almost 1 where each word tells the next."""
    pretrainer = _pretrainer(tmp_path, _recipe(pretraining=16))
    assert pretrainer.perplexity() == pytest.approx(WORDS, rel=0.2)
    pretrainer.run()
    assert pretrainer.history[-1].perplexity < 2


@pytest.mark.parametrize("stop", [3, 8, 13])
def test_an_interrupted_run_continues_bit_identically(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    """After Ctrl-C within a pass and at its end."""
    whole = _pretrainer(tmp_path / "whole")
    whole.run()
    real, steps = Pretrainer._train_on, []

    def train_on(self: Pretrainer, texts: Any) -> None:
        real(self, texts)
        steps.append(texts)
        if len(steps) == stop:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Pretrainer, "_train_on", train_on)
        with pytest.raises(KeyboardInterrupt):
            _pretrainer(tmp_path).run()
    resumed = _pretrainer(tmp_path)
    resumed.run()
    one, other = _weights(whole), _weights(resumed)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert [part.train_loss for part in whole.history] == [part.train_loss for part in resumed.history]


def test_a_finished_run_is_taken_as_it_is(tmp_path: Path) -> None:
    """Starting again trains no further and comes to the same weights."""
    first = _pretrainer(tmp_path)
    first.run()
    again = _pretrainer(tmp_path)
    again.run()
    one, other = _weights(first), _weights(again)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_another_recipe_or_other_texts_are_not_continued(tmp_path: Path) -> None:
    """The message names the file."""
    _pretrainer(tmp_path).run()
    for change in ({"recipe": _recipe(pretraining=5)}, {"texts": _texts(63)}):
        with pytest.raises(DataError, match=PRETRAINING_FILE):
            _pretrainer(tmp_path, **change)


def test_what_is_learnt_from_labels_may_change(tmp_path: Path) -> None:
    """The state belongs to the language model; epochs and dropout come later."""
    _pretrainer(tmp_path).run()
    _pretrainer(tmp_path, _recipe(epochs=9, learning_rate=0.1)).run()


def test_a_network_that_reads_both_ways_is_refused(tmp_path: Path) -> None:
    """Its states know the word that is to be predicted."""
    recipe = _recipe(network={**tiny_recipe().network, "bidirectional": True})
    with pytest.raises(ValueError, match="both ways"):
        _pretrainer(tmp_path, recipe)
