"""What is counted of rows: labels, how far to trust them, errors; of all rows, and by the values of a column."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from app.files.table import LONGEST_NAME, is_nothing, plain_text

MOST_GROUPS = 5_000
"""Values of a column that are counted one by one; rows with further ones are counted together."""
NO_VALUE = "(no value)"
_KNOWN = ("negative", "neutral", "mixed", "positive")


@dataclass
class Tally:
    """Some rows.

    Attributes:
        labels: those with a label that can be trusted or is unsure, by label.
        unsure: how many of these are unsure, by label.
        unreadable: those whose text is hardly of words that the model knows; their label counts nowhere.
        errors: those without a label, by the code of their error.
    """

    labels: Counter[str] = field(default_factory=Counter)
    unsure: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def readable(self) -> int:
        """Rows whose label counts: what shares are shares of."""
        return self.labels.total()

    @property
    def rows(self) -> int:
        """All rows."""
        return self.readable + self.unreadable + self.errors.total()

    def add(self, label: str | None, judgement: str | None, error: str | None) -> None:
        """Count a row."""
        if label is None:
            self.errors[error or "unknown"] += 1
        elif judgement == "unreadable":
            self.unreadable += 1
        else:
            self.labels[label] += 1
            if judgement == "unsure":
                self.unsure[label] += 1

    def share(self, label: str) -> float:
        """A label's share of the readable rows."""
        return self.labels[label] / max(1, self.readable)


class Groups:
    """Rows by the values of a column.

    Args:
        column: its name.
    """

    def __init__(self, column: str) -> None:
        self.column = column
        self.tallies: dict[str, Tally] = {}
        self.further = Tally()

    def tally(self, value: Any) -> Tally:
        """The rows with a value, so far."""
        name = group_name(value)
        tally = self.tallies.get(name)
        if tally is None:
            if len(self.tallies) >= MOST_GROUPS:
                return self.further
            tally = self.tallies[name] = Tally()
        return tally

    def largest_first(self) -> list[tuple[str, Tally]]:
        """The values, those with most rows first."""
        return sorted(self.tallies.items(), key=lambda item: (-item[1].rows, item[0]))


def group_name(value: Any) -> str:
    """A value as the name of a group."""
    text = (plain_text(value) or "")[:LONGEST_NAME].strip()
    return NO_VALUE if is_nothing(text) else text


def in_order(labels: Counter[str]) -> list[str]:
    """Labels from bad to good, where they say so, else by their names."""
    if labels.keys() <= set(_KNOWN):
        return [label for label in _KNOWN if label in labels]
    return sorted(labels)
