"""Tiny real checkpoints, written by the real code, for tests that need something to serve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from app.model.checkpoint import save_checkpoint
from app.model.networks import SentimentNetwork
from app.store import ModelConfig, ModelStore, StoredModel
from app.text.preprocessing import PREPROCESSING_VERSION
from app.text.preprocessing2 import NOT, SPECIAL_TOKENS
from app.text.tokenizer import Tokenizer
from app.text.word_ids import PAD_TOKEN, UNKNOWN_TOKEN

WORDS = (
    "a an and the this that it is was not but very good bad great dull lovely awful film story cast plot ending never "
    "again watch loved hated boring brilliant slow funny sad i we they with of in on for don't 10 1 ! ?"
).split()
PIECES = ("+un", "+watch", "+able", "+film")
FOREIGN = ("der", "und", "ist", "schlecht")
WORDS_2 = [*SPECIAL_TOKENS, NOT, "do", *(word for word in WORDS if "'" not in word), *PIECES, *FOREIGN]
"""Of preprocessing 2: words of other languages come last."""


def _words(preprocessing: int) -> list[str]:
    return WORDS if preprocessing == 1 else WORDS_2


def tiny_config(**changes: Any) -> ModelConfig:
    """A configuration small enough to compute in no time; ``changes`` override its fields."""
    fields: dict[str, Any] = {
        "architecture": "gru",
        "vocabulary_size": len(_words(changes.get("preprocessing", PREPROCESSING_VERSION))) + 2,
        "embedding_size": 8,
        "hidden_size": 6,
        "pooling": ("last", "mean", "max"),
        "max_tokens": 32,
        "head_tokens": 8,
        "preprocessing": PREPROCESSING_VERSION,
    }
    return ModelConfig(**{**fields, **changes})


def tiny_network(config: ModelConfig, seed: int = 0) -> SentimentNetwork:
    """A network with random weights, wide enough apart that different texts get clearly different scores."""
    torch.manual_seed(seed)
    network = SentimentNetwork(config).eval()
    with torch.no_grad():
        network.output.weight.mul_(4)
    return network


def tiny_tokenizer(config: ModelConfig) -> Tokenizer:
    """The tokenizer that belongs to ``tiny_config``."""
    vocabulary = [PAD_TOKEN, UNKNOWN_TOKEN, *_words(config.preprocessing)]
    if config.preprocessing == 1:
        return Tokenizer(vocabulary, config.max_tokens, config.head_tokens)
    aliases = {"film": ["movie"]}
    return Tokenizer(vocabulary, config.max_tokens, config.head_tokens, config.preprocessing, aliases, len(FOREIGN))


def add_checkpoint(root: Path, name: str = "tiny", seed: int = 0, **changes: Any) -> StoredModel:
    """Write a tiny checkpoint as the next version of ``name`` into the store at ``root``, and open it."""
    store = ModelStore(root)
    config = tiny_config(**changes)
    with store.new_version(name) as folder:
        save_checkpoint(folder, tiny_network(config, seed), tiny_tokenizer(config))
    return store.open(name)
