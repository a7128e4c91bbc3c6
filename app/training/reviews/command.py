"""``python -m app train-reviews``: a model for reviews of any kind, from films and labelled files of other sources."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from app.flags import add_store_argument
from app.labels import checked_name
from app.process.cores import usable_cores
from app.settings import CORPUS_VARIABLE
from app.store import CARD_FILE, ModelStore
from app.training.command import INTERRUPTED, add_label_argument, corpus_path, pinned, require_extra, set_label
from app.training.requested import ReviewOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``train-reviews``."""
    parser.add_argument(
        "--corpus",
        type=Path,
        help=f"archive or folder of the film reviews (default: ${CORPUS_VARIABLE}; without either it is downloaded)",
    )
    parser.add_argument(
        "--data",
        nargs="+",
        required=True,
        metavar="FILE[:WEIGHT]",
        help="labelled files with the columns text, label (negative, neutral, positive) and, where there are, stars (1 "
        "to 5); a text counts as often as its file's weight says (1)",
    )
    parser.add_argument(
        "--dev", nargs="+", required=True, metavar="FILE", help="files of the same form that choose and calibrate"
    )
    parser.add_argument(
        "--peer",
        metavar="MODEL",
        action="append",
        default=[],
        help="a stored model as a teacher: one of two classes, of film reviews without a label, where several count "
        "alike; one of three classes, of all texts, where it counts for half, or, with --start of three classes, alone",
    )
    parser.add_argument(
        "--start",
        metavar="MODEL",
        default="imdb-gru/4",
        help="stored model to start from (default: %(default)s); from one of three classes the network goes on for two "
        "epochs at half the rate",
    )
    parser.add_argument(
        "--large",
        metavar="MODEL",
        help="train a network of 640 units, on labelled and generated texts, that starts from this stored one; the "
        "teachers start from --start",
    )
    parser.add_argument(
        "--students",
        type=int,
        choices=range(1, 9),
        metavar="N",
        default=2,
        help="networks to take the mean of, 1 to 8; only one is large (default: %(default)s)",
    )
    parser.add_argument(
        "--average",
        metavar="MODEL",
        help="stored model of an earlier run over the same texts, of which the mean of all is taken too",
    )
    parser.add_argument(
        "--words", metavar="MODEL", help="stored model whose vocabulary is taken (default: of the training texts)"
    )
    parser.add_argument("--name", default="reviews-gru", help="name in the model store (default: %(default)s)")
    add_store_argument(parser, writes=True)
    parser.add_argument(
        "--run",
        type=Path,
        dest="folder",
        metavar="FOLDER",
        help="where the state of the run is kept, from which the same command goes on (default: runs/NAME)",
    )
    add_label_argument(parser)
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--threads", type=int, help="threads of the forward and backward pass (default: all cores)")


def run(args: argparse.Namespace) -> int:
    """Run ``train-reviews`` as parsed; the exit status.

    Raises:
        SentimentError: the data, the run or an option is not as it should be.
    """
    require_extra()
    from app.training.reviews.assembly import train_reviews

    store = ModelStore(args.store)
    options = ReviewOptions(
        name=checked_name(args.name),
        corpus=corpus_path(args.corpus),
        data=tuple(args.data),
        development=tuple(args.dev),
        peers=tuple(pinned(store, peer) for peer in args.peer),
        start=pinned(store, args.start),
        large=pinned(store, args.large) if args.large else None,
        students=1 if args.large else args.students,
        average=pinned(store, args.average) if args.average else args.average,
        # There is no mean of networks with other words.
        words=pinned(store, args.words or args.average) if args.words or args.average else None,
        store=args.store,
        run=args.folder or Path("runs") / args.name,
        seed=args.seed,
        threads=args.threads or usable_cores(),
    )
    try:
        written = train_reviews(options, store)
    except KeyboardInterrupt:
        print(f"\ninterrupted; the same command goes on from {options.run}", file=sys.stderr)
        return INTERRUPTED
    print(f"{written.model.path}: written, with its card {CARD_FILE}")
    set_label(written, store, args.label)
    return 0
