"""What the first lines of a CSV file tell: its delimiter, and whether the first row can be a header."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from typing import Literal

from app.files.options import Quoting

QUOTING: dict[Quoting, Literal[0, 3]] = {Quoting.STANDARD: csv.QUOTE_MINIMAL, Quoting.NONE: csv.QUOTE_NONE}
"""As the csv module calls them."""

_DELIMITERS = (",", ";", "\t", "|")
_AGREEMENT = 0.9
"""Share of the first rows that must have as many values as the first."""
_SEPARATOR_LINE = re.compile(rb'"?sep=([^"\r\n])"?\r?\n')
_LONGEST_HEADER = 50
_MOST_HEADER_WORDS = 4


def separator_line(head: bytes) -> str | None:
    """The delimiter that Excel's line ``sep=;`` names; None where the file does not begin with one."""
    match = _SEPARATOR_LINE.match(head)
    return match[1].decode("latin-1") if match else None


def find_delimiter(head: str, usual: str, quoting: Quoting, *, whole: bool) -> str:
    """What separates the values: what splits the first rows into the same number of values, at least two.

    Args:
        head: the start of the file.
        usual: what counts where it does, or where nothing does.
        quoting: see ``Quoting``.
        whole: whether that is the whole file.
    """
    # Not splitlines, which also splits at characters that are no line end in a file.
    lines = [f"{line}\n" for line in head.split("\n")]
    if not whole:
        lines.pop()
    widths = {delimiter: _width(lines, delimiter, quoting) for delimiter in _DELIMITERS}
    widths[usual] = widths.get(usual) or _width(lines, usual, quoting)
    if widths[usual] > 1:
        return usual
    best = max(_DELIMITERS, key=widths.__getitem__)
    return best if widths[best] > 1 else usual


def looks_like_a_text(cell: str) -> bool:
    """Whether a cell of the first row is more likely a text than the name of a column."""
    cell = cell.strip()
    return len(cell) > _LONGEST_HEADER or len(cell.split()) > _MOST_HEADER_WORDS or cell.endswith((".", "!", "…"))


def _width(lines: Sequence[str], delimiter: str, quoting: Quoting) -> int:
    """Values in the first row, where most rows have as many; else 0."""
    widths: list[int] = []
    reader = csv.reader(lines, delimiter=delimiter, quoting=QUOTING[quoting], strict=True)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            break
        except csv.Error:
            widths.append(0)
            continue
        if row:
            widths.append(len(row))
    # The last row may go on behind the head.
    widths = widths[:-1] if widths and widths[-1] == 0 else widths
    if not widths or widths.count(widths[0]) < _AGREEMENT * len(widths):
        return 0
    return widths[0]
