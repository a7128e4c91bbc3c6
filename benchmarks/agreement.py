"""How far the faster ways to a score stray from the reference, over the test split of the review corpus.

``python -m benchmarks.agreement CORPUS [--url http://127.0.0.1:8000]`` compares the native kernel in both precisions,
and a running service, with torch in float32: mean and largest difference of the score, labels flipped, accuracy.
"""

from __future__ import annotations

import argparse
import json
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.model.runtimes import load_predictor
from app.sentiment import TokenIds
from app.store import ModelStore, StoredModel
from app.text.tokenizer import load_tokenizer
from app.training.corpus import load_corpus

_BATCH = 64
_TIMEOUT = 120.0

Scores = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path, help="archive or folder of the review corpus")
    parser.add_argument("--model", default="imdb-gru")
    parser.add_argument("--store", type=Path, default=Path("model_store"))
    parser.add_argument("--url", help="a running service to compare too")
    options = parser.parse_args()
    model = ModelStore(options.store).open(options.model)
    reviews = load_corpus(options.corpus).test
    texts = [review.text for review in reviews]
    labels = np.array([review.label for review in reviews])
    tokenizer = load_tokenizer(model)
    ids = [tokenizer.encode(text).ids for text in texts]
    reference = predicted(model, ids, "torch", "float32")
    print("| way | accuracy | mean difference | largest difference | labels flipped |\n|---|---|---|---|---|")
    show("torch float32", reference, reference, labels)
    for precision in ("float32", "bfloat16"):
        show(f"native {precision}", predicted(model, ids, "native", precision), reference, labels)
    if options.url:
        show(f"POST {options.url}/classify", posted(options.url, texts, model.config.labels[1]), reference, labels)


def predicted(model: StoredModel, ids: Sequence[TokenIds[int]], runtime: str, precision: str) -> Scores:
    """Positive-class score of every text, in order."""
    predictor = load_predictor(model, "cpu", runtime, precision, 1)
    order = np.argsort([len(text) for text in ids], kind="stable")
    scores = np.empty(len(ids))
    for start in range(0, len(ids), _BATCH):
        rows = order[start : start + _BATCH]
        scores[rows] = [score.probabilities[1] for score in predictor.predict([ids[row] for row in rows])]
    return scores


def posted(url: str, texts: Sequence[str], label: str) -> Scores:
    """The same from a running service."""

    def answers() -> Iterator[float]:
        for start in range(0, len(texts), 500):
            body = json.dumps({"texts": texts[start : start + 500]}).encode()
            request = urllib.request.Request(f"{url}/classify", body, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
                yield from (entry["scores"][label] for entry in json.load(response)["results"])

    return np.fromiter(answers(), float)


def show(name: str, scores: Scores, reference: Scores, labels: NDArray[np.int64]) -> None:
    """Print a row of the table."""
    difference = np.abs(scores - reference)
    flipped = int(((scores > 0.5) != (reference > 0.5)).sum())
    accuracy = float(((scores > 0.5) == labels).mean())
    print(f"| {name} | {accuracy:.5f} | {difference.mean():.2e} | {difference.max():.2e} | {flipped} |", flush=True)


if __name__ == "__main__":
    main()
