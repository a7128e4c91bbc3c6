"""Values of JSON as they are kept, so that they can be written again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import orjson

from app.files.lines import RowError

_LEAST_LONG = float(2**63)
_LONGEST_PARSED = 30
"""Digits beyond which nobody needs to look whether 64 bits hold a number."""
_DEEP = 250
"""Brackets from which on it is worth looking whether orjson, which reads deeper than it writes, can write it again."""
_ENDS = "unexpected end of data"
"""What orjson says of an object that goes on in the next line."""
_LONG_NUMBER = re.compile(r"[0-9]{19}")


def as_object(text: str, error_of: Callable[[str], RowError]) -> dict[str, Any]:
    """An object of JSON.

    Raises:
        RowError: made by ``error_of``; not JSON, or not an object.
    """
    try:
        document = parse(text)
    except json.JSONDecodeError as error:
        message = f"not JSON ({error.msg}, column {error.colno})"
        if error.msg == _ENDS:
            message += "; an object must end in its line, or be one of an array"
        raise error_of(message) from error
    if type(document) is not dict:
        raise error_of("not a JSON object")
    return document


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
