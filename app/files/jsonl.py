"""JSON lines (NDJSON): one object a line, whatever its fields."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import IO, Any

import orjson

from app.errors import DataError
from app.files.layout import Layout
from app.files.lines import Lines
from app.files.table import (
    LONGEST_NAME,
    MOST_COLUMNS,
    WINDOW_CHARACTERS,
    WINDOW_ROWS,
    Kind,
    ObjectsWindow,
    choose_text_column,
)

_INTEGERS = range(-(2**63), 2**63)
_LEAST_LONG = float(2**63)
_LONGEST_PARSED = 30
"""Digits beyond which nobody needs to look whether 64 bits hold a number."""
_DEEP = 250
"""Brackets from which on it is worth looking whether orjson, which reads deeper than it writes, can write it again."""
_LONG_NUMBER = re.compile(r"[0-9]{19}")
_KINDS: dict[type, Kind] = {str: Kind.TEXT, float: Kind.NUMBER, bool: Kind.BOOLEAN, type(None): Kind.EMPTY}


class JsonTable:
    """A ``Table`` out of JSON lines.

    Args:
        file: open for reading bytes.
        name: what messages call it.
        layout: how it is written.
        text_column: the field to classify; None chooses.
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
        text_column: str | None,
        columns: Mapping[str, Kind] | None = None,
    ) -> None:
        lines = Lines(file, name, layout)
        self._objects = read_objects(lines)
        self._first = next(self._objects, None)
        if self._first is None:
            raise DataError(f"{name}: the file is empty")
        if columns is None:
            note_kinds(columns := {}, self._first[1], lines)
        self.columns: Mapping[str, Kind] = columns
        self.text_column = choose_text_column(name, list(self.columns), text_column)

    def windows(self, rows: int = WINDOW_ROWS, characters: int = WINDOW_CHARACTERS) -> Iterator[ObjectsWindow]:
        """See ``Table.windows``."""
        window: list[dict[str, Any]] = []
        size = 0
        for length, document in self._from_first():
            window.append(document)
            size += length
            if len(window) >= rows or size >= characters:
                yield ObjectsWindow(window, self.text_column)
                window, size = [], 0
        if window:
            yield ObjectsWindow(window, self.text_column)

    def _from_first(self) -> Iterator[tuple[int, dict[str, Any]]]:
        first, self._first = self._first, None
        if first is not None:
            yield first
        yield from self._objects


def read_objects(lines: Lines) -> Iterator[tuple[int, dict[str, Any]]]:
    """Length and content of each line that is not blank.

    Raises:
        DataError: a line is not a JSON object.
    """
    for line in lines:
        lines.begin_row()
        if line.isspace():
            continue
        try:
            document = parse(line)
        except json.JSONDecodeError as error:
            raise lines.error(f"not JSON ({error.msg}, column {error.colno})") from error
        if type(document) is not dict:
            raise lines.error("not a JSON object")
        yield len(line), document


def parse(line: str) -> Any:
    """A line of JSON. A whole number that no 64 bits hold is an ``orjson.Fragment``, which is written as it was read.

    orjson itself makes the nearest float of such a number, or refuses it.

    Raises:
        json.JSONDecodeError: not JSON.
    """
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError:
        if not _LONG_NUMBER.search(line):
            raise
        return _parse_exactly(line)
    if _may_have_long(document):
        return _parse_exactly(line)
    if line.count("[") + line.count("{") > _DEEP:
        _check_writable(document, line)
    return document


def _may_have_long(document: Any) -> bool:
    """Whether a number in it may have been a whole one that became a float."""
    waiting = [document]
    while waiting:
        value = waiting.pop()
        kind = type(value)
        if kind is dict:
            waiting.extend(value.values())
        elif kind is list:
            waiting.extend(value)
        elif kind is float and abs(value) >= _LEAST_LONG:
            return True
    return False


def _parse_exactly(line: str) -> Any:
    try:
        document = json.loads(line, parse_int=_whole_number, parse_float=orjson.loads, parse_constant=orjson.loads)
    except RecursionError as error:
        raise json.JSONDecodeError(str(error), line, 0) from None
    _check_writable(document, line)
    return document


def _check_writable(document: Any, line: str) -> None:
    """Refuse what orjson does not write: what is nested too deep, or has half of a surrogate pair."""
    try:
        orjson.dumps(document)
    except TypeError as error:
        raise json.JSONDecodeError(str(error), line, 0) from None


def _whole_number(digits: str) -> Any:
    number = orjson.loads(digits) if len(digits) < _LONGEST_PARSED else None
    return number if type(number) is int else orjson.Fragment(digits)


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
