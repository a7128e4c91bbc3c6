"""``python -m app evaluate``: what a stored model scores on labelled texts."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.errors import DataError, OptionError, told_of
from app.files.arguments import READ_NAMES, read_options
from app.flags import add_compute_arguments, add_store_argument
from app.histograms import replace_histograms
from app.labels import REFERENCES
from app.process.cores import usable_cores
from app.store import METRICS_FILE, ModelStore
from app.training.command import add_column_arguments, corpus_path, require_extra

if TYPE_CHECKING:
    from app.training.labelled import Examples

SPLITS = ("train", "validation", "test")
_MOST_NAMES = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``evaluate``."""
    parser.add_argument("model", metavar="MODEL", help=REFERENCES)
    add_store_argument(parser)
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--corpus",
        type=Path,
        help="the review corpus (default: $SENTIMENT_CORPUS, else downloaded)",
    )
    source.add_argument(
        "--data", type=Path, nargs="+", metavar="FILE", help=f"labelled files instead, taken together: {READ_NAMES}"
    )
    add_column_arguments(parser).add_argument(
        "--labels", choices=("names", "indices"), help="of classes (default: as is seen)"
    )
    parser.add_argument("--split", choices=SPLITS, default="test", help="split of the corpus (default: %(default)s)")
    add_compute_arguments(parser, runtime="torch")
    parser.add_argument("--out", type=Path, help="folder for the figures as JSON and the plots")
    parser.add_argument("--behaviour", action="store_true", help="the behaviour suite instead of texts")
    parser.add_argument(
        "--reference",
        action="store_true",
        help="keep with the version how score, length and unknown words of these texts are distributed: what the texts "
        "of a service are held against",
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def run(args: argparse.Namespace) -> int:
    """Run ``evaluate`` as parsed; the exit status.

    Raises:
        SentimentError: the model, the data or an option is not as it should be.
    """
    require_extra()
    from app.model.runtimes import load_predictor
    from app.text.tokenizer import load_tokenizer
    from app.training.behaviour import behaviour_as_dict, judge_behaviour, tells_apart
    from app.training.card import behaviour_table, class_table, figures_table, length_table
    from app.training.evaluation import judge, measure, reference_histograms, source_figures
    from app.training.report import plot_outcome

    if args.reference and args.behaviour:
        raise OptionError("reference", "is of labelled texts, which the behaviour suite has none of; leave one out")
    model = ModelStore(args.store).open(args.model)
    tokenizer = load_tokenizer(model)
    labels = model.config.labels
    examples = None if args.behaviour else load_examples(args, labels)
    predictor = load_predictor(model, args.device, args.runtime, args.precision, args.threads or usable_cores())
    document: dict[str, Any] = {"model": model.reference, "digest": model.digest}
    # Apart from the figures, one of which is a precision too; in a version's own file it is called so as well.
    document["evaluation"] = {"runtime": predictor.runtime, "precision": predictor.precision}
    if examples is None:
        found = behaviour_as_dict(judge_behaviour(predictor, tokenizer, labels))
        if not found:
            raise DataError(f"{model.reference}: the suite needs the labels negative, positive and at most neutral")
        document |= {"data": "behaviour suite", "behaviour": found}
        tables = [behaviour_table({model.reference: found})]
    else:
        outcome = judge(predictor, tokenizer, labels, examples)
        judged = measure(outcome)
        document["data"] = _name_of(args)
        document |= judged.as_dict()
        if tells_apart(labels):
            document["polar"] = source_figures(outcome.probabilities, outcome.labels, labels)
        tables = [figures_table(judged), class_table(judged), length_table(judged)]
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / METRICS_FILE).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        if examples is not None:
            plot_outcome(outcome, args.out)
    if args.reference:
        with told_of(model.path, "written"):
            path = replace_histograms(model, reference_histograms(document["data"], outcome))
        known = "a service knows it from its next start, or its next change of the model"
        print(f"{path}: written; {known}", file=sys.stderr)
    if args.json:
        print(json.dumps(document, indent=2))
    else:
        print(f"{model.reference} on {document['data']}, {predictor.runtime} {predictor.precision}\n")
        print("\n\n".join(tables))
        if len(labels) > 2 and "accuracy" in document.get("polar", {}):
            print(f"\nnegative against positive: {document['polar']['accuracy']:.5f}")
    return 0


def _name_of(args: argparse.Namespace) -> str:
    """What the texts are called."""
    if args.data is None:
        return f"corpus, {args.split} split"
    names = [path.name for path in args.data]
    return ", ".join(names) if len(names) <= _MOST_NAMES else f"{len(names)} files, {names[0]} to {names[-1]}"


def load_examples(args: argparse.Namespace, labels: tuple[str, ...]) -> Examples:
    """The labelled texts the options name, classes numbered as in ``labels``.

    Raises:
        DataError: they cannot be read, or are labelled otherwise than the model.
    """
    from app.training.corpus import load_corpus
    from app.training.labelled import corpus_examples, file_examples, joined

    if args.data is not None:
        examples = joined(
            file_examples(path, args.text_column, args.label_column, labels, read_options(args), args.labels)
            for path in args.data
        )
    else:
        corpus = load_corpus(corpus_path(args.corpus))
        examples = corpus_examples(getattr(corpus, args.split), labels)
    if not len(examples):
        raise DataError("no text with a word to evaluate on")
    return examples
