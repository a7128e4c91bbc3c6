"""Tables as they are written: the user's columns in their order, then the results."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import orjson

from app.errors import DataError
from app.files.delimited import DelimitedWindow
from app.files.layout import Format, Layout
from app.files.results import Result, ResultColumns
from app.files.table import Kind, Table, Window, check_distinct
from app.files.values import dumps, plain_text

_GZIP_LEVEL = 6


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

    Rows that were read with the same separator are copied as they stand. The others are not written by the csv module,
    which looks at each character in turn and so would cost a tenth of the whole run.
    """

    def __init__(self, header: Sequence[str], columns: Sequence[str], results: ResultColumns, layout: Layout) -> None:
        self._header = [*header, *results.names.values()]
        self._columns = columns
        self._separator = layout.separator

    def head(self) -> bytes:
        return f"{self._record(self._header)}\n".encode()

    def encode(self, window: Window, results: Sequence[Result]) -> bytes:
        separator = self._separator
        if isinstance(window, DelimitedWindow) and window.separator == separator:
            starts: Iterable[str] = window.records
        else:
            starts = map(self._record, window.values(self._columns))
        rows = zip(starts, map(self._record, results), strict=True)
        return "".join([f"{start}{separator}{end}\n" for start, end in rows]).encode()

    def _record(self, values: Iterable[Any]) -> str:
        return self._separator.join([self._quoted(value) for value in values])

    def _quoted(self, value: Any) -> str:
        if value is None:
            return ""
        text = value if type(value) is str else plain_text(value) or ""
        if '"' in text:
            return '"' + text.replace('"', '""') + '"'
        return f'"{text}"' if self._separator in text or "\n" in text or "\r" in text else text


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
    """Compresses what another encoder writes: members of one gzip file (RFC 1952, section 2.2)."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def head(self) -> bytes:
        return _compress(self._encoder.head())

    def encode(self, window: Window, results: Sequence[Result]) -> bytes:
        return _compress(self._encoder.encode(window, results))

    def finish(self, partial: Path, out: Path) -> None:
        self._encoder.finish(partial, out)


def encoder_for(table: Table, results: ResultColumns, layout: Layout) -> Encoder:
    """What writes a table with its results.

    Raises:
        DataError: the format cannot hold the table.
    """
    header: Sequence[str] = getattr(table, "header", None) or list(table.columns)
    if layout.format in (Format.CSV, Format.TSV):
        encoder: Encoder = DelimitedEncoder(header, list(table.columns), results, layout)
    else:
        check_distinct("the table", header)
        encoder = JsonEncoder(results) if layout.format is Format.JSONL else _parquet(table, results)
    return CompressedEncoder(encoder) if layout.compressed else encoder


def _parquet(table: Table, results: ResultColumns) -> Encoder:
    from app.files.parquet import ParquetEncoder

    columns: Mapping[str, Kind] = table.columns
    return ParquetEncoder(columns, results, getattr(table, "schema", None))


def _compress(data: bytes) -> bytes:
    # Without a time in the header: the same rows are the same bytes.
    return gzip.compress(data, _GZIP_LEVEL, mtime=0) if data else b""
