"""``python -m app classify``: a column of labels for a file of texts, by this machine or by a running service."""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import IO

from tqdm import tqdm

from app.cores import usable_cores
from app.errors import DataError, ServiceError, SettingsError
from app.files.layout import STANDARD, Format, Layout, layout_of
from app.files.partial import PartialFile
from app.files.pipeline import score
from app.files.reading import Survey, open_table
from app.files.results import ResultColumns, Summary
from app.files.scorer import LocalScorer, Scorer
from app.files.table import Table
from app.files.writing import encoder_for
from app.settings import add_store_argument, choices_of, default_of
from app.store import ModelStore
from app.text.tokenizer import load_tokenizer

_FORMATS = tuple(map(str, Format))
_CONCURRENCY = 4
_OBJECTS_BETWEEN_COLLECTIONS = 200_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``classify``."""
    names = ".csv, .tsv, .jsonl or .parquet; the first three also .gz"
    parser.add_argument("input", metavar="INPUT", help=f"{names}; - for standard input")
    parser.add_argument("--text-column", help="the texts (default: text, or review, or the only column there is)")
    parser.add_argument("--out", default=STANDARD, help="like INPUT (default: standard output)")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT, and forget a run that was stopped")
    parser.add_argument("--format", choices=_FORMATS, help="of INPUT, where its name does not tell (default: csv)")
    parser.add_argument("--out-format", choices=_FORMATS, help="of OUT, where its name does not tell")
    parser.add_argument("--delimiter", default=",", help="between the values of a CSV file (default: %(default)s)")
    parser.add_argument("--encoding", default="utf-8", help="of INPUT (default: %(default)s); OUT is UTF-8")
    local = parser.add_argument_group("scored by this machine")
    model = default_of("model")
    local.add_argument(
        "--model", default=model, help="NAME or NAME/VERSION (default: $SENTIMENT_MODEL, now %(default)s)"
    )
    add_store_argument(local)
    local.add_argument("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    for name in ("runtime", "precision"):
        local.add_argument(f"--{name}", choices=choices_of(name), default="auto", help="default: %(default)s")
    local.add_argument("--threads", type=int, default=0, help="threads of the forward pass; 0: all cores")
    remote = parser.add_argument_group("scored by a running service")
    remote.add_argument("--url", help="its address; nothing is computed here then")
    remote.add_argument("--concurrency", type=int, default=_CONCURRENCY, help="requests at once (default: %(default)s)")
    remote.add_argument("--header", action="append", default=[], metavar="'NAME: VALUE'", help="sent with each request")


def run(args: argparse.Namespace) -> int:
    """Run ``classify`` as parsed; the exit status.

    Raises:
        SentimentError: file, model, service or an option is not as it should be.
    """
    source, target = _layouts(args)
    with ExitStack() as stack:
        stack.enter_context(_seldom_collected())
        file = _open(args.input, stack)
        # The model is loaded while the file is looked through.
        loading = stack.enter_context(ThreadPoolExecutor(1)).submit(_scorer, args)
        survey = Survey()
        if args.input != STANDARD:
            for _ in survey.steps(file, args.input, source, args.text_column):
                pass
        scorer = stack.enter_context(closing(loading.result()))
        table = open_table(file, args.input, source, args.text_column, survey.columns)
        table.rows = survey.rows if args.input != STANDARD else None
        job = _Job(table, scorer, target)
        if args.out == STANDARD:
            return _to_standard_output(job)
        _to_file(args, file, source, job)
    return 0


@contextmanager
def _seldom_collected() -> Iterator[None]:
    """Look for cycles of objects less often: rows make none, and looking takes a tenth of the time."""
    before = gc.get_threshold()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


class _Job:
    """A table on its way to a format, with a bar and a closing summary."""

    def __init__(self, table: Table, scorer: Scorer, target: Layout) -> None:
        self.table = table
        self.scorer = scorer
        self.target = target
        self.columns = ResultColumns.beside(table.columns, scorer.labels, rating=scorer.rating)
        self.encoder = encoder_for(table, self.columns, target)

    def run(self, summary: Summary, write: Callable[[bytes], object]) -> None:
        """Score the rows that the summary does not have yet."""
        before = summary.rows
        if not before and (head := self.encoder.head()):
            write(head)
        started = time.monotonic()
        total = self.table.rows
        bar = tqdm(total=total, initial=before, unit=" rows", unit_scale=True, smoothing=0.1, disable=None)
        with bar:
            for rows in score(self.table, self.scorer, self.columns, self.encoder, summary, write):
                bar.update(rows)
        seconds, rows = time.monotonic() - started, summary.rows - before
        _say(f"{rows:,} rows in {seconds:.1f} s ({rows / max(seconds, 1e-9):,.0f}/s), {self.scorer.identity}")
        _say("\n".join(summary.lines(self.scorer.labels)))


def _layouts(args: argparse.Namespace) -> tuple[Layout, Layout]:
    source = layout_of(args.input, args.format, Format.CSV, args.delimiter, args.encoding)
    like_input = Format.CSV if source.format is Format.PARQUET else source.format
    target = layout_of(args.out, args.out_format, like_input if args.out == STANDARD else None, args.delimiter)
    for path, layout in ((args.input, source), (args.out, target)):
        if path == STANDARD and layout.format is Format.PARQUET:
            raise DataError("Parquet is not read and written from front to back: it needs a file")
    if args.input == STANDARD and source.format is Format.JSONL and target.format is not Format.JSONL:
        raise DataError("objects from standard input become JSON lines only: their columns are not known in advance")
    return source, target


def _open(path: str, stack: ExitStack) -> IO[bytes]:
    if path == STANDARD:
        return sys.stdin.buffer
    try:
        return stack.enter_context(Path(path).open("rb"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def _scorer(args: argparse.Namespace) -> Scorer:
    if args.url:
        from app.files.remote import RemoteScorer

        headers = dict(_header(given) for given in args.header)
        return RemoteScorer(args.url, max(1, args.concurrency), headers)
    from app.modeling.runtimes import load_predictors

    model = ModelStore(args.store).open(args.model)
    predictors = load_predictors(model, args.device, args.runtime, args.precision, args.threads or usable_cores())
    first, config = predictors[0], model.config
    identity = f"{model.reference}, {first.runtime} {first.precision} on {first.device}"
    return LocalScorer(identity, config.labels, config.rating, load_tokenizer(model), config.thresholds, predictors)


def _header(given: str) -> tuple[str, str]:
    name, colon, value = given.partition(":")
    if not colon or not name.strip():
        raise SettingsError(f"--header {given!r}: must be NAME: VALUE")
    return name.strip(), value.strip()


def _to_standard_output(job: _Job) -> int:
    try:
        job.run(Summary(), sys.stdout.buffer.write)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read it has enough; the interpreter would complain once more when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _to_file(args: argparse.Namespace, file: IO[bytes], source: Layout, job: _Job) -> None:
    inputs = None
    if args.input != STANDARD:
        status = os.fstat(file.fileno())
        inputs = {
            "input": [status.st_size, status.st_mtime_ns],
            "format": [*map(str, (source.format, source.encoding, source.delimiter, job.target.format))],
            "text column": args.text_column,
            "model": job.scorer.identity,
        }
    with PartialFile(Path(args.out), inputs, overwrite=args.overwrite) as partial:
        if partial.rows:
            _say(f"{partial.rows:,} rows were done before; going on from there")
        try:
            with _interrupted_between(partial.append) as append:
                job.run(partial.progress.summary, append)
        except (KeyboardInterrupt, ServiceError):
            if partial.rows and inputs is not None:
                _say(f"\n{partial.rows:,} rows are done; the same command goes on from there")
            raise
        partial.finish(job.encoder)
    _say(f"written to {args.out}")


@contextmanager
def _interrupted_between(append: Callable[[bytes], None]) -> Iterator[Callable[[bytes], None]]:
    """Let Ctrl-C take effect when the rows at hand are written; a second one does at once.

    An interrupt in the middle of anything can be lost: in a finalizer, say, it is only printed.
    """
    stopped = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopped
        if stopped:
            raise KeyboardInterrupt
        stopped = True

    def append_and_look(data: bytes) -> None:
        append(data)
        if stopped:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield append_and_look
    finally:
        signal.signal(signal.SIGINT, before)


def _say(line: str) -> None:
    print(line, file=sys.stderr)
