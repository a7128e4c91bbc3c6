"""``python -m app train``: from labelled texts to a new version in the model store."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from app.errors import CheckpointError, DataError
from app.files.arguments import READ_NAMES, add_read_arguments, read_options
from app.files.options import OnBadRow
from app.flags import add_store_argument
from app.labels import CANDIDATE, CHAMPION, checked_label, checked_name, parse_reference
from app.process.cores import usable_cores
from app.settings import CORPUS_VARIABLE
from app.store import ModelStore
from app.training.requested import TrainOptions, default_name

if TYPE_CHECKING:
    from app.training.labelled import Splits
    from app.training.model_version import WrittenVersion
    from app.training.recipe import Recipe

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``train``."""
    parser.add_argument(
        "--preset",
        choices=("article", "best", "large", "labelled"),
        metavar="RECIPE",
        default="best",
        help="article, best, large or labelled (default: %(default)s)",
    )
    parser.add_argument("--network", choices=("gru", "lstm", "rnn"), default="gru", help="default: %(default)s")
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--corpus",
        type=Path,
        help=f"the review corpus (default: ${CORPUS_VARIABLE}, else downloaded)",
    )
    source.add_argument("--data", type=Path, help=f"a labelled file instead: {READ_NAMES}")
    add_column_arguments(parser)
    parser.add_argument("--name", help="in the model store (default: by NETWORK or DATA)")
    add_store_argument(parser, writes=True)
    # The attribute "run" is left to whoever dispatches commands.
    parser.add_argument(
        "--run",
        type=Path,
        dest="folder",
        metavar="FOLDER",
        help="state of the run (default: runs/NAME-PRESET)",
    )
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--threads", type=int, metavar="N", help="of both passes (default: all cores)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    parser.add_argument("--balanced", action="store_true", help="rare classes weigh as much as common ones")
    parser.add_argument(
        "--peer",
        metavar="MODEL",
        action="append",
        default=[],
        help="a stored model as a teacher too, and the first one's word vectors; several count alike",
    )
    add_label_argument(parser)
    parser.add_argument("--resume", action="store_true", help="continue the run that was interrupted")
    parser.add_argument("--finish", action="store_true", help="store the best so far, training no further")


