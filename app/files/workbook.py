"""Tables written as workbooks of Excel (.xlsx), by openpyxl, which is imported only where one is.

Nothing in them is computed: what begins like a formula is text, and is marked so that it stays text when somebody edits
it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time
from math import isfinite
from pathlib import Path
from typing import IO, Any
from zipfile import ZIP_DEFLATED, ZipFile

import orjson

from app.errors import DataError
from app.files.results import Result, ResultColumns
from app.files.table import Window, dumps, plain_text

try:
    import openpyxl
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
    from openpyxl.writer.excel import ExcelWriter
except ImportError as error:
    raise DataError(".xlsx needs openpyxl, which is not installed: install 'sentiment-service[files]'") from error

MOST_ROWS = 1_048_576
"""Of a sheet, the header among them."""
_MOST_COLUMNS = 16_384
_LONGEST_CELL = 32_767
"""Characters."""
_CUT = " [cut]"
"""Behind a text that is longer."""
_LONGEST_TITLE = 31
_DIGITS = 15
"""Of a number that Excel keeps."""
_FIRST_YEAR = 1900
"""Of its dates, which have no zones either; other dates are text."""
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,14})?")
_FORMULA = ("=", "+", "-", "@")
_NOT_IN_TITLES = re.compile(r"[\[\]:*?/\\']")
_SURROGATES = re.compile("[\ud800-\udfff\ufffe\uffff]")
_DATE = "date"
"""How a date is marked on its way through JSON."""


def check_rows(rows: int | None) -> None:
    """Refuse what a sheet cannot hold.

    Raises:
        DataError: there are too many rows.
    """
    if rows is not None and rows >= MOST_ROWS:
        raise DataError(
            f"{rows:,} rows and their header do not fit into a sheet of Excel, which has {MOST_ROWS:,}: write CSV or "
            "Parquet, or divide the file"
        )


class Workbook:
    """A workbook that is written row by row, in memory that does not grow with it."""

    def __init__(self) -> None:
        self._book = openpyxl.Workbook(write_only=True)

    def sheet(self, title: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Add a sheet.

        Raises:
            DataError: it has too many rows or columns.
        """
        for _ in self.steps(title, header, [rows]):
            pass

    def steps(self, title: str, header: Sequence[str], windows: Iterable[Iterable[Sequence[Any]]]) -> Iterator[None]:
        """The same with rows that come in pieces; stops after each."""
        if len(header) > _MOST_COLUMNS:
            raise DataError(f"{len(header):,} columns do not fit into a sheet of Excel, which has {_MOST_COLUMNS:,}")
        sheet = self._book.create_sheet(_NOT_IN_TITLES.sub("_", title)[:_LONGEST_TITLE])
        sheet.freeze_panes = "A2"
        sheet.append([self._text(sheet, name) for name in header])
        number = 0
        try:
            for rows in windows:
                for row in rows:
                    number += 1
                    check_rows(number)
                    sheet.append([self._cell(sheet, value) for value in row])
                yield
        finally:
            sheet.close()

    def save(self, file: Path | IO[bytes]) -> None:
        """Write it; once."""
        # Closed also where the disk is full: openpyxl's own archive raises one more error when it is forgotten.
        with ZipFile(file, "w", ZIP_DEFLATED) as archive:
            ExcelWriter(self._book, archive).save()

    def _cell(self, sheet: Any, value: Any) -> Any:
        if value is None or isinstance(value, (bool, time)):
            return value
        if isinstance(value, date) and value.year >= _FIRST_YEAR and getattr(value, "tzinfo", None) is None:
            return value
        if (isinstance(value, float) and isfinite(value)) or (isinstance(value, int) and abs(value) < 10**_DIGITS):
            return value
        text = plain_text(value) or ""
        if _NUMBER.fullmatch(text) and len(text.lstrip("-")) <= _DIGITS + 1:
            return float(text) if "." in text else int(text)
        return self._text(sheet, text)

    @staticmethod
    def _text(sheet: Any, text: str) -> Any:
        clean = _SURROGATES.sub("\ufffd", ILLEGAL_CHARACTERS_RE.sub("\ufffd", text))
        if len(clean) > _LONGEST_CELL:
            clean = clean[: _LONGEST_CELL - len(_CUT)] + _CUT
        cell = WriteOnlyCell(sheet, clean)
        cell.data_type = "s"  # also where it looks like a formula or an error
        if clean.startswith(_FORMULA):
            cell.quotePrefix = True
        return cell


class WorkbookEncoder:
    """Writes a workbook of one sheet; see ``writing.Encoder``. On the way the rows are JSON lines, so that a run can go
    on.

    Args:
        header: names of the user's columns.
        columns: the same as far as they differ.
        results: the columns that are added.
        rows: how many there will be, where that is known.

    Raises:
        DataError: a sheet cannot hold them.
    """

    def __init__(self, header: Sequence[str], columns: Sequence[str], results: ResultColumns, rows: int | None) -> None:
        check_rows(rows)
        self._header = [*header, *results.names.values()]
        self._columns = columns

    def head(self) -> bytes:
        return b""

    def encode(self, window: Window, results: Sequence[Result]) -> bytes:
        rows = zip(window.values(self._columns), results, strict=True)
        return b"".join([dumps([*map(_marked, row), *result], orjson.OPT_APPEND_NEWLINE) for row, result in rows])

    def finish(self, partial: Path, out: Path) -> None:
        """Make the workbook out of the lines."""
        book = Workbook()
        with partial.open("rb") as lines:
            book.sheet("scored", self._header, ([_unmarked(it) for it in orjson.loads(line)] for line in lines))
        book.save(out)


def _marked(value: Any) -> Any:
    return {_DATE: value.isoformat()} if isinstance(value, date) else plain_text(value) if _is_whole(value) else value


def _is_whole(value: Any) -> bool:
    return not isinstance(value, (str, int, float, type(None)))


def _unmarked(value: Any) -> Any:
    return datetime.fromisoformat(value[_DATE]) if isinstance(value, dict) else value
