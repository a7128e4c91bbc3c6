"""CSV and TSV (RFC 4180, and tabs in the place of commas). Values stay the text they are: no type is guessed."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from typing import IO

from app.errors import DataError
from app.files.layout import Layout
from app.files.lines import LONGEST_ROW, Lines
from app.files.table import WINDOW_CHARACTERS, WINDOW_ROWS, Kind, ValuesWindow, choose_text_column

# The library's own limit is 128 KiB a value and holds for the whole process; rows are bounded here.
csv.field_size_limit(LONGEST_ROW)


class DelimitedTable:
    """A ``Table`` out of a CSV or TSV file with a header.

    Args:
        file: open for reading bytes.
        name: what messages call it.
        layout: how it is written.
        text_column: the column to classify; None chooses.

    Raises:
        DataError: empty, damaged, or without that column.
    """

    rows: int | None = None

    def __init__(self, file: IO[bytes], name: str, layout: Layout, text_column: str | None) -> None:
        self._lines = Lines(file, name, layout)
        self._reader = csv.reader(iter(self._lines), delimiter=layout.separator, strict=True)
        header = next(self._read(), None)
        if header is None:
            raise DataError(f"{name}: the file is empty")
        self.header = header
        self.columns: Mapping[str, Kind] = dict.fromkeys(header, Kind.TEXT)
        self.text_column = choose_text_column(name, header, text_column)
        if header.count(self.text_column) > 1:
            raise DataError(f"{name}: two columns are named {self.text_column!r}")
        self._text = header.index(self.text_column)

    def windows(self, rows: int = WINDOW_ROWS, characters: int = WINDOW_CHARACTERS) -> Iterator[ValuesWindow]:
        """See ``Table.windows``."""
        window: list[list[str]] = []
        size, width = 0, len(self.header)
        for row in self._read():
            if len(row) != width:
                raise self._lines.error(f"{len(row)} values in a row, but the header names {width} columns")
            window.append(row)
            size += sum(map(len, row))
            if len(window) >= rows or size >= characters:
                yield ValuesWindow(self.header, window, self._text)
                window, size = [], 0
        if window:
            yield ValuesWindow(self.header, window, self._text)

    def _read(self) -> Iterator[list[str]]:
        """Rows; blank lines are none."""
        while True:
            self._lines.begin_row()
            first = self._lines.number + 1
            try:
                row = next(self._reader, None)
            except csv.Error as error:
                raise self._lines.error(f"not as CSV should be ({error})", first) from error
            if row is None:
                return
            if row:
                yield row
