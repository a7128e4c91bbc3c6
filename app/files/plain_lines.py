"""Lines of text: each is a text, and a row of the one column ``text``. Blank lines are rows too, so that their number
stays that of the lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import IO

from app.errors import BadRowError, DataError
from app.files.layout import Layout
from app.files.lines import Lines, RowError
from app.files.options import OnBadRow, ReadOptions
from app.files.table import WINDOW_CHARACTERS, WINDOW_ROWS, BadRows, Kind, ValuesWindow, choose_text_column, in_windows

_COLUMN = "text"


class LinesTable:
    """A ``Table`` out of lines of text.

    Args:
        file: open for reading bytes.
        name: what messages call it.
        layout: how it is written.
        options: how it is read.

    Raises:
        DataError: empty, damaged, or of another format, where nobody said that it is this one.
    """

    rows: int | None = None

    def __init__(self, file: IO[bytes], name: str, layout: Layout, options: ReadOptions) -> None:
        self.bad = BadRows(options.on_bad_row)
        self._lines = Lines(file, name, layout, options.encoding, guess=options.on_bad_row is OnBadRow.ERROR)
        self.found = f"lines of text{self._lines.guessed}"
        if not self._lines.head:
            raise DataError(f"{name}: the file is empty")
        if options.format is None:
            self._lines.refuse_other_formats()
        self.columns: Mapping[str, Kind] = {_COLUMN: Kind.TEXT}
        self.text_column = choose_text_column(name, [_COLUMN], options.text_column)

    def windows(self, rows: int = WINDOW_ROWS, characters: int = WINDOW_CHARACTERS) -> Iterator[ValuesWindow]:
        """See ``Table.windows``."""
        for window in in_windows(self._rows(), lambda row: len(row[0]), rows, characters):
            yield ValuesWindow([_COLUMN], [[line] for line, _ in window], [text for _, text in window])

    def _rows(self) -> Iterator[tuple[str, object]]:
        while True:
            self._lines.begin_row()
            try:
                line = next(self._lines).rstrip("\r\n")
            except StopIteration:
                return
            except RowError as error:
                if (raw := self.bad.take(error)) is not None:
                    yield raw, BadRowError()
                continue
            yield line, line
