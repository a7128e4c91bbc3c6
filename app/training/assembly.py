"""From options, recipe and splits to a trainer that is ready to run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from app.store import ModelStore
from app.text.tokenizer import Tokenizer, build_vocabulary
from app.training.labelled import Splits
from app.training.loop import Trainer
from app.training.peer import adopt_word_vectors
from app.training.prepare import encode_examples, prepare_lesson, training_data
from app.training.pretraining import Pass, Pretrainer
from app.training.recipe import Recipe
from app.training.recurrence import TrainingNetwork
from app.training.requested import TrainOptions

# Longer texts teach no more of the language, and cost memory: states of all tokens of a batch are kept at once.
_READ_TOKENS = 400


@dataclass(frozen=True)
class Preparation:
    """What comes before the first step from labels.

    Attributes:
        trainer: on encoded data.
        tokenizer: that encoded it.
        teacher_seconds: how long the teachers took.
        pretraining: passes as a language model; empty without.
    """

    trainer: Trainer
    tokenizer: Tokenizer
    teacher_seconds: float
    pretraining: Sequence[Pass] = field(default=())


def prepare(options: TrainOptions, recipe: Recipe, splits: Splits) -> Preparation:
    """Vocabulary, teachers, encoded data and a network, pretrained where the recipe says so.

    Raises:
        KeyboardInterrupt: on Ctrl-C; the state of pretraining is kept.
        SentimentError: the data, a stored teacher or a state found is not as it should be.
    """
    read = [*splits.train.texts, *(splits.unlabelled if recipe.teacher or recipe.pretraining else ())]
    vocabulary = build_vocabulary(read, recipe.network["vocabulary_size"])
    config = recipe.config(len(vocabulary), splits.labels)
    tokenizer = Tokenizer(vocabulary, config.max_tokens, config.head_tokens)
    store = ModelStore(options.store)
    lesson = prepare_lesson(splits, recipe, options.run, store) if recipe.teacher else None
    data = training_data(splits, recipe.teacher, lesson, tokenizer)
    validation = encode_examples(splits.validation, len(splits.labels), tokenizer)
    torch.manual_seed(options.seed)
    network = TrainingNetwork(config)
    if recipe.peers:
        adopt_word_vectors(network, tokenizer, store.open(recipe.peers[0]))
    passes = _pretrain(network, recipe, splits, tokenizer, options) if recipe.pretraining else ()
    trainer = Trainer(network, recipe, data, validation, device=options.device, seed=options.seed, folder=options.run)
    return Preparation(trainer, tokenizer, lesson.seconds if lesson else 0.0, passes)


def _pretrain(
    network: TrainingNetwork, recipe: Recipe, splits: Splits, tokenizer: Tokenizer, options: TrainOptions
) -> Sequence[Pass]:
    """Let the network learn the language of all texts but those of the test split."""
    reader = Tokenizer(tokenizer.vocabulary, _READ_TOKENS, _READ_TOKENS // 4)
    encoded = [reader.encode(text).ids for text in [*splits.train.texts, *splits.unlabelled]]
    held_out = [reader.encode(text).ids for text in splits.validation.texts]
    pretrainer = Pretrainer(
        network, recipe, encoded, held_out, device=options.device, seed=options.seed, folder=options.run
    )
    pretrainer.run()
    return pretrainer.history
