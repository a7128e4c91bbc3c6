"""What a report says of scored tables: everything is counted in one reading, in memory that does not grow with them."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import islice
from typing import Any

from app.errors import DataError
from app.files.table import Table, Window, header_of, is_nothing
from app.report.columns import check_groups, place_of, result_columns
from app.report.examples import SAMPLE_CHARACTERS, Example, Extremes, Sample
from app.report.tallies import Groups, Tally
from app.report.times import ENOUGH, USUAL_NAMES, Timeline, check_time_format, fitting, pattern_of

MOST_LABELS = 1000
"""Different labels; more are none of a model, see ``ModelConfig``."""
BINS = 1_000
"""Of scores from 0 to 1: what is said of them is exact to the third digit."""
_TRIED_TIMES = 500
KEPT_EXTREMES = 24
"""Of which those are shown that do not say nearly the same."""


@dataclass(frozen=True)
class Wanted:
    """What a person asked for.

    Attributes:
        group_by: columns by whose values rows are counted, each once.
        time_column: the column with times; None finds one.
        time_format: how they are written, as ``strptime`` has it; None finds it.

    Raises:
        OptionError: one of them cannot be.
    """

    group_by: Sequence[str] = ()
    time_column: str | None = None
    time_format: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "group_by", check_groups(self.group_by))
        if self.time_format is not None:
            check_time_format(self.time_format)

    def check(self, name: str, header: Sequence[str]) -> None:
        """Refuse a table without one of the columns.

        Raises:
            DataError: one is missing; the message lists those there are.
        """
        for column in self.group_by:
            place_of(name, header, column, "group_by")
        if self.time_column is not None:
            place_of(name, header, self.time_column, "time_column")

    def check_times(self, name: str, header: Sequence[str], window: Window) -> None:
        """Refuse a table in whose first rows the column that was asked for has values, but no time.

        Raises:
            DataError: it does.
        """
        if self.time_column is None:
            return
        place = header.index(self.time_column)
        given = _given(window.values(header), place)
        if given and not fitting(given, pattern_of(self.time_format))[1]:
            raise DataError(
                f"{name}: column {self.time_column!r}: none of the first {len(given):,} values can be read as times; "
                f"the first is {str(given[0])[:60]!r}",
                *("time_format", "time_column"),
            )


@dataclass(frozen=True)
class Source:
    """A file that was read.

    Attributes:
        name: its name, without folders.
        found: what it was found to be.
        changed: the day and the minute it was changed last, in UTC; "" where nobody knows.
        columns: the columns that were taken, by what for.
        rows: how many it has.
        left_out: rows that are not as they should be, and were left out.
    """

    name: str
    found: str
    changed: str
    columns: dict[str, str]
    rows: int
    left_out: int = 0


class Findings:
    """Counts rows.

    Args:
        wanted: what is asked for.

    Attributes:
        sources: the files so far.
        all: all rows.
        scores: rows by their label's score in ``BINS`` steps, by label. Here and below, readable rows.
        stars: rows by their rating, rounded.
        rating_sum: sum of the ratings.
        groups: rows by the columns that were asked for.
        timelines: rows by time; where it may be written in several ways, in all of them.
        time_column: the column with times, where there is one.
        without_time: rows with nothing in it.
        surest: by label, the rows with the highest scores.
        least_sure: the rows with the lowest scores.
        sample: some rows of each label.
        unreadable: some rows of those that are.
    """

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.sources: list[Source] = []
        self.all = Tally()
        self.scores: dict[str, array[int]] = {}
        self.stars: Counter[int] = Counter()
        self.rating_sum = 0.0
        self.groups = [Groups(column) for column in wanted.group_by]
        self.timelines: list[Timeline] = []
        self.time_column = wanted.time_column
        self.without_time = 0
        self.surest: dict[str, Extremes] = {}
        self.least_sure = Extremes(KEPT_EXTREMES, -1)
        self.sample = Sample()
        self.unreadable = Sample(KEPT_EXTREMES, KEPT_EXTREMES)

    def add(self, table: Table, name: str, changed: str) -> None:
        """Count the rows of a file.

        Raises:
            DataError: it was not scored, or lacks a column that was asked for, or cannot be read on.
        """
        header = header_of(table)
        rows = self.begin(name, header, table.text_column)
        for window in table.windows():
            rows.add(window.texts, window.values(header))
        self.end(rows, table, changed)

    def begin(self, name: str, header: Sequence[str], text_column: str) -> Rows:
        """Take the rows of a file as they come; ``end`` when all are there.

        Args:
            name: what it is called.
            header: its columns, those of the results among them.
            text_column: the one with the texts.

        Raises:
            DataError: it was not scored, or lacks a column that was asked for.
        """
        self.wanted.check(name, header)
        return Rows(name, header, text_column, self)

    def end(self, rows: Rows, table: Table, changed: str) -> None:
        """Take note of where the rows came from.

        Args:
            rows: those that ``begin`` gave.
            table: the file that was read.
            changed: see ``Source``.
        """
        columns = {"text": rows.text_column, "results": f"{rows.results['label']} to {rows.results['error']}"}
        columns |= {"group": ", ".join(self.wanted.group_by)} if self.groups else {}
        columns |= {"time": self.time_column} if self.time_column is not None else {}
        self.sources.append(Source(rows.name, table.found, changed, columns, rows.number, table.bad.count))

    def timeline(self) -> Timeline | None:
        """The rows by time, in the way of writing that fits most of them; None where there is no time.

        Raises:
            DataError: a column that was asked for has hardly any times.
        """
        best = max(self.timelines, key=lambda timeline: timeline.read, default=None)
        if best is None or not best.read + best.unread:
            if self.wanted.time_column is not None and self.all.readable:
                raise DataError(f"column {self.wanted.time_column!r} has no value in any readable row", "time_column")
            return None
        if best.read <= best.unread:
            raise DataError(
                f"column {self.time_column!r}: {best.unread:,} of {best.read + best.unread:,} values cannot be read as "
                f"times; the first is {best.first_unread!r}",
                *("time_format", "time_column"),
            )
        return best

    def time_is_ambiguous(self) -> list[str]:
        """Ways to write times that fit as many rows as the one that was taken, by their names."""
        best = self.timeline()
        return [line.pattern.name for line in self.timelines if best and line is not best and line.read == best.read]


class Rows:
    """The rows of one file on their way into ``Findings``.

    Attributes:
        name: of the file.
        text_column: its column with the texts.
        results: its columns that ``classify`` added, by what they are.
        number: how many rows there were.
    """

    def __init__(self, name: str, header: Sequence[str], text_column: str, findings: Findings) -> None:
        self.name = name
        self.text_column = text_column
        self.results = results = result_columns(name, header)
        self.number = 0
        self._file = len(findings.sources)
        self._findings = findings
        self._header = header
        places = {kind: header.index(column) for kind, column in results.items()}
        self._label, self._score, self._error = (places[kind] for kind in ("label", "score", "error"))
        self._judgement, self._rating = places["judgement"], places.get("rating")
        self._groups = [(groups, header.index(groups.column)) for groups in findings.groups]
        self._first_window = self._file == 0

    def add(self, texts: Sequence[object], values: Sequence[Sequence[Any]]) -> None:
        """Count the rows of a window."""
        findings = self._findings
        if findings.time_column is None and self._first_window:
            findings.time_column = self._find_time_column(values)
        self._first_window = False
        column = findings.time_column
        time = self._header.index(column) if column in self._header and column is not None else None
        if time is not None and not findings.timelines:
            given = _given(values, time)
            if given:
                fit, _ = fitting(given, pattern_of(findings.wanted.time_format))
                findings.timelines = [Timeline(pattern) for pattern in fit]
        for text, row in zip(texts, values, strict=True):
            self.number += 1
            label, judgement, error = row[self._label] or None, row[self._judgement] or None, row[self._error] or None
            findings.all.add(label, judgement, error)
            for groups, place in self._groups:
                groups.tally(row[place]).add(label, judgement, error)
            if label is not None:
                self._add_labelled(str(label), judgement, text, row)
                if judgement != "unreadable" and column is not None:
                    self._add_time(None if time is None else row[time], str(label))

    def _add_time(self, value: Any, label: str) -> None:
        if _is_blank(value):
            self._findings.without_time += 1
        else:
            for timeline in self._findings.timelines:
                timeline.add(value, label)

    def _add_labelled(self, label: str, judgement: str | None, text: object, row: Sequence[Any]) -> None:
        findings = self._findings
        score = self._number(row, self._score)
        stars = None if self._rating is None or row[self._rating] in (None, "") else self._number(row, self._rating)
        shown = text[:SAMPLE_CHARACTERS] if isinstance(text, str) else ""
        example = Example(self._file, self.number, shown, label, score, stars)
        if judgement == "unreadable":
            findings.unreadable.add(example._replace(label="unreadable"))
            return
        if label not in findings.scores:
            if len(findings.scores) >= MOST_LABELS:
                raise DataError(
                    f"{self.name}, row {self.number}: more than {MOST_LABELS} different labels, which no model has; "
                    f"is {self._header[self._label]!r} the column that classify wrote?"
                )
            findings.scores[label] = array("q", bytes(8 * (BINS + 1)))
            findings.surest[label] = Extremes(KEPT_EXTREMES)
        findings.scores[label][round(min(1.0, max(0.0, score)) * BINS)] += 1
        if stars is not None:
            findings.stars[round(stars)] += 1
            findings.rating_sum += stars
        findings.sample.add(example)
        if judgement == "ok":
            findings.surest[label].add(example)
        findings.least_sure.add(example)

    def _number(self, row: Sequence[Any], place: int) -> float:
        try:
            number = float(row[place])
        except (TypeError, ValueError):
            number = float("nan")
        if not abs(number) < 1e6:
            raise DataError(
                f"{self.name}, row {self.number}: {self._header[place]!r} is {str(row[place])[:40]!r}, not a number; "
                "was the file changed since classify wrote it?"
            )
        return number

    def _find_time_column(self, values: Sequence[Sequence[Any]]) -> str | None:
        """The first column whose name says that it has times, and whose values are some."""
        for place, column in enumerate(self._header):
            plain = "".join(filter(str.isalnum, column)).lower()
            if plain not in USUAL_NAMES and not any(isinstance(row[place], date) for row in values[:1]):
                continue
            if column in self.results.values() or column == self.text_column:
                continue
            given = _given(values, place)
            if given and fitting(given, pattern_of(self._findings.wanted.time_format))[1] >= ENOUGH * len(given):
                return column
        return None


def _given(rows: Sequence[Sequence[Any]], place: int) -> list[Any]:
    """The first values of a column, as many as tell how its times are written."""
    return list(islice((row[place] for row in rows if not _is_blank(row[place])), _TRIED_TIMES))


def _is_blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and is_nothing(value))
