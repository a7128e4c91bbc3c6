"""JSON: one object a line (NDJSON), whatever its fields, or one array of objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import chain
from typing import IO, Any

from app.errors import BadRowError, DataError
from app.files.json_array import read_array
from app.files.json_values import as_object
from app.files.layout import Format, Layout
from app.files.lines import Lines, RowError
from app.files.options import ReadOptions
from app.files.table import (
    LONGEST_NAME,
    MOST_COLUMNS,
    WINDOW_CHARACTERS,
    WINDOW_ROWS,
    BadRows,
    Kind,
    ObjectsWindow,
    choose_text_path,
    in_windows,
    known_column,
    paths_of,
    value_at,
)

_INTEGERS = range(-(2**63), 2**63)
_KINDS: dict[type, Kind] = {
    str: Kind.TEXT,
    float: Kind.NUMBER,
    bool: Kind.BOOLEAN,
    type(None): Kind.EMPTY,
    dict: Kind.NESTED,
    list: Kind.NESTED,
}
_MAY_HAVE_TEXT = frozenset({Kind.TEXT, Kind.MIXED, Kind.EMPTY})


class JsonTable:
    """A ``Table`` out of JSON: an object a line, or one array of objects.

    Args:
        file: open for reading bytes.
        name: what messages call it.
        layout: how it is written.
        options: how it is read.
        columns: all fields, where ``survey`` has found them; else those of the first object are what is known.

    Raises:
        DataError: empty, damaged, of too many fields, or without that field.
    """

    rows: int | None = None

    def __init__(
        self,
        file: IO[bytes],
        name: str,
        layout: Layout,
        options: ReadOptions,
        columns: Mapping[str, Kind] | None = None,
    ) -> None:
        self.bad = BadRows(options.on_bad_row)
        lines = Lines(file, name, layout, options.encoding)
        array = is_array(lines, layout)
        self._objects = read_array(lines, options.encoding) if array else read_objects(lines)
        self._first = next(self._objects, None)
        if self._first is None:
            raise DataError(f"{name}: the file is empty")
        if columns is None:
            if isinstance(self._first, RowError):
                raise self._first
            note_kinds(columns := {}, self._first[1], lines)
        self.columns: Mapping[str, Kind] = columns
        self._path = choose_text_path(name, list(self.columns), options.text_column)
        if options.text_column is None and not isinstance(self._first, RowError):
            within = self._first[1].get(self._path[0])
            inner = known_column(list(within)) if isinstance(within, dict) else None
            self._path += () if inner is None else (inner,)
        kind = self.columns[self._path[0]]
        if len(self._path) == 1 and kind not in _MAY_HAVE_TEXT:
            raise DataError(f"{name}: column {self._path[0]!r} has {kind} values, not text", "text_column")
        self.text_column = ".".join(self._path)
        self.found = "JSON, an array of objects" if array else "JSON, an object a line"

    def windows(self, rows: int = WINDOW_ROWS, characters: int = WINDOW_CHARACTERS) -> Iterator[ObjectsWindow]:
        """See ``Table.windows``."""
        for window in in_windows(self._rows(), lambda row: row[0], rows, characters):
            yield ObjectsWindow([document for _, document, _ in window], [text for *_, text in window])

    def _rows(self) -> Iterator[tuple[int, dict[str, Any], object]]:
        """Length, content and text of each row that counts."""
        first, self._first = self._first, None
        for found in chain([] if first is None else [first], self._objects):
            if not isinstance(found, RowError):
                yield *found, value_at(found[1], self._path)
            elif (raw := self.bad.take(found)) is not None:
                yield len(raw), {self._path[0]: raw}, BadRowError()


class JsonSurvey:
    """What a first reading finds in JSON.

    Args:
        options: how it is read.

    Attributes:
        kinds: all fields, and what their values are.
        rows: rows that count.
        bad: rows that are not as they should be.
    """

    def __init__(self, options: ReadOptions) -> None:
        self.kinds: dict[str, Kind] = {}
        self.rows = 0
        self.bad = BadRows(options.on_bad_row)
        self._options = options
        self._may_be = paths_of(options.text_column)

    def steps(self, file: IO[bytes], name: str, layout: Layout) -> Iterator[int]:
        """Read on, a row at a time.

        Raises:
            DataError: a row is not as it should be, or none has a text at the path that was asked for.
        """
        lines = Lines(file, name, layout, self._options.encoding)
        encoding, asked = self._options.encoding, len(self._may_be) > 1
        for found in read_array(lines, encoding) if is_array(lines, layout) else read_objects(lines):
            if not isinstance(found, RowError):
                note_kinds(self.kinds, found[1], lines)
                asked = asked and not any(isinstance(value_at(found[1], path), str) for path in self._may_be)
            elif self.bad.take(found) is None:
                continue
            self.rows += 1
            yield self.rows
        if asked and self.rows:
            choose_text_path(name, list(self.kinds), self._options.text_column)
            raise DataError(f"{name}: no row has a text at {self._options.text_column!r}", "text_column")


def is_array(lines: Lines, layout: Layout) -> bool:
    """Whether a file of the format ``json`` is one array; else it has an object a line."""
    return layout.format is Format.JSON and lines.head.lstrip().startswith(b"[")


def read_objects(lines: Lines) -> Iterator[tuple[int, dict[str, Any]] | RowError]:
    """Length and content of each line that is not blank, or what is wrong with it.

    Raises:
        DataError: the file cannot be read on.
    """
    while True:
        lines.begin_row()
        try:
            line = next(lines)
            if not line.isspace():
                yield len(line), as_object(line, partial(lines.row_error, raw=line, options=("format",)))
        except StopIteration:
            return
        except RowError as error:
            yield error


def note_kinds(kinds: dict[str, Kind], document: Mapping[str, Any], lines: Lines) -> None:
    """Add an object's fields to those that are known, and what their values are.

    Raises:
        DataError: more names than may be kept, or too long a one; names the line.
    """
    for name, value in document.items():
        kind = _kind(value)
        known = kinds.get(name)
        if known is None:
            _check_name(name, len(kinds), lines)
            known = kind
        kinds[name] = _both(known, kind)


def _check_name(name: str, known: int, lines: Lines) -> None:
    if known >= MOST_COLUMNS:
        raise lines.error(f"one more field; the limit is {MOST_COLUMNS} different ones in all rows")
    if len(name) > LONGEST_NAME:
        raise lines.error(f"a field's name has {len(name)} characters; the limit is {LONGEST_NAME}")


def _both(one: Kind, other: Kind) -> Kind:
    if one is other or other is Kind.EMPTY:
        return one
    if one is Kind.EMPTY:
        return other
    return Kind.NUMBER if {one, other} == {Kind.INTEGER, Kind.NUMBER} else Kind.MIXED


def _kind(value: Any) -> Kind:
    if type(value) is int:
        return Kind.INTEGER if value in _INTEGERS else Kind.MIXED
    return _KINDS.get(type(value), Kind.MIXED)
