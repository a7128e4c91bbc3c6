"""Tables as they are read: windows of rows, whatever the format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, Protocol

from app.errors import DataError

WINDOW_ROWS = 4096
WINDOW_CHARACTERS = 8 << 20
"""A window ends after so many rows or characters, whichever comes first: the unit of sorting, writing and resuming."""

MOST_COLUMNS = 10_000
"""Most columns of a table, whose names are in memory all at once; of JSON lines, most fields in all rows together."""
LONGEST_NAME = 1_000
"""Most characters of the name of a field, likewise."""

_USUAL_NAMES = ("text", "review")


class Kind(StrEnum):
    """What the values of a column are."""

    EMPTY = "empty"
    """Null everywhere, as far as is known."""
    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    MIXED = "mixed"
    """Objects, lists, or values of several kinds: text where a format must know types."""


class Window(Protocol):
    """Some rows of a table, in order."""

    def __len__(self) -> int: ...

    @property
    def texts(self) -> list[object]:
        """The text column; anything but a string cannot be classified."""
        ...

    def values(self, columns: Sequence[str]) -> Sequence[Sequence[Any]]:
        """The values of each row, in the order of the columns; None where a row has none."""
        ...

    def objects(self) -> Sequence[Mapping[str, Any]]:
        """Each row as an object."""
        ...


class Table(Protocol):
    """A table that is read once, from its first row to its last.

    Attributes:
        columns: its columns in order, as far as they are known, and what their values are.
        text_column: the column that is classified.
        rows: number of rows, where it is known without reading them.
    """

    columns: Mapping[str, Kind]
    text_column: str
    rows: int | None

    def windows(self, rows: int = WINDOW_ROWS, characters: int = WINDOW_CHARACTERS) -> Iterator[Window]:
        """The rows. The same file is always cut in the same way.

        Raises:
            DataError: the file is not as it should be; the message names file and line.
        """
        ...


class ValuesWindow:
    """Rows as lists of values, one per column."""

    def __init__(self, columns: Sequence[str], rows: list[list[str]], text: int) -> None:
        self._columns = columns
        self._rows = rows
        self._text = text

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def texts(self) -> list[object]:
        return [row[self._text] for row in self._rows]

    def values(self, columns: Sequence[str]) -> Sequence[Sequence[Any]]:
        return self._rows

    def objects(self) -> Sequence[Mapping[str, Any]]:
        return [dict(zip(self._columns, row, strict=True)) for row in self._rows]


class ObjectsWindow:
    """Rows as objects, which need not have the same fields."""

    def __init__(self, rows: list[dict[str, Any]], text: str) -> None:
        self._rows = rows
        self._text = text

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def texts(self) -> list[object]:
        return [row.get(self._text) for row in self._rows]

    def values(self, columns: Sequence[str]) -> Sequence[Sequence[Any]]:
        return [[row.get(column) for column in columns] for row in self._rows]

    def objects(self) -> Sequence[Mapping[str, Any]]:
        return self._rows


def choose_text_column(name: str, columns: Sequence[str], given: str | None) -> str:
    """The column to classify: the one that is asked for, else ``text`` or ``review``, else the only one.

    Raises:
        DataError: there is no such column; the message lists those there are.
    """
    if given is not None and given in columns:
        return given
    listed = ", ".join(repr(column[:60]) for column in columns[:20]) + (" ..." if len(columns) > 20 else "")
    if given is not None:
        raise DataError(f"{name}: no column {given!r}; there are {listed}")
    for usual in _USUAL_NAMES:
        if usual in columns:
            return usual
    if len(columns) == 1:
        return columns[0]
    raise DataError(f"{name}: which column has the texts? There are {listed}")


def check_distinct(name: str, columns: Sequence[str]) -> None:
    """Refuse a table that names two columns alike.

    Raises:
        DataError: it does.
    """
    seen: set[str] = set()
    for column in columns:
        if column in seen:
            raise DataError(f"{name}: two columns are named {column!r}")
        seen.add(column)
