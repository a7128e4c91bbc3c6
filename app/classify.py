"""``python -m app classify``: a column of labels for files of texts, by this machine or by a running service."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from app.errors import OptionError, told_of
from app.files.arguments import READ_NAMES, add_read_arguments, expanded, read_options
from app.files.job import Job, say, say_bad_rows, say_found
from app.files.layout import STANDARD, WHOLE_FILES, WRITTEN, Format, Layout, is_text, layout_of, without_format
from app.files.options import OnBadRow, ReadOptions
from app.files.partial import is_complete
from app.files.reading import Survey, open_table
from app.files.results import Summary
from app.files.scorer import Scorer
from app.files.table import BadRows, Table
from app.files.writing import Style
from app.flags import add_compute_arguments, add_store_argument
from app.labels import REFERENCES
from app.report.command import ReportOnWritten, add_report_arguments, check_place, wanted
from app.report.findings import Wanted
from app.sentiment import Prediction
from app.settings import default_of
from app.store import ModelStore

_CONCURRENCY = 4
_OBJECTS_BETWEEN_COLLECTIONS = 200_000
_JSON = (Format.JSON, Format.JSONL)


def add_place_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is scored and where the results go."""
    written = tuple(map(str, WRITTEN))
    parser.add_argument(
        "inputs",
        metavar="INPUT",
        nargs="+",
        help=f"{READ_NAMES}; also 'reviews/*.csv', - for standard input, or one text in quotes",
    )
    parser.add_argument(
        "--out",
        help=f"a file ({', '.join(f'.{name}' for name in written)}), or a folder (default: standard output)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace OUT, and forget a run that was stopped")
    parser.add_argument("--out-format", choices=written, metavar="FORMAT", help="of OUT, where its name does not tell")
    parser.add_argument(
        "--escape-formulas",
        action="store_true",
        help="disarm values that a spreadsheet would compute",
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``classify``."""
    add_place_arguments(parser)
    report = parser.add_argument_group("a report on what was scored")
    report.add_argument("--report", metavar="REPORT.HTML", help="also a page with shares, words, times, groups")
    add_report_arguments(report)
    add_read_arguments(parser.add_argument_group("how INPUT is read"), "INPUT", tuple(OnBadRow))
    local = parser.add_argument_group("scored by this machine")
    local.add_argument("--model", help=f"{REFERENCES} (now {default_of('model')}; or what --url serves)")
    add_store_argument(local)
    add_compute_arguments(local)
    remote = parser.add_argument_group("scored by a running service")
    remote.add_argument("--url", help="its address; nothing is computed here then")
    remote.add_argument(
        "--concurrency", type=int, metavar="N", default=_CONCURRENCY, help="requests at once (default: %(default)s)"
    )
    remote.add_argument("--header", action="append", default=[], metavar="'NAME: VALUE'", help="sent with each request")


@dataclass(frozen=True)
class _File:
    """One file that is scored.

    Attributes:
        source: its path, or ``-``.
        layout: how it lies there.
        out: where the results go.
        target: how they lie there.
    """

    source: str
    layout: Layout
    out: str
    target: Layout


def run(args: argparse.Namespace) -> int:
    """Run ``classify`` as parsed; the exit status.

    Raises:
        SentimentError: file, model, service or an option is not as it should be.
    """
    if len(args.inputs) == 1 and is_text(args.inputs[0], args.format):
        return _classify_text(args)
    options, report = read_options(args), _report(args)
    headers = dict(_header(given) for given in args.header)
    inputs = expanded(args.inputs)
    with ExitStack() as stack:
        if args.out is None:
            args.out = _nowhere(stack.enter_context(TemporaryDirectory()), args, inputs) if report else STANDARD
        files = files_of(args, inputs)
        stack.enter_context(_seldom_collected())
        # The model is loaded while the files are looked through.
        loading = stack.enter_context(ThreadPoolExecutor(1)).submit(_scorer, args, headers)
        surveys = [survey_of(file, options, report) for file in files]
        scorer = stack.enter_context(closing(loading.result()))
        if _is_folder(args.out):
            Path(args.out).mkdir(parents=True, exist_ok=True)
        for file, survey in zip(files, surveys, strict=True):
            if len(files) > 1 and not args.overwrite and is_complete(Path(file.out)):
                say(f"{file.out}: is there already, and stays as it is")
            else:
                classify_file(args, options, file, survey, scorer, report)
        if report is not None:
            report.write(scorer.identity)
    return 0


def _report(args: argparse.Namespace) -> ReportOnWritten | None:
    """The report that is asked for."""
    comparisons = wanted(args)
    if args.report is None:
        if comparisons != Wanted():
            raise OptionError("report", "must say where the report goes, where columns to compare are given")
        return None
    if args.out == STANDARD:
        raise OptionError("report", "is made of a file of results: give a file as --out, or no --out at all")
    return ReportOnWritten(comparisons, args.report, alone=args.out is None)


def _nowhere(folder: str, args: argparse.Namespace, inputs: Sequence[str]) -> str:
    """Where results go that nobody wants but the report."""
    if STANDARD not in inputs:
        return f"{folder}/"
    return f"{folder}/scored.{Format.JSONL if args.format in _JSON else Format.CSV}"


def _classify_text(args: argparse.Namespace) -> int:
    """Say what one text is."""
    for option in ("out", "out_format", "report"):
        if getattr(args, option) not in (None, STANDARD):
            raise OptionError(option, f"is of files, and {args.inputs[0][:60]!r} is none: taken as a text")
    say("no file of that name: taken as a text")
    with closing(_scorer(args, dict(_header(given) for given in args.header))) as scorer:
        [outcome] = scorer.start(args.inputs)()
    if not isinstance(outcome, Prediction):
        raise outcome
    label, score = outcome.best(scorer.labels)
    rating = "" if outcome.rating is None else f", rating {outcome.rating:.1f}"
    print(f"{label} {score:.3f} ({outcome.judgement}{rating})")
    return 0


def files_of(args: argparse.Namespace, paths: Sequence[str]) -> list[_File]:
    """The files, and where their results go."""
    folder = _is_folder(args.out)
    if len(paths) > 1 and not folder:
        raise OptionError("out", f"must be a folder where there are several files ({len(paths)} here)")
    files = [_file(args, path, folder=folder) for path in paths]
    outs = [Path(file.out).resolve() for file in files if file.out != STANDARD]
    taken = {Path(path).resolve() for path in paths if path != STANDARD}
    if replaced := taken.intersection(outs):
        raise OptionError("out", f"would replace an input, {min(replaced)}")
    for place, out in enumerate(outs):
        if out in outs[:place]:
            raise OptionError("out", f"two files would have the same name there, {out.name}")
    taken.update(outs)
    if args.report not in (None, STANDARD) and Path(args.report).resolve() in taken:
        raise OptionError("report", f"would replace an input or its results, {args.report}")
    check_place("report", args.report or STANDARD)
    return files


def _is_folder(out: str) -> bool:
    return out != STANDARD and (out.endswith("/") or Path(out).is_dir())


def _file(args: argparse.Namespace, path: str, *, folder: bool) -> _File:
    source = layout_of(path, args.format, Format.CSV if path == STANDARD else None)
    if path == STANDARD and (source.format in WHOLE_FILES or folder):
        raise OptionError("out" if folder else "format", f"{source.format} from standard input cannot be had here")
    like_input = Format.JSONL if source.format in _JSON else source.format
    if like_input not in WRITTEN or (args.out == STANDARD and like_input in WHOLE_FILES):
        like_input = Format.CSV
    if folder:
        form = args.out_format or like_input
        name = Path(path).name if form == source.format else f"{without_format(Path(path).name)}.{form}"
        out = str(Path(args.out) / name)
        target = layout_of(out, args.out_format, written=True)
    else:
        out = args.out
        target = layout_of(out, args.out_format, like_input if out == STANDARD else None, written=True)
    if out == STANDARD and target.format in WHOLE_FILES:
        raise OptionError("out_format", f"{target.format} is not written from front to back: it needs a file as OUT")
    if path == STANDARD and source.format in _JSON and target.format is not Format.JSONL:
        raise OptionError(
            "out_format", "objects from standard input become JSON lines only: their columns are not known in advance"
        )
    return _File(path, source, out, target)


@contextmanager
def _seldom_collected() -> Iterator[None]:
    """Look for cycles of objects less often: rows make none, and looking takes a tenth of the time."""
    before = gc.get_threshold()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextmanager
def _opened(path: str) -> Iterator[IO[bytes]]:
    if path == STANDARD:
        yield sys.stdin.buffer
        return
    with ExitStack() as stack:
        with told_of(path):
            file = stack.enter_context(Path(path).open("rb"))
        yield file


def survey_of(file: _File, options: ReadOptions, report: ReportOnWritten | None) -> Survey:
    """Look through one of ``files_of``; standard input is only there once."""
    survey = Survey(options)
    if file.source != STANDARD:
        with _opened(file.source) as opened:
            for _ in survey.steps(opened, file.source, file.layout):
                pass
            if report is not None:
                table = open_table(opened, file.source, file.layout, options, survey.columns)
                _expect(report, file, table, options, survey.bad)
    return survey


def _expect(report: ReportOnWritten, file: _File, table: Table, options: ReadOptions, bad: BadRows) -> None:
    name = "standard input" if file.source == STANDARD else Path(file.source).name
    first = None if file.source == STANDARD else next(iter(table.windows()), None)
    report.expect(table, name, first, bad, Path(file.out), file.target, _separator(file, table, options))


def _separator(file: _File, table: Table, options: ReadOptions) -> str:
    """What stands between the values of results that are CSV: the same as in the file."""
    found = getattr(table, "separator", None) if file.layout.format is Format.CSV else None
    return options.delimiter or found or ","


def classify_file(
    args: argparse.Namespace,
    options: ReadOptions,
    file: _File,
    survey: Survey,
    scorer: Scorer,
    report: ReportOnWritten | None,
) -> None:
    """Score one of ``files_of``."""
    with _opened(file.source) as opened:
        table = open_table(opened, file.source, file.layout, options, survey.columns)
        table.rows = survey.rows if file.source != STANDARD else None
        style = Style(
            file.target.format, file.target.compression, _separator(file, table, options), args.escape_formulas
        )
        if report is not None and file.source == STANDARD:
            _expect(report, file, table, options, table.bad)
        say_found(file.source, table, survey.bad)
        job = Job(table, scorer, style, keep_na=options.keep_na)
        if file.out == STANDARD:
            job.run(Summary(), sys.stdout.buffer.write)
        else:
            inputs = None if file.source == STANDARD else _inputs(opened, file, options, style, job)
            job.to_file(Path(file.out), inputs, overwrite=args.overwrite)
            if report is None or not report.alone:
                say(f"written to {file.out}")
        if file.source == STANDARD:
            say_bad_rows(file.source, table.bad)


def _inputs(file: IO[bytes], job_file: _File, options: ReadOptions, style: Style, job: Job) -> dict[str, object]:
    """Everything that decides the content of the results, by what people call it."""
    status = os.fstat(file.fileno())
    read = {name.replace("_", " "): value for name, value in asdict(options).items()}
    return {
        "input": [status.st_size, status.st_mtime_ns],
        **read,
        "format": job_file.layout.format,
        "text column": job.table.text_column,
        "format of the results": [*asdict(style).values()],
        "model": job.scorer.identity,
    }


def _scorer(args: argparse.Namespace, headers: dict[str, str]) -> Scorer:
    if args.url:
        from app.files.remote import RemoteScorer, RemoteService

        return RemoteScorer(RemoteService(args.url, max(1, args.concurrency), headers, say=say, model=args.model))
    from app.scoring import load_scorer

    model = ModelStore(args.store).open(args.model or default_of("model"))
    return load_scorer(model, args.device, args.runtime, args.precision, args.threads)


def _header(given: str) -> tuple[str, str]:
    name, colon, value = given.partition(":")
    if not colon or not name.strip():
        raise OptionError("header", f"{given!r} must be NAME: VALUE")
    return name.strip(), value.strip()
