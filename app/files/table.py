"""Tables as they are read: windows of rows, whatever the format."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from math import isfinite, isnan
from typing import Any, Protocol, TypeVar

import orjson

from app.errors import DataError
from app.files.lines import RowError
from app.files.options import OnBadRow

R = TypeVar("R")

WINDOW_ROWS = 4096
WINDOW_CHARACTERS = 8 << 20
"""A window ends after so many rows or characters, whichever comes first: the unit of sorting, writing and resuming."""

MOST_COLUMNS = 10_000
"""Most columns of a table, whose names are in memory all at once; of JSON lines, most fields in all rows together."""
LONGEST_NAME = 1_000
"""Most characters of the name of a field, likewise."""

USUAL_NAMES = (
    *("text", "review", "reviewtext", "reviewbody", "comment", "comments", "content", "body", "message", "sentence"),
    *("feedback", "reviews", "texts"),
)
"""What columns of texts are usually called, the likeliest first; case, spaces and marks between words do not count."""
_NOTHING = frozenset({"na", "nan", "none", "null", "n/a", "-", "#n/a", "<na>"})
_LONGEST_NOTHING = 16


class NoTextColumnError(DataError):
    """Nobody said which of several columns has the texts, and no name tells.

    Attributes:
        columns: those there are.
    """

    def __init__(self, message: str, columns: Sequence[str]) -> None:
        super().__init__(message, "text_column", "no_header")
        self.columns = columns


class Kind(StrEnum):
    """What the values of a column are."""

    EMPTY = "empty"
    """Null everywhere, as far as is known."""
    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    NESTED = "nested"
    """Objects and lists: text where a format must know types."""
    MIXED = "mixed"
    """Values of several kinds, or of kinds that are not looked at: text likewise."""


class Window(Protocol):
    """Some rows of a table, in order."""

    def __len__(self) -> int: ...

    @property
    def texts(self) -> list[object]:
        """What is to be classified, or the ``TextError`` of a row that was not as it should be; anything else cannot be
        classified."""
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
        found: what the file was found to be, for people.
        bad: rows so far that were not as they should be, and were not refused.
    """

    columns: Mapping[str, Kind]
    text_column: str
    rows: int | None
    found: str
    bad: BadRows

    def windows(self, rows: int = WINDOW_ROWS, characters: int = WINDOW_CHARACTERS) -> Iterator[Window]:
        """The rows. The same file is always cut in the same way.

        Raises:
            DataError: the file is not as it should be; the message names file and line.
        """
        ...


class BadRows:
    """What becomes of rows that are not as they should be.

    Args:
        policy: see ``OnBadRow``.

    Attributes:
        count: how many there were.
        first: what was wrong with the first.
    """

    def __init__(self, policy: OnBadRow) -> None:
        self.policy = policy
        self.count = 0
        self.first = ""

    def take(self, error: RowError) -> str | None:
        """What stood in such a row, where it is to be marked; None where it is to be left out.

        Raises:
            RowError: neither.
        """
        if self.policy is OnBadRow.ERROR:
            raise error
        self.count += 1
        self.first = self.first or str(error)
        return error.raw if self.policy is OnBadRow.MARK else None


class ValuesWindow:
    """Rows as lists of values, one per column.

    Args:
        columns: their names.
        rows: the values.
        texts: of each row, what is to be classified.
    """

    def __init__(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], texts: list[object]) -> None:
        self._columns = columns
        self._rows = rows
        self.texts = texts

    def __len__(self) -> int:
        return len(self._rows)

    def values(self, columns: Sequence[str]) -> Sequence[Sequence[Any]]:
        return self._rows

    def objects(self) -> Sequence[Mapping[str, Any]]:
        return [dict(zip(self._columns, row, strict=True)) for row in self._rows]


def in_windows(rows: Iterable[R], size_of: Callable[[R], int], most: int, characters: int) -> Iterator[list[R]]:
    """Rows by the window: a window ends after so many rows or characters.

    Args:
        rows: in order.
        size_of: characters of a row.
        most: rows of a window.
        characters: likewise.
    """
    window: list[R] = []
    size = 0
    for row in rows:
        window.append(row)
        size += size_of(row)
        if len(window) >= most or size >= characters:
            yield window
            window, size = [], 0
    if window:
        yield window


