"""Opens tables of every format, and looks through them before anything is computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import IO

from app.files.delimited import DelimitedTable
from app.files.jsonl import JsonSurvey, JsonTable
from app.files.layout import Format, Layout
from app.files.options import ReadOptions
from app.files.plain_lines import LinesTable
from app.files.table import WINDOW_ROWS, BadRows, Kind, Table

_JSON = (Format.JSON, Format.JSONL)


def open_table(
    file: IO[bytes], name: str, layout: Layout, options: ReadOptions, columns: Mapping[str, Kind] | None = None
) -> Table:
    """A table, read from where the file stands.

    Args:
        file: open for reading bytes; Parquet and XLSX must be seekable.
        name: what messages call it.
        layout: how it is written.
        options: how it is read.
        columns: what a survey has found.

    Raises:
        DataError: empty, damaged, of another format, or without the text column.
    """
    if layout.format is Format.PARQUET:
        from app.files.parquet import ParquetTable

        return ParquetTable(file, name, options.text_column)
    if layout.format is Format.XLSX:
        from app.files.spreadsheet import SheetTable

        return SheetTable(file, name, options)
    if layout.format in _JSON:
        return JsonTable(file, name, layout, options, columns)
    if layout.format is Format.LINES:
        return LinesTable(file, name, layout, options)
    return DelimitedTable(file, name, layout, options)


class Survey:
    """A first reading of the whole file, so that what is off with it is said before anything is computed.

    Attributes:
        rows: rows so far.
        columns: columns, and what their values are; None: the table says it itself.
        bad: rows that are not as they should be.
    """

    def __init__(self, options: ReadOptions) -> None:
        self.rows = 0
        self.columns: dict[str, Kind] | None = None
        self.bad = BadRows(options.on_bad_row)
        self._options = options

    def steps(self, file: IO[bytes], name: str, layout: Layout, rows: int = WINDOW_ROWS) -> Iterator[int]:
        """Read on in steps of some rows, and back to the start at the end. See ``open_table``.

        Raises:
            DataError: a row is not as it should be; the message names file and line.
        """
        if layout.format in _JSON:
            survey = JsonSurvey(self._options)
            self.columns, self.bad = survey.kinds, survey.bad
            for self.rows in survey.steps(file, name, layout):
                if self.rows % rows == 0:
                    yield self.rows
        else:
            table = open_table(file, name, layout, self._options)
            self.bad = table.bad
            if table.rows is not None:
                self.rows = table.rows
            else:
                for window in table.windows(rows):
                    self.rows += len(window)
                    yield self.rows
        file.seek(0)
