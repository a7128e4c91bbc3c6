"""Accuracy by source on development sets: stored models beside logistic regression and the VADER word list.

``python -m benchmarks.by_source --data DATA/*.tsv.xz --dev DEV/*.tsv.xz --corpus CORPUS MODEL...``

The regression reads TF-IDF of uni- and bigrams of the same training texts, the films' included. A source's accuracy is
that of negative against positive (of a text that is either, the more probable of the two counts); the F1 of neutral is
over all three labels. Prints a Markdown table, and writes the figures as JSON with ``--out``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from app.model.runtimes import load_predictor
from app.sentiment import Encoding
from app.store import ModelStore
from app.text.tokenizer import load_tokenizer
from app.training.batches import predict_sorted
from app.training.corpus import load_corpus
from app.training.evaluation import source_figures
from app.training.reviews.sources import LABELS, Source, parse_sources, read_source

_STRENGTH = 4.0
_VADER_NEUTRAL = 0.05

Judge = Callable[[Sequence[str]], np.ndarray]
"""Texts to probabilities (N, 3) of negative, neutral and positive."""


def regression(sources: Sequence[Source], corpus: Path) -> Judge:
    """Logistic regression on TF-IDF of uni- and bigrams."""
    texts = [text for source in sources for text in source.examples.texts]
    labels = [label for source in sources for label in source.examples.labels]
    for review in load_corpus(corpus).train:
        texts.append(review.text)
        labels.append(2 if review.label else 0)
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, dtype=np.float32)
    model = LogisticRegression(C=_STRENGTH, max_iter=200).fit(vectorizer.fit_transform(texts), labels)
    return lambda some: np.asarray(model.predict_proba(vectorizer.transform(some)))


def vader() -> Judge:
    """The word list's compound score; neutral within 0.05 of 0, as its authors say."""
    analyzer = SentimentIntensityAnalyzer()

    def judge(texts: Sequence[str]) -> np.ndarray:
        scores = np.array([analyzer.polarity_scores(text)["compound"] for text in texts])
        neutral = np.where(np.abs(scores) < _VADER_NEUTRAL, 1.0, 0.0)
        positive = (scores + 1) / 2
        return np.stack([(1 - neutral) * (1 - positive), neutral, (1 - neutral) * positive], -1) + 1e-9 * np.stack(
            [1 - positive, neutral, positive], -1
        )

    return judge


def stored(store: ModelStore, reference: str) -> Judge:
    """A stored model; one of two classes has no neutral."""
    model = store.open(reference)
    tokenizer, predictor = load_tokenizer(model), load_predictor(model)
    columns = [model.config.labels.index(label) if label in model.config.labels else None for label in LABELS]

    def judge(texts: Sequence[str]) -> np.ndarray:
        found = tokenizer.encode_all(texts)
        rows = [row for row, encoding in enumerate(found) if isinstance(encoding, Encoding)]
        scores = predict_sorted(predictor, [encoding.ids for encoding in found if isinstance(encoding, Encoding)])
        result = np.full((len(texts), len(LABELS)), 1 / 3)
        for row, score in zip(rows, scores, strict=True):
            result[row] = [0.0 if column is None else score.probabilities[column] for column in columns]
        return result

    return judge


def table(by_judge: dict[str, dict[str, dict[str, Any]]]) -> str:
    """Sources by judges, and the mean over the sources."""
    names = list(by_judge)
    lines = [f"| source | texts | {' | '.join(names)} |", f"|---|---|{'---|' * len(names)}"]
    for source in next(iter(by_judge.values())):
        cells = []
        for name in names:
            of = by_judge[name][source]
            extra = [f"F1n {of['neutral_f1']:.2f}"] if "neutral_f1" in of else []
            extra += [f"ECE {of['calibration_error']:.3f}"] if "calibration_error" in of else []
            accuracy = f"{of['accuracy']:.3f}" if "accuracy" in of else "-"
            cells.append(f"{accuracy}{f' ({chr(44).join(extra)})' if extra else ''}")
        lines.append(f"| {source} | {by_judge[names[0]][source]['texts']} | {' | '.join(cells)} |")
    means = [np.mean([of["accuracy"] for of in by_judge[name].values() if "accuracy" in of]) for name in names]
    lines.append(f"| mean over sources | | {' | '.join(f'**{mean:.4f}**' for mean in means)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--dev", nargs="+", required=True)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--store", type=Path, default=Path("model_store"))
    parser.add_argument("--out", type=Path)
    parser.add_argument(
        "--baselines", type=Path, help="figures of an earlier run: its regression and VADER are not computed again"
    )
    args = parser.parse_args()
    development = [read_source(path) for path, _ in parse_sources(args.dev)]
    kept = json.loads(args.baselines.read_text()) if args.baselines else {}
    judged: dict[str, dict[str, dict[str, Any]]] = {
        name: kept[name] for name in ("regression", "VADER") if name in kept
    }
    judges: dict[str, Judge] = {}
    if not judged:
        judges["regression"] = regression([read_source(path) for path, _ in parse_sources(args.data)], args.corpus)
        judges["VADER"] = vader()
    judges |= {name: stored(ModelStore(args.store), name) for name in args.models}
    for name, judge in judges.items():
        judged[name] = {
            source.name: source_figures(judge(source.examples.texts), np.asarray(source.examples.labels), LABELS)
            for source in development
        }
    print(table(judged))
    if args.out:
        args.out.write_text(json.dumps(judged, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