class ObjectsWindow:
    """Rows as objects, which need not have the same fields."""

    def __init__(self, rows: list[dict[str, Any]], texts: list[object]) -> None:
        self._rows = rows
        self.texts = texts

    def __len__(self) -> int:
        return len(self._rows)

    def values(self, columns: Sequence[str]) -> Sequence[Sequence[Any]]:
        return [[row.get(column) for column in columns] for row in self._rows]

    def objects(self) -> Sequence[Mapping[str, Any]]:
        return self._rows


def is_nothing(text: str) -> bool:
    """Whether a cell says that there is nothing: empty, ``NA``, ``null`` and the like."""
    if len(text) > _LONGEST_NOTHING:
        return text.isspace()
    stripped = text.strip()
    return not stripped or stripped.lower() in _NOTHING


def texts_of(window: Window, *, keep_na: bool) -> list[object]:
    """The texts of a window, None for a cell that says that there is nothing.

    Args:
        window: some rows.
        keep_na: whether ``NA`` and the like are texts.
    """
    if keep_na:
        return window.texts
    return [None if isinstance(text, str) and is_nothing(text) else text for text in window.texts]


def known_column(columns: Sequence[str]) -> str | None:
    """The column whose name is one of ``USUAL_NAMES``; None where there is none."""
    plain = ["".join(filter(str.isalnum, column)).lower() for column in columns]
    for usual in USUAL_NAMES:
        if usual in columns:
            return usual
        if usual in plain:
            return columns[plain.index(usual)]
    return None


def usual_column(columns: Sequence[str]) -> str | None:
    """The column that is likely to have the texts: ``known_column``, else the only one there is; else None."""
    return known_column(columns) or (columns[0] if len(columns) == 1 and columns[0].strip() else None)


def choose_text_column(name: str, columns: Sequence[str], given: str | None) -> str:
    """The column to classify: the one that is asked for, else what ``usual_column`` finds.

    Raises:
        DataError: there is no such column; the message lists those there are.
    """
    if given is not None and given in columns:
        return given
    listed = ", ".join(repr(column[:60]) for column in columns[:20]) + (" ..." if len(columns) > 20 else "")
    if given is not None:
        raise DataError(f"{name}: no column {given!r}; there are {listed}", "text_column", "delimiter", "no_header")
    if (usual := usual_column(columns)) is not None:
        return usual
    raise NoTextColumnError(f"{name}: which column has the texts? There are {listed}", columns)


def choose_text_path(name: str, columns: Sequence[str], given: str | None) -> tuple[str, ...]:
    """Likewise, of tables whose values may be objects: ``review.text`` is the field ``text`` of the field ``review``
    where no column has that whole name.

    Raises:
        DataError: see ``choose_text_column``.
    """
    for path in paths_of(given):
        if path[0] in columns:
            return path
    return (choose_text_column(name, columns, given),)


def paths_of(given: str | None) -> list[tuple[str, ...]]:
    """All that a name with dots may mean: one field, or fields of fields."""
    if given is None:
        return []
    parts = given.split(".")
    return [(".".join(parts[:end]), *parts[end:]) for end in range(len(parts), 0, -1)]


def value_at(row: Mapping[str, Any], path: Sequence[str]) -> Any:
    """What stands at a path of fields; None where it ends early."""
    value: Any = row
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def header_of(table: Table) -> list[str]:
    """The columns of a table in the order of its values."""
    return list(getattr(table, "header", None) or table.columns)


def check_distinct(name: str, columns: Sequence[str]) -> None:
    """Refuse a table that names two columns alike, which only CSV and TSV can hold.

    Raises:
        DataError: it does.
    """
    seen: set[str] = set()
    for column in columns:
        if column in seen:
            raise DataError(f"{name}: two columns are named {column!r}, which only CSV and TSV can hold")
        seen.add(column)


def plain_text(value: Any) -> str | None:
    """A value as text: text as it is, nothing for null and what is no number, everything else as JSON has it."""
    if value is None or type(value) is str:
        return value
    if type(value) is float and not isfinite(value):
        return None if isnan(value) else str(value)
    return dumps(value).decode().strip('"')


def dumps(value: Any, option: int | None = None) -> bytes:
    """JSON of what any format may hold; what JSON has no type for becomes text."""
    return orjson.dumps(value, default=_as_json, option=option)


def _as_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value)
