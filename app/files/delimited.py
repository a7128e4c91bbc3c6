"""CSV and TSV (RFC 4180, and tabs in the place of commas). Values stay the text they are: no type is guessed."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

from app.errors import DataError
from app.files.layout import Layout
from app.files.lines import LONGEST_ROW, Lines
from app.files.table import MOST_COLUMNS, WINDOW_CHARACTERS, WINDOW_ROWS, Kind, ValuesWindow, choose_text_column

# The library's own limit is 128 KiB a value and holds for the whole process; rows are bounded here.
csv.field_size_limit(LONGEST_ROW)


class DelimitedWindow(ValuesWindow):
    """Rows of a CSV or TSV file.

    Attributes:
        records: each row as it stands in the file, without its line end.
        separator: what stands between their values.
    """

    def __init__(
        self, columns: Sequence[str], rows: list[list[str]], text: int, records: list[str], separator: str
    ) -> None:
        super().__init__(columns, rows, text)
        self.records = records
        self.separator = separator


class DelimitedTable:
    """A ``Table`` out of a CSV or TSV file with a header.

    Args:
        file: open for reading bytes.
        name: what messages call it.
        layout: how it is written.
        text_column: the column to classify; None chooses.

    Raises:
        DataError: empty, damaged, of too many columns, or without that column.
    """

    rows: int | None = None

    def __init__(self, file: IO[bytes], name: str, layout: Layout, text_column: str | None) -> None:
        self._lines = Lines(file, name, layout)
        self._separator = layout.separator
        self._records = self._read()
        _, header = next(self._records, ("", None))
        if header is None:
            raise DataError(f"{name}: the file is empty")
        if len(header) > MOST_COLUMNS:
            raise self._lines.error(f"{len(header)} columns; the limit is {MOST_COLUMNS}")
        self.header = header
        self.columns: Mapping[str, Kind] = dict.fromkeys(header, Kind.TEXT)
        self.text_column = choose_text_column(name, header, text_column)
        if header.count(self.text_column) > 1:
            raise DataError(f"{name}: two columns are named {self.text_column!r}")
        self._text = header.index(self.text_column)

    def windows(self, rows: int = WINDOW_ROWS, characters: int = WINDOW_CHARACTERS) -> Iterator[DelimitedWindow]:
        """See ``Table.windows``."""
        window: list[list[str]] = []
        records: list[str] = []
        size, width = 0, len(self.header)
        for record, row in self._records:
            if len(row) != width:
                raise self._lines.error(f"{len(row)} values in a row, but the header names {width} columns")
            window.append(row)
            records.append(record)
            size += len(record)
            if len(window) >= rows or size >= characters:
                yield DelimitedWindow(self.header, window, self._text, records, self._separator)
                window, records, size = [], [], 0
        if window:
            yield DelimitedWindow(self.header, window, self._text, records, self._separator)

    def _read(self) -> Iterator[tuple[str, list[str]]]:
        """Rows, as they stand there and as values; blank lines are none."""
        lines = iter(self._lines)
        for line in lines:
            record = line.removesuffix("\n").removesuffix("\r")
            row = split_record(record, self._separator)
            if row is None:
                record, row = self._read_by_library(line, lines)
            self._lines.begin_row()
            if record:
                yield record, row

    def _read_by_library(self, line: str, lines: Iterator[str]) -> tuple[str, list[str]]:
        """A row that begins with ``line``, which knows all of CSV and takes further lines where it goes on in them."""
        first, taken = self._lines.number, [line]

        def take() -> Iterator[str]:
            yield line
            for further in lines:
                taken.append(further)
                yield further

        try:
            row = next(csv.reader(take(), delimiter=self._separator, strict=True))
        except csv.Error as error:
            raise self._lines.error(f"not as CSV should be ({error})", first) from error
        return "".join(taken).rstrip("\r\n"), row


def split_record(record: str, separator: str) -> list[str] | None:
    """The values of a row that is a line of its own; None where it takes the csv module to tell.

    The module looks at each character in turn; this leaps from one quotation mark to the next, several times as fast.
    """
    if "\r" in record:
        return None
    if '"' not in record:
        return record.split(separator)
    # What is quoted has the odd places; nothing between two of them is a doubled mark, which stands for one.
    pieces = record.split('"')
    if len(pieces) % 2 == 0:
        return None
    pieces[0], pieces[-1] = separator + pieces[0], pieces[-1] + separator
    row: list[str] = []
    begin = 1
    for place in range(0, len(pieces), 2):
        if not (between := pieces[place]):
            continue
        if between[0] != separator or between[-1] != separator:
            return None
        if place:
            row.append('"'.join(pieces[begin:place:2]))
        if len(between) > 1:
            row += between[1:-1].split(separator)
        begin = place + 1
    return row
