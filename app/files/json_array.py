"""One array of JSON objects, read piece by piece: a file of any size, in the memory of a row."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from functools import partial
from typing import Any

from app.errors import DataError
from app.files.json_values import as_object
from app.files.lines import LONGEST_ROW, Lines, RowError

_DROPPED_CHARACTERS = 65_536
"""Characters that are kept behind the place of reading before they are given up."""
_decode = json.JSONDecoder().raw_decode


class _Text:
    """The text of a file from the place of reading on.

    Args:
        lines: of the file.
        encoding: of its text.
    """

    def __init__(self, lines: Lines, encoding: str) -> None:
        self.text = ""
        self.at = 0
        self.row = 0
        self._lines = lines
        self._pieces = lines.chunks()
        self._decoder = codecs.getincrementaldecoder(encoding)()

    def more(self) -> bool:
        """Read as much again as there is; False at the end of the file."""
        wanted = 2 * (len(self.text) - self.at)
        grown = False
        while len(self.text) - self.at <= wanted:
            piece = next(self._pieces, b"")
            try:
                self.text += self._decoder.decode(piece, final=not piece)
            except UnicodeError as error:
                raise DataError(f"{self.where}: not {self._lines.encoding}", "encoding") from error
            if not piece:
                return grown
            grown = True
        return True

    def mark(self) -> str:
        """The next character that is no white space; empty at the end of the file."""
        while True:
            while self.at < len(self.text):
                if (character := self.text[self.at]) not in " \t\r\n":
                    return character
                self.at += 1
            if not self.more():
                return ""

    def value(self) -> str:
        """The text of the value that begins here."""
        while True:
            try:
                _, end = _decode(self.text, self.at)
                # Digits may go on behind what has been read.
                if end < len(self.text) or not self.more():
                    break
            except (json.JSONDecodeError, RecursionError) as error:
                if isinstance(error, RecursionError) or len(self.text) - self.at > LONGEST_ROW or not self.more():
                    raise self.error("not JSON, or cut short") from error
        start, self.at = self.at, end
        if end - start > LONGEST_ROW:
            raise self.error(f"more than {LONGEST_ROW} characters")
        found = self.text[start:end]
        if self.at > _DROPPED_CHARACTERS:
            self.text, self.at = self.text[self.at :], 0
        return found

    @property
    def where(self) -> str:
        """What messages call the row at hand."""
        return f"{self._lines.name}, row {self.row}"

    def error(self, message: str) -> DataError:
        """What is wrong with the whole file from here on."""
        return DataError(f"{self.where}: {message}", "format")


def read_array(lines: Lines, encoding: str) -> Iterator[tuple[int, dict[str, Any]] | RowError]:
    """Length and content of each object of the array that a file is, or what is wrong with one.

    Raises:
        DataError: the file is no array, or cannot be read on.
    """
    text = _Text(lines, encoding)
    if text.mark() != "[":
        raise text.error("not an array")
    text.at += 1
    if text.mark() == "]":
        text.at += 1
    else:
        while True:
            text.row += 1
            yield _object(text)
            mark = text.mark()
            text.at += 1
            if mark == "]":
                break
            if mark != "," or not text.mark():
                raise text.error("no comma and no end of the array behind it")
    if text.mark():
        raise text.error("something stands behind the end of the array")


def _object(text: _Text) -> tuple[int, dict[str, Any]] | RowError:
    text.mark()
    raw, where = text.value(), text.where
    error_of = partial(_row_error, where, raw)
    try:
        return len(raw), as_object(raw, error_of)
    except RowError as error:
        return error


def _row_error(where: str, raw: str, message: str) -> RowError:
    return RowError(f"{where}: {message}", raw, "format")
