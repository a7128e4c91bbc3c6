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
_LEAST_AGREEMENT = 0.5
"""Share of the first rows that must have more values than one, and as many as the first."""
_SEPARATOR_LINE = re.compile(rb'"?sep=([^"\r\n])"?\r?\n')
_LONGEST_HEADER = 50
_MOST_HEADER_WORDS = 4


def separator_line(head: bytes) -> str | None:
    """The delimiter that Excel's line ``sep=;`` names; None where the file does not begin with one."""
    match = _SEPARATOR_LINE.match(head)
    return match[1].decode("latin-1") if match else None


def find_delimiter(head: str, usual: str, quoting: Quoting, *, whole: bool) -> str:
    """What separates the values: what splits the first row into at least two, and most of the others into as many.

    Args:
        head: the start of the file.
        usual: what counts where it is as good as others, or where nothing does.
        quoting: see ``Quoting``.
        whole: whether that is the whole file.
    """
    # Not splitlines, which also splits at characters that are no line end in a file.
    lines = [f"{line}\n" for line in head.split("\n")]
    if not whole:
        lines.pop()
    agreements = {delimiter: _agreement(lines, delimiter, quoting) for delimiter in (usual, *_DELIMITERS)}
    best = max(agreements, key=agreements.__getitem__)
    return best if agreements[best] > _LEAST_AGREEMENT else usual


def looks_like_a_text(cell: str) -> bool:
    """Whether a cell of the first row is more likely a text than the name of a column."""
    cell = cell.strip()
    return len(cell) > _LONGEST_HEADER or len(cell.split()) > _MOST_HEADER_WORDS or cell.endswith((".", "!", "…"))


def _agreement(lines: Sequence[str], delimiter: str, quoting: Quoting) -> float:
    """Share of the rows that have as many values as the first; 0 where that has only one."""
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
    return widths.count(widths[0]) / len(widths) if widths and widths[0] > 1 else 0.0
