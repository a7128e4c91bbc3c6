"""Tables as they are written: the user's columns in their order, then the results."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import orjson

from app.errors import DataError
from app.files.compression import compressor
from app.files.delimited import DelimitedWindow, RecordWriter
from app.files.layout import DELIMITED, Compression, Format
from app.files.results import Result, ResultColumns
from app.files.table import Table, Window, check_distinct, dumps, header_of, plain_text

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What a cell begins with that spreadsheets may compute instead of showing (OWASP, CSV injection)."""
_NUMBER = re.compile(r"[+-]?[0-9]+([.,][0-9]+)?")


@dataclass(frozen=True, slots=True)
class Style:
    """How results are written.

    Attributes:
        format: their format.
        compression: what the file is compressed with.
        delimiter: between the values of CSV.
        escape_formulas: whether values of CSV and TSV that a spreadsheet would compute get an apostrophe before them.
    """

    format: Format
    compression: Compression = Compression.NONE
    delimiter: str = ","
    escape_formulas: bool = False

    @property
    def separator(self) -> str:
        """What separates values in a line."""
        return "\t" if self.format is Format.TSV else self.delimiter


class Encoder(Protocol):
    """Rows to bytes. What it gives for a window depends on nothing but that window."""

    def head(self) -> bytes:
        """What stands before the first row."""
        ...

    def encode(self, window: Window, results: Sequence[Result]) -> bytes:
        """Rows with what was said of each."""
        ...

    def finish(self, partial: Path, out: Path) -> None:
        """Make the file ``out`` of a file with everything that was encoded, which may be moved."""
        ...


class _Appended:
    """What is complete as it is written."""

    def finish(self, partial: Path, out: Path) -> None:
        partial.rename(out)


class DelimitedEncoder(_Appended):
    """Writes CSV (RFC 4180, but lines end as files of this system do) and TSV.

    Rows that were read with the same separator are copied as they stand.

    Args:
        header: names of the user's columns.
        columns: the same as far as they differ.
        results: the columns that are added.
        style: how it is written.
    """

    def __init__(self, header: Sequence[str], columns: Sequence[str], results: ResultColumns, style: Style) -> None:
        self._header = [*header, *results.names.values()]
        self._columns = columns
        self._separator = style.separator
        self._as_cell = harmless if style.escape_formulas else _plain
        self._copies = not style.escape_formulas
        self._writer = RecordWriter(style.separator)

    def head(self) -> bytes:
        return f"{self._records([self._header])[0]}\n".encode()

    def encode(self, window: Window, results: Sequence[Result]) -> bytes:
        separator = self._separator
        if self._copies and isinstance(window, DelimitedWindow) and window.separator == separator:
            rows = zip(window.records, self._records(results), strict=True)
            return "".join([f"{start}{separator}{end}\n" for start, end in rows]).encode()
        values = zip(window.values(self._columns), results, strict=True)
        return "".join([f"{record}\n" for record in self._records((*row, *result) for row, result in values)]).encode()

    def _records(self, rows: Iterable[Iterable[Any]]) -> list[str]:
        return self._writer.records([self._as_cell(value) for value in row] for row in rows)


def _plain(value: Any) -> Any:
    return value if type(value) is str else plain_text(value)


def harmless(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: an apostrophe stands before one, and it is shown as text."""
    text = _plain(value)
    return (
        f"'{text}"
        if type(value) is str and value.lstrip(" ").startswith(_FORMULA) and not _NUMBER.fullmatch(value)
        else text
    )


class JsonEncoder(_Appended):
    """Writes JSON lines."""

    def __init__(self, results: ResultColumns) -> None:
        self._names = tuple(results.names.values())

    def head(self) -> bytes:
        return b""

    def encode(self, window: Window, results: Sequence[Result]) -> bytes:
        names = self._names
        taken = set(names)
        lines = []
        for row, result in zip(window.objects(), results, strict=True):
            if not taken.isdisjoint(row):
                raise DataError(f"a row has a field {min(taken & row.keys())!r}, which earlier rows do not have")
            lines.append(dumps({**row, **dict(zip(names, result, strict=True))}, orjson.OPT_APPEND_NEWLINE))
        return b"".join(lines)


class CompressedEncoder:
    """Compresses what another encoder writes: members of one gzip file (RFC 1952, section 2.2), streams of bzip2
    and xz, frames of Zstandard.

    Args:
        encoder: writes.
        compression: what with.
    """

    def __init__(self, encoder: Encoder, compression: Compression) -> None:
        self._encoder = encoder
        self._compress = compressor(compression)

    def head(self) -> bytes:
        return self._compressed(self._encoder.head())

    def encode(self, window: Window, results: Sequence[Result]) -> bytes:
        return self._compressed(self._encoder.encode(window, results))

    def finish(self, partial: Path, out: Path) -> None:
        self._encoder.finish(partial, out)

    def _compressed(self, data: bytes) -> bytes:
        return self._compress(data) if data else b""


def encoder_for(table: Table, results: ResultColumns, style: Style) -> Encoder:
    """What writes a table with its results.

    Raises:
        DataError: the format cannot hold the table.
    """
    header = header_of(table)
    if style.format in DELIMITED:
        encoder: Encoder = DelimitedEncoder(header, list(table.columns), results, style)
    elif style.format is Format.XLSX:
        from app.files.workbook import WorkbookEncoder

        encoder = WorkbookEncoder(header, list(table.columns), results, table.rows)
    else:
        check_distinct("the table", header)
        if style.format is Format.JSONL:
            encoder = JsonEncoder(results)
        else:
            from app.files.parquet import ParquetEncoder

            encoder = ParquetEncoder(table.columns, results, getattr(table, "schema", None))
    return CompressedEncoder(encoder, style.compression) if style.compression else encoder
