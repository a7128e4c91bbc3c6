"""What all servers are given: a checkpoint, texts, and the scores they must answer.

Runs as a process of its own, before any server: torch loaded in the measuring process would share its pages with the
servers of this environment and make their memory look smaller than it is.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from app.model.checkpoint import save_checkpoint
from app.model.networks import SentimentNetwork
from app.model.runtimes import load_predictor
from app.store import ModelConfig, ModelStore, StoredModel
from app.text.preprocessing import PREPROCESSING_VERSION
from app.text.tokenizer import Tokenizer, build_vocabulary, load_tokenizer
from app.text.word_ids import PAD_TOKEN, UNKNOWN_TOKEN
from app.training.corpus import load_corpus

REFERENCE = "reference"
CHECKS = 20
SEED = 20
_WORDS = 30_000
# Words per review of the Large Movie Review Dataset: median 174, mean 231, close to log-normal.
_LOG_MEAN, _LOG_DEVIATION = 5.16, 0.75
_SHORTEST, _LONGEST = 10, 1_500


def corpus_texts(path: Path, count: int) -> list[str]:
    """Reviews of the test split, each once, in a fixed random order."""
    texts = list(dict.fromkeys(review.text for review in load_corpus(path).test))
    random.Random(SEED).shuffle(texts)
    return texts[:count]


def synthetic_texts(words: Sequence[str], count: int) -> list[str]:
    """Texts of review-like length whose words follow Zipf's law over ``words``, the most frequent first."""
    generator = np.random.default_rng(SEED)
    weights = 1 / (np.arange(len(words)) + 2.7)
    cumulative = np.cumsum(weights / weights.sum())
    lengths = generator.lognormal(_LOG_MEAN, _LOG_DEVIATION, count).astype(int).clip(_SHORTEST, _LONGEST)
    texts = []
    for length in lengths:
        picks = np.searchsorted(cumulative, generator.random(length)).clip(max=len(words) - 1)
        sentence = [words[pick] for pick in picks]
        for end in range(11, len(sentence), 12):
            sentence[end] += "."
        texts.append(" ".join(sentence).capitalize() + ".")
    return list(dict.fromkeys(texts))


def synthetic_words(count: int) -> list[str]:
    """Distinct words of syllables, for a vocabulary where there is no corpus."""
    chance = random.Random(SEED)
    syllables = [consonant + vowel for consonant in "bcdfghjklmnprstvw" for vowel in "aeiou"]
    words: dict[str, None] = {}
    while len(words) < count:
        words["".join(chance.choices(syllables, k=chance.choice((1, 2, 2, 3, 3, 4))))] = None
    return list(words)


def reference_checkpoint(root: Path, vocabulary: list[str]) -> StoredModel:
    """An untrained GRU of the reference size in a store at ``root``."""
    config = ModelConfig(
        architecture="gru",
        vocabulary_size=len(vocabulary),
        embedding_size=128,
        hidden_size=128,
        max_tokens=400,
        head_tokens=128,
        preprocessing=PREPROCESSING_VERSION,
    )
    torch.manual_seed(SEED)
    network = SentimentNetwork(config).eval()
    with torch.no_grad():
        # Spreads the scores, so that a wrong answer shows.
        network.output.weight.mul_(8)
    store = ModelStore(root)
    with store.new_version(REFERENCE) as folder:
        save_checkpoint(folder, network, Tokenizer(vocabulary, config.max_tokens, config.head_tokens))
    return store.open(REFERENCE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--model", required=True, help=f"NAME, NAME/VERSION, or {REFERENCE}")
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--texts", type=int, required=True)
    options = parser.parse_args()
    texts = corpus_texts(options.corpus, options.texts) if options.corpus else []
    if options.model == REFERENCE:
        special = [PAD_TOKEN, UNKNOWN_TOKEN]
        vocabulary = build_vocabulary(texts, _WORDS) if texts else special + synthetic_words(_WORDS - 2)
        model = reference_checkpoint(options.out / "store", vocabulary)
    else:
        model = ModelStore(options.store.resolve()).open(options.model)
    tokenizer = load_tokenizer(model)
    # A vocabulary is ordered by frequency: Zipf's law over it gives texts as the network knows them.
    texts = texts or synthetic_texts(tokenizer.vocabulary[2:], options.texts)
    encodings = [tokenizer.encode(text) for text in texts]
    predictor = load_predictor(model, "cpu", "torch", "float32")
    scores = predictor.predict([encoding.ids for encoding in encodings[:CHECKS]])
    document = {
        "store": str(model.path.parent.parent),
        "reference": model.reference,
        "path": str(model.path),
        "config": json.loads(model.config.model_dump_json()),
        "source": "test reviews" if options.corpus else "synthetic",
        "texts": len(texts),
        "mean_characters": sum(map(len, texts)) / len(texts),
        "mean_tokens": sum(len(encoding.ids) for encoding in encodings) / len(texts),
        "labels": list(model.config.labels),
        "expected": [list(score.probabilities) for score in scores],
        "torch": torch.__version__,
    }
    (options.out / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
    (options.out / "checkpoint.json").write_text(json.dumps(document), encoding="utf-8")


if __name__ == "__main__":
    main()
