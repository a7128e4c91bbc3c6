"""The first sheet of an Excel workbook (.xlsx), by openpyxl, which is imported only where there is one."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any
from xml.etree.ElementTree import ParseError

from app.errors import BadRowError, DataError
from app.files.delimited import check_header
from app.files.lines import OLD, OLD_MARK, RowError
from app.files.options import ReadOptions
from app.files.table import (
    MOST_COLUMNS,
    WINDOW_CHARACTERS,
    WINDOW_ROWS,
    BadRows,
    Kind,
    ValuesWindow,
    choose_text_column,
    in_windows,
    plain_text,
)

try:
    import openpyxl
except ImportError as error:
    raise DataError(".xlsx needs openpyxl, which is not installed: install 'sentiment-service[files]'") from error

_LARGEST = 1 << 30
"""Most bytes of a workbook once unpacked: a small one may claim to be of any size."""
_LARGEST_TEXTS = 256 << 20
"""Most bytes of its texts, which are in memory all at once."""
_MOST_ROWS = 1_048_576
"""Of a sheet, by its format: a row with a higher number stands for endless empty ones."""
_TEXTS = "xl/sharedStrings.xml"
_WITHOUT_VALUE = re.compile(rb"(?:</f>|<f\b[^<>]*/>)\s*(?:<v\s*/>|<v>\s*</v>)?\s*</c>")
"""The end of a cell that has a formula, and nothing that was computed by it."""
_REMEDY = "to have them computed, open and save it in a spreadsheet program"
_LONGEST_END = 256
"""Bytes of that, as programs write it."""
_SCANNED = 1 << 20
_DAMAGES = (
    zipfile.BadZipFile,
    ParseError,
    OSError,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    IndexError,
    EOFError,
)
"""What openpyxl raises at files that are not as they should be: it says so nowhere."""


class SheetTable:
    """A ``Table`` out of the first sheet of a workbook. Blank rows are none.

    Args:
        file: open for reading bytes, seekable.
        name: what messages call it.
        options: how it is read.

    Raises:
        DataError: not a workbook, damaged, too large, empty, of too many columns, without the column, or without a
            header.
    """

    rows: int | None = None

    def __init__(self, file: IO[bytes], name: str, options: ReadOptions) -> None:
        self.bad = BadRows(options.on_bad_row)
        self._name = name
        self._number = self._sheets = 0
        _check_size(file, name)
        self._cells = self._read(file)
        first = next(self._cells, None)
        second = next(self._cells, None)
        if first is None or (second is None and self._sheets > 1 and not options.no_header):
            more = "; of several sheets, the one with the texts must be the first" if self._sheets > 1 else ""
            raise DataError(f"{name}: the first sheet is empty{more}")
        if len(first) > MOST_COLUMNS:
            raise DataError(f"{name}: {len(first)} columns; the limit is {MOST_COLUMNS}")
        self._first = [first] if options.no_header else []
        self._first += [] if second is None else [second]
        numbered = [f"column_{number}" for number in range(1, len(first) + 1)]
        self.header = numbered if options.no_header else [plain_text(value) or "" for value in first]
        self.columns: Mapping[str, Kind] = dict.fromkeys(self.header, Kind.MIXED)
        self.text_column = choose_text_column(name, self.header, options.text_column)
        check_header(name, self.header, self.text_column, options)
        self._text = self.header.index(self.text_column)

    def windows(self, rows: int = WINDOW_ROWS, characters: int = WINDOW_CHARACTERS) -> Iterator[ValuesWindow]:
        """See ``Table.windows``."""
        for window in in_windows(self._rows(), _characters, rows, characters):
            values, texts = (list(part) for part in zip(*window, strict=True))
            yield ValuesWindow(self.header, values, texts)

    def _rows(self) -> Iterator[tuple[list[Any], object]]:
        width = len(self.header)
        for source in (self._first, self._cells):
            for row in source:
                if len(row) <= width:
                    row.extend([None] * (width - len(row)))
                    # A review that is only a number is one for Excel.
                    yield row, plain_text(row[self._text])
                    continue
                message = f"{len(row)} values in a row, but there are {width} columns"
                raw = " ".join(plain_text(value) or "" for value in row)
                error = RowError(f"{self._name}, row {self._number}: {message}", raw, "no_header")
                if self.bad.take(error) is not None:
                    marked: list[Any] = [None] * width
                    marked[self._text] = raw
                    yield marked, BadRowError()

    def _read(self, file: IO[bytes]) -> Iterator[list[Any]]:
        """The values of each row that is not blank, without empty cells at its end."""
        try:
            with warnings.catch_warnings():
                # Of what it does not know, such as colours.
                warnings.simplefilter("ignore")
                book = openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False)
            sheets = book.worksheets
            self._sheets = len(sheets)
            self.found = f"XLSX, sheet {sheets[0].title!r}" + (f" of {len(sheets)}" if len(sheets) > 1 else "")
            if formulas := _formulas_without_value(file, sheets[0]):
                self.found += f", formulas without a value, read as empty cells: {formulas} ({_REMEDY})"
            sheets[0].reset_dimensions()  # some programs write that there is one cell, whatever follows
            for number, values in enumerate(sheets[0].iter_rows(values_only=True), 1):
                if number > _MOST_ROWS:
                    raise DataError(f"{self._name}: not a readable workbook (a row with a number above {_MOST_ROWS:,})")
                self._number = number
                if row := _trimmed(values):
                    yield row
        except _DAMAGES as error:
            raise DataError(f"{self._name}: not a readable workbook ({type(error).__name__})", "format") from error


def _formulas_without_value(file: IO[bytes], sheet: Any) -> int:
    """How many cells of a sheet hold a formula that the program which wrote the file has not computed."""
    count, last = 0, b""
    path = sheet._worksheet_path  # noqa: SLF001 - nothing public says in which entry a sheet is
    with zipfile.ZipFile(file) as archive, archive.open(path) as cells:
        while piece := cells.read(_SCANNED):
            count += sum(found.end() > len(last) for found in _WITHOUT_VALUE.finditer(last + piece))
            last = (last + piece)[-_LONGEST_END:]
    return count


def _characters(row: tuple[list[Any], object]) -> int:
    return sum(len(value) for value in row[0] if type(value) is str)


def _trimmed(values: Sequence[Any]) -> list[Any]:
    end = len(values)
    while end and values[end - 1] is None:
        end -= 1
    return list(values[:end])


def _check_size(file: IO[bytes], name: str) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        file.seek(0)
        if file.read(len(OLD_MARK)) == OLD_MARK:
            raise DataError(f"{name}: {OLD}") from error
        raise DataError(f"{name}: not a readable workbook ({error})", "format") from error
    if sum(sizes.values()) > _LARGEST or sizes.get(_TEXTS, 0) > _LARGEST_TEXTS:
        raise DataError(f"{name}: too large a workbook; save it as CSV")
    file.seek(0)
