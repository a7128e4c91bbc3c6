"""Short texts: how often models are right on one to three sentences out of reviews that they were not trained on.

``python -m benchmarks.sentences CORPUS MODEL [MODEL ...]`` cuts parts out of the 2,500 reviews of the validation split,
as training does out of the others, and judges each by the label of its review: what one sentence cannot know counts as
wrong too, so models are to be compared with each other, not with 1.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from app.store import ModelStore
from app.training.corpus import load_corpus
from app.training.fragments import draw_fragments
from app.training.labelled import corpus_splits
from app.training.peer import soft_labels_of

DRAWN, SEED = 5000, 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--store", type=Path, default=Path("model_store"))
    options = parser.parse_args()
    splits = corpus_splits(load_corpus(options.corpus))
    parts = draw_fragments(splits.validation.texts, DRAWN, SEED)
    labels = np.asarray(splits.validation.labels)[parts.sources]
    print(f"{len(parts.texts):,} parts of one to three sentences, {labels.mean():.3f} of them from positive reviews\n")
    print("| model | accuracy | mean probability of positive |\n|---|---|---|")
    for name in options.models:
        model = ModelStore(options.store).open(name)
        positive = soft_labels_of(model, parts.texts, splits.labels)
        right = np.mean((positive > 0.5) == (labels == 1))
        print(f"| `{model.reference}` | {right:.3f} | {positive.mean():.3f} |", flush=True)


if __name__ == "__main__":
    main()
