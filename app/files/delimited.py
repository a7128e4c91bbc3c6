"""CSV and TSV (RFC 4180, and tabs in the place of commas). Values stay the text they are: no type is guessed."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

from app.errors import BadRowError, DataError
from app.files.layout import Format, Layout
from app.files.lines import HEAD_BYTES, LONGEST_ROW, TOO_LONG, Lines, RowError, TooLongError
from app.files.options import OnBadRow, Quoting, ReadOptions
from app.files.sniffing import QUOTING, find_delimiter, looks_like_a_text, separator_line
from app.files.table import (
    MOST_COLUMNS,
    WINDOW_CHARACTERS,
    WINDOW_ROWS,
    BadRows,
    Kind,
    ValuesWindow,
    choose_text_column,
    in_windows,
    known_column,
)

# The library's own limit is 128 KiB a value and holds for the whole process; rows are bounded here.
csv.field_size_limit(LONGEST_ROW)

_ROW_OPTIONS = ("delimiter", "quoting", "format")


class DelimitedWindow(ValuesWindow):
    """Rows of a CSV or TSV file.

    Attributes:
        records: each row as it stands in the file, without its line end.
        separator: what stands between their values; None where they are not quoted as CSV is.
    """

    def __init__(
        self,
        columns: Sequence[str],
        rows: list[list[str]],
        texts: list[object],
        records: list[str],
        separator: str | None,
    ) -> None:
        super().__init__(columns, rows, texts)
        self.records = records
        self.separator = separator


class Records:
    """Rows of a file, as they stand there and as values. After a ``RowError`` it can be gone on with, behind the line
    in which the bad row began: a quotation mark that is never closed costs that line and no other.

    Args:
        lines: of the file.
        separator: between the values.
        quoting: see ``Quoting``.
    """

    def __init__(self, lines: Lines, separator: str, quoting: Quoting) -> None:
        self._lines = lines
        self._ahead: deque[str] = deque()
        self._taken: list[str] = []
        self._reader = csv.reader(_Pulled(self._pull), delimiter=separator, quoting=QUOTING[quoting], strict=True)

    @property
    def line(self) -> int:
        """The line in which the row at hand begins."""
        return self._lines.number - len(self._ahead) - max(0, len(self._taken) - 1)

    def __iter__(self) -> Iterator[tuple[str, list[str]]]:
        return self

    def __next__(self) -> tuple[str, list[str]]:
        while True:
            self._taken.clear()
            self._lines.begin_row()
            try:
                row = next(self._reader)
            except csv.Error as error:
                # Of the csv module's messages, the one that speaks of Python.
                said = "a carriage return that ends no line" if str(error).startswith("new-line") else error
                raise self._give_back(f"not as CSV should be ({said})") from error
            except TooLongError as error:
                # Of several lines, the first may be all that is wrong.
                if len(self._taken) > 1:
                    raise self._give_back(TOO_LONG) from error
                raise
            if row:
                return "".join(self._taken).rstrip("\r\n"), row

    def _pull(self) -> str:
        line = self._ahead.popleft() if self._ahead else next(self._lines)
        self._taken.append(line)
        return line

    def _give_back(self, message: str) -> RowError:
        line, first = self.line, self._taken[0]
        self._ahead.extendleft(reversed(self._taken[1:]))
        return self._lines.row_error(message, first, line, _ROW_OPTIONS)


class _Pulled:
    """An iterator that lives on when it raised."""

    def __init__(self, pull: Callable[[], str]) -> None:
        self._pull = pull

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        return self._pull()


class RecordWriter:
    """Rows of values as records of CSV, without line ends.

    Args:
        separator: what stands between values.
    """

    def __init__(self, separator: str) -> None:
        self._written: list[str] = []
        # A value with one of the characters of the line end is quoted, so both must be in it.
        self._writer = csv.writer(self, delimiter=separator, lineterminator="\r\n")

    def write(self, record: str) -> None:
        """What the csv module calls, once a row."""
        self._written.append(record[:-2])

    def records(self, rows: Iterable[Iterable[Any]]) -> list[str]:
        """The records of some rows."""
        self._written = []
        self._writer.writerows(rows)
        return self._written


_MOST_TITLES = 10
"""Rows above a header."""


class DelimitedTable:
    """A ``Table`` out of a CSV or TSV file.

    Args:
        file: open for reading bytes.
        name: what messages call it.
        layout: how it is written.
        options: how it is read.

    Attributes:
        header: names of the columns, of which two may be alike.
        separator: what stands between the values.

    Raises:
        DataError: empty, damaged, of another format, of too many columns, without the column, or without a header.
    """

    rows: int | None = None

    def __init__(self, file: IO[bytes], name: str, layout: Layout, options: ReadOptions) -> None:
        self.bad = BadRows(options.on_bad_row)
        self._quoting = options.quoting
        self._lines = Lines(file, name, layout, options.encoding, guess=options.on_bad_row is OnBadRow.ERROR)
        self._lines.refuse_other_formats()
        self.separator = self._separator(layout, options)
        self._records = Records(self._lines, self.separator, options.quoting)
        record, first = next(self._records, ("", []))
        if not first:
            raise DataError(f"{name}: the file is empty")
        if len(first) > MOST_COLUMNS:
            raise self._lines.error(f"{len(first)} columns; the limit is {MOST_COLUMNS}", options=("delimiter",))
        header_line, first = self._below_titles(first, options)
        self.header = [f"column_{number}" for number in range(1, len(first) + 1)] if options.no_header else first
        self._first = [(record, first)] if options.no_header else []
        self.columns: Mapping[str, Kind] = dict.fromkeys(self.header, Kind.TEXT)
        self.text_column = choose_text_column(name, self.header, options.text_column)
        check_header(name, self.header, self.text_column, options)
        self._text = self.header.index(self.text_column)
        self._writer = RecordWriter(self.separator)
        shown = {"\t": "tabs", ",": "commas"}.get(self.separator, repr(self.separator))
        self.found = f"{layout.format.upper()}, values between {shown}, {_described(self.header, options, header_line)}"
        self.found += self._lines.guessed

    def windows(self, rows: int = WINDOW_ROWS, characters: int = WINDOW_CHARACTERS) -> Iterator[DelimitedWindow]:
        """See ``Table.windows``."""
        separator = self.separator if self._quoting is Quoting.STANDARD else None
        for window in in_windows(self._rows(), lambda row: len(row[0]), rows, characters):
            records, values, texts = (list(part) for part in zip(*window, strict=True))
            yield DelimitedWindow(self.header, values, texts, records, separator)

    def _rows(self) -> Iterator[tuple[str, list[str], object]]:
        """Record, values and text of each row that counts."""
        width = len(self.header)
        for record, row in self._first:
            yield record, row, row[self._text]
        while True:
            try:
                record, row = next(self._records)
                if len(row) != width:
                    message = f"{len(row)} values in a row, but there are {width} columns"
                    raise self._lines.row_error(message, record, self._records.line, _ROW_OPTIONS)
            except StopIteration:
                return
            except RowError as error:
                if (raw := self.bad.take(error)) is not None:
                    row = [""] * width
                    row[self._text] = raw
                    yield self._writer.records([row])[0], row, BadRowError()
                continue
            yield record, row, row[self._text]

    def _below_titles(self, first: list[str], options: ReadOptions) -> tuple[int | None, list[str]]:
        """The header and its line, where rows with one value at most stand above it, such as a title and a date; else
        the first row, and None."""
        row, line = first, None
        for _ in range(_MOST_TITLES):
            if options.no_header or len(row) < 2:
                break
            if options.text_column in row if options.text_column is not None else known_column(row) is not None:
                return line, row
            if sum(bool(cell.strip()) for cell in row) > 1:
                break
            _, row = next(self._records, ("", []))
            line = self._records.line
        return None, first

    def _separator(self, layout: Layout, options: ReadOptions) -> str:
        usual = "\t" if layout.format is Format.TSV else ","
        named = separator_line(self._lines.head)
        if named is not None:
            next(self._lines)
        if options.delimiter or named:
            return options.delimiter or named or usual
        head = self._lines.head.decode(self._lines.encoding, "replace")
        return find_delimiter(head, usual, options.quoting, whole=len(self._lines.head) < HEAD_BYTES - 3)


def check_header(name: str, header: Sequence[str], text_column: str, options: ReadOptions) -> None:
    """Refuse what the first review may be lost by, or two columns be mistaken.

    Raises:
        DataError: two columns have the name of the text column, or the first row, whose names nobody named and nobody
            knows, looks like a text.
    """
    if header.count(text_column) > 1:
        raise DataError(f"{name}: two columns are named {text_column!r}", "no_header")
    named = options.no_header or options.text_column is not None or known_column(header) is not None
    if not named and looks_like_a_text(text_column):
        raise DataError(
            f"{name}: the first row, {text_column[:60]!r}, looks like a text and not like the name of a column",
            *("no_header", "text_column", "format"),
        )


def _described(header: Sequence[str], options: ReadOptions, line: int | None) -> str:
    columns = "1 column" if len(header) == 1 else f"{len(header)} columns"
    where = "the first row" if line is None else f"line {line}, below a title"
    return f"{columns}, no header" if options.no_header else f"{columns} named in {where}"
