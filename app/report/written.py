"""A report on files that are being scored: looked at before, so that nothing is computed in vain, and read when they
are written."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from app.files.layout import DELIMITED, Format, Layout
from app.files.options import OnBadRow, ReadOptions
from app.files.table import BadRows, Table, Window, header_of, paths_of
from app.report.command import read_scored, write_report
from app.report.findings import Findings, Wanted


@dataclass(frozen=True)
class _Written:
    name: str
    path: Path
    layout: Layout
    options: ReadOptions
    bad: BadRows


@dataclass
class ReportOnWritten:
    """The report of one run of ``classify``.

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