def add_column_arguments(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the options that say how a labelled file is read, and which columns are meant."""
    group = parser.add_argument_group("how --data is read")
    group.add_argument("--label-column", metavar="COLUMN", default="label", help="the labels (default: %(default)s)")
    add_read_arguments(group, "--data", (OnBadRow.ERROR, OnBadRow.SKIP))
    return group


def add_label_argument(parser: argparse.ArgumentParser) -> None:
    """Add the option that gives the new version a label. What is served is decided by people, not by training."""

    def label(given: str) -> str:
        if given == CHAMPION:
            raise argparse.ArgumentTypeError(
                f"training makes no {CHAMPION}; `models promote` makes the {CANDIDATE} that"
            )
        try:
            return checked_label(given)
        except CheckpointError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    parser.add_argument("--label", type=label, help=f"call the new version by a label, such as {CANDIDATE}")


def set_label(written: WrittenVersion, store: ModelStore, label: str | None) -> None:
    """Give a version just written its label, if any."""
    if label is not None:
        store.relabel(written.model.name, lambda labels: labels.moved(label, written.model.version, "label"))
        print(f"{written.model.name}@{label}: version {written.model.version}")


def pinned(store: ModelStore, reference: str) -> str:
    """A reference that means the same later: in the place of a label the version that it names now.

    Raises:
        CheckpointError: no such model or label.
    """
    return "{}/{}".format(*store.resolve(reference)) if parse_reference(reference).label else reference


def corpus_path(given: Path | None) -> Path | None:
    """The corpus' path: as given, else from the environment, else None."""
    if given is not None:
        return given
    named = os.environ.get(CORPUS_VARIABLE)
    return Path(named) if named else None


def run(args: argparse.Namespace) -> int:
    """Run ``train`` as parsed; the exit status.

    Raises:
        SentimentError: the data, the run or an option is not as it should be.
    """
    require_extra()
    options = options_of(args)
    try:
        written = train(options)
    except KeyboardInterrupt:
        _explain_interruption(options)
        return INTERRUPTED
    judged = written.test or written.validation
    split = "test" if written.test else "validation"
    print(f"{written.model.path}: {split} accuracy {judged.accuracy:.5f} on {judged.texts:,} texts")
    set_label(written, ModelStore(options.store), args.label)
    return 0


def require_extra() -> None:
    """Check that what only training and evaluation need is installed.

    Raises:
        DataError: it is not; says how to install it.
    """
    if any(find_spec(name) is None for name in ("matplotlib", "sklearn", "torch")):
        raise DataError("PyTorch, scikit-learn and matplotlib are needed: pip install 'sentiment-service[train]'")


def options_of(args: argparse.Namespace) -> TrainOptions:
    """The options behind parsed arguments, defaults filled in."""
    # torch is imported late so that other commands start fast.
    from app.model.runtimes import resolve_device

    name = checked_name(args.name or default_name(args.network, args.data))
    return TrainOptions(
        name=name,
        preset=args.preset,
        architecture=args.network,
        corpus=corpus_path(args.corpus) if args.data is None else None,
        data=args.data,
        text_column=args.text_column,
        label_column=args.label_column,
        store=args.store,
        run=args.folder or Path("runs") / f"{name}-{args.preset}",
        device=resolve_device(args.device),
        seed=args.seed,
        threads=args.threads or usable_cores(),
        resume=args.resume,
        finish=args.finish,
        balanced=args.balanced,
        peers=tuple(pinned(ModelStore(args.store), peer) for peer in args.peer),
        read=read_options(args),
    )


def train(options: TrainOptions) -> WrittenVersion:
    """Train, evaluate and store one version.

    Raises:
        KeyboardInterrupt: on Ctrl-C; once training has begun its state is kept.
        SentimentError: the data or the run is not as it should be.
    """
    import torch

    from app.training.assembly import prepare
    from app.training.loop import STATE_FILE
    from app.training.model_version import TrainingRecord, write_version
    from app.training.pretraining import PRETRAINING_FILE
    from app.training.stored_run import StoredRun, stored_as

    state = options.run / STATE_FILE
    if state.exists() and not (options.resume or options.finish):
        raise DataError(f"{state}: a run is there already; give --resume, --finish or another --run")
    if (options.resume and _begun(options) is None) or (options.finish and not state.exists()):
        raise DataError(f"{options.run}: there is no run to go on with; without --resume and --finish one begins")
    torch.set_num_threads(options.threads)
    splits = load_splits(options)
    recipe = recipe_for(options, splits)
    prepared = prepare(options, recipe, splits)
    trainer = prepared.trainer
    if options.finish or (options.resume and _begun(options) != PRETRAINING_FILE):
        trainer.resume()
    store = ModelStore(options.store)
    known = stored_as(options.run, trainer.step, store, options.name)
    if known is not None and (options.finish or trainer.ended):
        raise DataError(
            f"{options.run}: this run is stored as {known.reference} already; another --run begins a new one"
        )
    if options.finish:
        trainer.use_best()
    else:
        trainer.run()
    record = TrainingRecord(
        recipe=recipe,
        seed=options.seed,
        command=options.command,
        device=options.device,
        threads=options.threads,
        seconds=trainer.seconds + prepared.teacher_seconds + sum(part.seconds for part in prepared.pretraining),
        teacher_seconds=prepared.teacher_seconds,
        best_epoch=trainer.best_epoch,
        history=trainer.history,
        pretraining=prepared.pretraining,
    )
    network, tokenizer = trainer.network.cpu(), prepared.tokenizer
    if recipe.reads:
        tokenizer = tokenizer.with_limits(recipe.reads, recipe.reads // 3)
        limits = {"max_tokens": tokenizer.max_tokens, "head_tokens": tokenizer.head_tokens}
        network.config = network.config.model_copy(update=limits)
    written = write_version(store, options.name, network, tokenizer, splits, record)
    StoredRun(written.model.reference, written.model.digest, trainer.step).save(options.run)
    return written


def load_splits(options: TrainOptions) -> Splits:
    """The data the options name."""
    from app.training.corpus import load_corpus
    from app.training.labelled import corpus_splits, file_splits

    if options.data is not None:
        return file_splits(options.data, options.text_column, options.label_column, options.seed, options.read)
    return corpus_splits(load_corpus(options.corpus))


def recipe_for(options: TrainOptions, splits: Splits) -> Recipe:
    """The preset, fitted to the data: no teachers without unlabelled texts, no rating without stars."""
    from app.training.recipe import PRESETS, enough_steps

    recipe = replace(PRESETS[options.preset](options.architecture), peers=options.peers)
    network = dict(recipe.network)
    if not splits.unlabelled:
        recipe = replace(recipe, teacher=0.0, vector_passes=0, fragments=0, crops=0, clues=0.0, pretraining=0, peers=())
    if not any(splits.train.stars):
        network["rating"] = False
    if len(splits.labels) > 2:
        network["output"] = "softmax"
    read = len(splits.train) + (len(splits.unlabelled) + recipe.fragments + recipe.crops if recipe.teacher else 0)
    return enough_steps(replace(recipe, network=network, balanced=options.balanced), read)


def _begun(options: TrainOptions) -> str | None:
    """The newest state in the run's folder: of training, of pretraining, or none."""
    from app.training.loop import STATE_FILE
    from app.training.pretraining import PRETRAINING_FILE

    return next((name for name in (STATE_FILE, PRETRAINING_FILE) if (options.run / name).exists()), None)


def _explain_interruption(options: TrainOptions) -> None:
    from app.training.pretraining import PRETRAINING_FILE

    begun = _begun(options)
    if begun is None:
        print("\ninterrupted before training began; nothing is kept", file=sys.stderr)
        return
    again = "the same command with --resume"
    if begun != PRETRAINING_FILE:
        again += ", or with --finish to store the best so far"
    print(f"\ninterrupted; the state is saved. Continue with {again} (state: {options.run})", file=sys.stderr)
