"""``python -m app report``: a page about files that ``classify`` wrote; and how ``classify --report`` makes one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from app.errors import DataError, OptionError
from app.files.arguments import READ_NAMES, add_read_arguments, expanded, read_options
from app.files.job import say
from app.files.layout import DELIMITED, STANDARD, Format, Layout, layout_of
from app.files.options import OnBadRow, ReadOptions
from app.files.reading import Survey, open_table
from app.files.table import BadRows, Table, Window, header_of, paths_of
from app.report.findings import Findings, Wanted
from app.report.page import add_sheets, page_of

_LONGEST_MODEL = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``report``."""
    parser.add_argument("inputs", metavar="SCORED", nargs="+", help=f"a file that classify wrote: {READ_NAMES}")
    parser.add_argument(
        "--output",
        "--out",
        dest="out",
        default="report.html",
        metavar="REPORT.HTML",
        help="default: %(default)s; - for standard output; REPORT.XLSX for its tables as a workbook",
    )
    parser.add_argument("--model", help="NAME/VERSION that scored SCORED, for the report to name")
    add_report_arguments(parser)
    add_read_arguments(parser.add_argument_group("how SCORED is read"), "SCORED", (OnBadRow.ERROR, OnBadRow.SKIP))


def add_report_arguments(parser: argparse._ActionsContainer) -> None:
    """Add the flags that say what a report compares."""
    parser.add_argument(
        "--group-by",
        action="append",
        default=[],
        metavar="COLUMN",
        help="compare rows by its values; may be given again",
    )
    parser.add_argument("--time-column", metavar="COLUMN", help="shares over time (default: found by its name)")
    parser.add_argument("--time-format", metavar="FORMAT", help="such as %%d/%%m/%%Y (default: as values are found)")


def wanted(args: argparse.Namespace) -> Wanted:
    """What the parsed flags ask for.

    Raises:
        OptionError: one of them cannot be.
    """
    return Wanted(args.group_by, args.time_column, args.time_format)


def run(args: argparse.Namespace) -> int:
    """Run ``report`` as parsed; the exit status.

    Raises:
        SentimentError: a file or an option is not as it should be.
    """
    options, findings, inputs = read_options(args), Findings(wanted(args)), expanded(args.inputs)
    if STANDARD in inputs:
        raise DataError("standard input cannot be reported on: name a file")
    if args.out != STANDARD and any(Path(args.out).resolve() == Path(path).resolve() for path in inputs):
        raise OptionError("output", f"would replace an input, {args.out}")
    check_place("output", args.out)
    for path in inputs:
        read_scored(findings, Path(path), layout_of(path, args.format), options)
    write_report(findings, args.out, args.model and args.model[:_LONGEST_MODEL])
    return 0


def read_scored(findings: Findings, path: Path, layout: Layout, options: ReadOptions, name: str | None = None) -> None:
    """Count the rows of a scored file.

    Args:
        findings: take them.
        path: of the file.
        layout: how it lies there.
        options: how it is read.
        name: what it is called instead of its own name.

    Raises:
        DataError: it cannot be read, was not scored, or lacks a column.
    """
    try:
        with path.open("rb") as file:
            survey = Survey(options)
            if layout.format in (Format.JSON, Format.JSONL):  # whose columns are known only at the end
                for _ in survey.steps(file, str(path), layout):
                    pass
            table = open_table(file, str(path), layout, options, survey.columns)
            changed = datetime.fromtimestamp(path.stat().st_mtime, UTC).strftime("%Y-%m-%d %H:%M")
            findings.add(table, name or path.name, changed)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or type(error).__name__})") from error


def check_place(option: str, out: str) -> None:
    """Refuse a name that promises something else than a report is.

    Raises:
        OptionError: it does.
    """
    if out != STANDARD and not out.lower().endswith((".html", ".htm", ".xlsx")):
        raise OptionError(option, f"must end in .html or .xlsx (got {out!r})")


def as_workbook(out: str) -> bool:
    """Whether a report of this name is the workbook of its tables."""
    return out.lower().endswith(".xlsx")


def write_report(findings: Findings, out: str, model: str | None = None, left_out: int = 0) -> None:
    """Write the page, or its tables as a workbook where it is called so, and say what was found for it.

    Args:
        findings: of all files.
        out: where it goes, or ``-``.
        model: what scored them, where that is known.
        left_out: see ``page_of``.

    Raises:
        DataError: it cannot be written.
    """
    if as_workbook(out):
        from app.files.workbook import Workbook

        book = Workbook()
        add_sheets(book, findings, model, left_out)
        write: Callable[[Path], object] = book.save
    else:
        page = page_of(findings, model, left_out)
        write = partial(Path.write_text, data=page, encoding="utf-8")
    timeline = findings.timeline()
    if timeline is not None:
        others = findings.time_is_ambiguous()
        doubt = f"; they may also be {others[0]}, see --time-format" if others else ""
        say(f"times are in {findings.time_column!r}, read as {timeline.pattern.name}{doubt}")
        if timeline.unread:
            say(f"{timeline.unread:,} values are no times; the first is {timeline.first_unread!r}")
    if out == STANDARD:
        sys.stdout.buffer.write(page.encode())
        sys.stdout.flush()
        return
    place = Path(out)
    temporary = place.with_name(f"{place.name}.new")
    try:
        write(temporary)
        temporary.replace(place)
    except (OSError, ValueError) as error:
        raise DataError(f"{out}: cannot be written ({getattr(error, 'strerror', None) or error})") from error
    finally:
        with suppress(OSError):
            temporary.unlink()
    say(f"report on {findings.all.rows:,} rows written to {out}")


@dataclass(frozen=True)
class _Written:
    name: str
    path: Path
    layout: Layout
    options: ReadOptions
    bad: BadRows


@dataclass
class ReportOnWritten:
    """The report of one run of ``classify``: its files are looked at before they are scored, so that nothing is
    computed in vain, and read when they are written.

    Attributes:
        wanted: what it compares.
        out: where it goes.
        alone: whether the rows themselves are kept nowhere.
    """

    wanted: Wanted
    out: str
    alone: bool = False
    _written: list[_Written] = field(default_factory=list)

    def expect(
        self, table: Table, name: str, first: Window | None, bad: BadRows, out: Path, target: Layout, separator: str
    ) -> None:
        """Take note of a file before it is scored.

        Args:
            table: the file, at its start.
            name: what it is called.
            first: its first rows, where they may be looked at.
            bad: its rows that are not as they should be.
            out: where its results will be.
            target: how they will lie there.
            separator: what will stand between the values of CSV.

        Raises:
            DataError: a column is missing, or one that should have times has none in the first rows.
        """
        header = header_of(table)
        self.wanted.check(name, header)
        if first is not None:
            self.wanted.check_times(name, header, first)
        # Objects become text in CSV, so that a field of one is no column there.
        column = next(path[0] for path in paths_of(table.text_column) if path[0] in header)
        options = ReadOptions(
            text_column=column if target.format in DELIMITED else table.text_column,
            delimiter=separator if target.format is Format.CSV else None,
        )
        self._written.append(_Written(name, out, target, options, bad))

    def write(self, model: str) -> None:
        """Read the results and write the report. A run that was stopped and gone on with is in it as a whole.

        Raises:
            DataError: see ``read_scored`` and ``write_report``.
        """
        findings, left_out = Findings(self.wanted), 0
        for file in self._written:
            left_out += file.bad.count if file.bad.policy is OnBadRow.SKIP else 0
            read_scored(findings, file.path, file.layout, file.options, file.name)
        write_report(findings, self.out, model, left_out)
