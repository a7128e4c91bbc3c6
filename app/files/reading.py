"""Opens tables of every format, and looks through them before anything is computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import IO

from app.files.delimited import DelimitedTable
from app.files.jsonl import JsonTable, note_kinds, read_objects
from app.files.layout import Format, Layout
from app.files.lines import Lines
from app.files.table import WINDOW_ROWS, Kind, Table


def open_table(
    file: IO[bytes], name: str, layout: Layout, text_column: str | None, columns: Mapping[str, Kind] | None = None
) -> Table:
    """A table, read from where the file stands.

    Args:
        file: open for reading bytes; Parquet must be seekable.
        name: what messages call it.
        layout: how it is written.
        text_column: the column to classify; None chooses.
        columns: what a survey has found.

    Raises:
        DataError: empty, damaged, or without that column.
    """
    if layout.format is Format.PARQUET:
        from app.files.parquet import ParquetTable

        return ParquetTable(file, name, text_column)
    if layout.format is Format.JSONL:
        return JsonTable(file, name, layout, text_column, columns)
    return DelimitedTable(file, name, layout, text_column)


class Survey:
    """A first reading of the whole file, so that what is off with it is said before anything is computed.

    Attributes:
        rows: rows so far.
        columns: columns so far, and what their values are; None: the table says it itself.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.columns: dict[str, Kind] | None = None

    def steps(
        self, file: IO[bytes], name: str, layout: Layout, text_column: str | None, rows: int = WINDOW_ROWS
    ) -> Iterator[int]:
        """Read on in steps of some rows, and back to the start at the end. See ``open_table``.

        Raises:
            DataError: a row is not as it should be; the message names file and line.
        """
        if layout.format is Format.PARQUET:
            self.rows = open_table(file, name, layout, text_column).rows or 0
        elif layout.format is Format.JSONL:
            kinds = self.columns = {}
            lines = Lines(file, name, layout)
            for _, document in read_objects(lines):
                note_kinds(kinds, document, lines)
                self.rows += 1
                if self.rows % rows == 0:
                    yield self.rows
        else:
            for window in DelimitedTable(file, name, layout, text_column).windows(rows):
                self.rows += len(window)
                yield self.rows
        file.seek(0)
