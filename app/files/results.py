"""What is said of each row, the names of the columns it goes into, and the sum of it all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from app.files.table import Kind
from app.sentiment import Outcome, Prediction

Result = tuple[Any, ...]
"""Values of the added columns of one row, in their order."""

PREFIX = "sentiment_"
KINDS = {
    "label": Kind.TEXT,
    "score": Kind.NUMBER,
    "rating": Kind.NUMBER,
    "tokens": Kind.INTEGER,
    "truncated": Kind.BOOLEAN,
    "unknown": Kind.NUMBER,
    "judgement": Kind.TEXT,
    "error": Kind.TEXT,
}
"""The columns that are added, in their order, and what their values are; ``rating`` only where the model has them."""


@dataclass(frozen=True)
class ResultColumns:
    """The columns that are added to a table.

    Attributes:
        names: what each is called, by what it is.
        labels: names of the classes.
    """

    names: dict[str, str]
    labels: Sequence[str]

    @classmethod
    def beside(cls, taken: Collection[str], labels: Sequence[str], *, rating: bool) -> ResultColumns:
        """Columns whose names are free.

        Where one of the names is taken, all of them get the prefix ``sentiment_``, or ``sentiment_2_`` and so on.
        """
        wanted = [name for name in KINDS if rating or name != "rating"]
        prefix, number = "", 1
        while any(prefix + name in taken for name in wanted):
            prefix = PREFIX if number == 1 else f"{PREFIX}{number}_"
            number += 1
        return cls({name: prefix + name for name in wanted}, labels)

    def result(self, outcome: Outcome) -> Result:
        """What a row gets for an outcome."""
        if isinstance(outcome, Prediction):
            label, score = outcome.best(self.labels)
            values: dict[str, Any] = {
                "label": label,
                "score": score,
                "rating": outcome.rating,
                "tokens": outcome.tokens,
                "truncated": outcome.truncated,
                "unknown": outcome.unknown,
                "judgement": outcome.judgement,
            }
        else:
            values = {"error": outcome.code}
        return tuple([values.get(name) for name in self.names])

    def part(self, result: Result, name: str) -> Any:
        """The value of one of the columns of a row."""
        return result[self._places[name]]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.names)}


@dataclass
class Summary:
    """The sum over all rows.

    Attributes:
        labels: rows by label.
        errors: rows without one, by the code of their error.
        score_sum: sum of the labels' probabilities.
        truncated: rows of which the network saw only a part.
        judgements: rows with a label by how far to trust it.
    """

    labels: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    score_sum: float = 0.0
    truncated: int = 0
    judgements: Counter[str] = field(default_factory=Counter)

    @property
    def rows(self) -> int:
        """All rows."""
        return self.labels.total() + self.errors.total()

    def add(self, results: Iterable[Result], columns: ResultColumns) -> None:
        """Count further rows, by what they got."""
        for result in results:
            if (error := columns.part(result, "error")) is None:
                self.labels[columns.part(result, "label")] += 1
                self.score_sum += columns.part(result, "score")
                self.truncated += columns.part(result, "truncated")
                self.judgements[columns.part(result, "judgement")] += 1
            else:
                self.errors[error] += 1

    @property
    def hardly_readable(self) -> bool:
        """Whether more than a tenth of the rows are unreadable: another language, say, or another column."""
        return self.judgements["unreadable"] * 10 > self.rows

    def lines(self, labels: Sequence[str]) -> list[str]:
        """The summary for people, a line each."""
        rows, scored = max(1, self.rows), self.labels.total()
        width = max(len(label) for label in [*labels, "errors"])
        lines = [f"{label:<{width}}  {self.labels[label]:>12,}  {self.labels[label] / rows:6.1%}" for label in labels]
        if self.errors:
            kinds = ", ".join(f"{code} {count:,}" for code, count in sorted(self.errors.items()))
            lines.append(
                f"{'errors':<{width}}  {self.errors.total():>12,}  {self.errors.total() / rows:6.1%}  ({kinds})"
            )
        if scored:
            mean, part = self.score_sum / scored, self.truncated / scored
            lines.append(f"mean confidence {mean:.3f}, truncated {self.truncated:,} ({part:.1%})")
            unreadable, unsure = self.judgements["unreadable"], self.judgements["unsure"]
            lines.append(f"{unreadable:,} of {self.rows:,} rows unreadable, {unsure:,} unsure")
        return lines
