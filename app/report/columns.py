"""Which columns of a scored file are what: those that ``classify`` added, and those that a person asked for."""

from __future__ import annotations

import re
from collections.abc import Sequence

from app.errors import DataError, OptionError
from app.files.results import KINDS, PREFIX

_LABEL = re.compile(rf"(?:{PREFIX}(?:[0-9]+_)?)?label")
_ALWAYS = tuple(name for name in KINDS if name != "rating")
"""What is added to every file; ``rating`` only where the model has them."""
_MOST_GROUPINGS = 10
_LISTED = 20
_LONGEST_LISTED = 60


def result_columns(name: str, header: Sequence[str]) -> dict[str, str]:
    """The columns that ``classify`` added, by what they are. Of a file that was scored twice, those added last.

    Args:
        name: what messages call the file.
        header: its columns.

    Raises:
        DataError: there are none, so the file was not scored.
    """
    for column in reversed(header):
        if _LABEL.fullmatch(column):
            prefix = column.removesuffix("label")
            if all(prefix + kind in header for kind in _ALWAYS):
                return {kind: prefix + kind for kind in KINDS if prefix + kind in header}
    raise DataError(
        f"{name}: this file was not scored: it has no columns {', '.join(_ALWAYS[:-1])} and {_ALWAYS[-1]}, which "
        f"classify adds. Score it first, and report on what that writes"
    )


def place_of(name: str, header: Sequence[str], column: str, option: str) -> int:
    """Where a column stands.

    Args:
        name: what messages call the file.
        header: its columns.
        column: the one that is asked for.
        option: the option that asks.

    Raises:
        DataError: there is none, or more than one; the message lists those there are.
    """
    if header.count(column) == 1:
        return header.index(column)
    if column in header:
        raise DataError(f"{name}: two columns are named {column[:_LONGEST_LISTED]!r}", option)
    listed = ", ".join(repr(one[:_LONGEST_LISTED]) for one in header[:_LISTED])
    more = " ..." if len(header) > _LISTED else ""
    raise DataError(f"{name}: no column {column[:_LONGEST_LISTED]!r}; there are {listed}{more}", option)


def check_groups(columns: Sequence[str]) -> tuple[str, ...]:
    """Each column once.

    Raises:
        OptionError: they are too many.
    """
    groups = tuple(dict.fromkeys(columns))
    if len(groups) > _MOST_GROUPINGS:
        raise OptionError("group_by", f"at most {_MOST_GROUPINGS} columns (got {len(groups)})")
    return groups
