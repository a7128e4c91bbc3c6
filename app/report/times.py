"""A column of times: how its values are written, and what falls into which day, week, month or year."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import IntEnum
from typing import Any, NamedTuple

from app.errors import OptionError

USUAL_NAMES = frozenset(
    "date day time datetime timestamp created createdat createdon createdtime creationdate creationtime reviewdate "
    "reviewtime reviewedat reviewtimestamp published publishedat publisheddate publishdate posted postedat postdate "
    "posteddate submitted submittedat submissiondate submissiontime submitdate responsedate surveydate visitdate "
    "orderdate purchasedate unixreviewtime month year".split()
)
"""What columns of times are usually called; case, spaces and marks between words do not count."""
ENOUGH = 0.9
"""Share of the values that must be times in a column that nobody named."""
_MOST_DAYS = 10_000
"""Days that are counted one by one; where there are more, all are counted by month."""
_MOST_PERIODS = 150
_CLOCK = re.compile(r"(?:T|,? +)[0-9]{1,2}:[0-9]{2}.*$", re.DOTALL)
_LONGEST = 64


class Unit(IntEnum):
    """The length of a period."""

    DAY = 1
    WEEK = 2
    MONTH = 3
    YEAR = 4


_LONGEST_SPANS = {Unit.DAY: 45, Unit.WEEK: 550, Unit.MONTH: 4_400}
"""Most days from the first to the last time that are shown by such a unit; beyond the last, it is years."""


class Pattern(NamedTuple):
    """One way to write a time.

    Attributes:
        name: what people call it.
        read: the date in a value.
        least: the shortest period that it can tell.
    """

    name: str
    read: Callable[[Any], date]
    least: Unit = Unit.DAY


def _as_written(value: Any) -> date:
    """A date as files with types have it, or as ISO 8601 writes it. The clock is left out, whatever its zone."""
    if isinstance(value, date):
        return value.date() if isinstance(value, datetime) else value
    return datetime.fromisoformat(_text(value)).date()


def _since_1970(value: Any) -> date:
    """Seconds, milliseconds, microseconds or nanoseconds, told apart by their size."""
    number = float(_text(value))
    if not 1e8 <= abs(number) < 1e20:  # from 1973 on, and no count of anything else that is usual
        raise ValueError("no time")
    while abs(number) >= 1e11:
        number /= 1000
    return datetime.fromtimestamp(number, UTC).date()


def _formatted(form: str, least: Unit = Unit.DAY, name: str = "") -> Pattern:
    def read(value: Any) -> date:
        text = _text(value)
        try:
            return datetime.strptime(text, form).date()
        except ValueError:
            return datetime.strptime(_CLOCK.sub("", text), form).date()

    return Pattern(name or form, read, least)


def _text(value: Any) -> str:
    if (
        isinstance(value, bool)
        or not isinstance(value, str | int | float)
        or len(text := str(value).strip()) > _LONGEST
    ):
        raise ValueError("no time")
    return text


PATTERNS = (
    Pattern("ISO 8601", _as_written),
    Pattern("time since 1970", _since_1970),
    *map(_formatted, ("%Y-%m-%d", "%m/%d/%Y", "%d/%m/%Y", "%m/%d/%y", "%d/%m/%y", "%Y/%m/%d", "%d.%m.%Y", "%d.%m.%y")),
    *map(_formatted, ("%m-%d-%Y", "%d-%m-%Y", "%B %d, %Y", "%b %d, %Y", "%d %B %Y", "%d %b %Y", "%d-%b-%Y")),
    *map(_formatted, ("%a, %d %b %Y", "%a %b %d %H:%M:%S %z %Y", "%a %b %d %H:%M:%S %Y", "%m %d, %Y")),
    _formatted("%Y-%m", Unit.MONTH),
    _formatted("%B %Y", Unit.MONTH),
    _formatted("%Y", Unit.YEAR),
)
"""How times are written, the likelier first where two fit alike."""


def pattern_of(form: str | None) -> tuple[Pattern, ...]:
    """The patterns that may be meant: all, or the one that somebody gave as ``strptime`` has it."""
    return PATTERNS if form is None else (_formatted(form),)


def fitting(values: Sequence[Any], patterns: Sequence[Pattern]) -> tuple[list[Pattern], int]:
    """The patterns that fit most of some values, all of them alike, and how many values that is.

    Of patterns that read the same days one is enough: what is left are different opinions.
    """
    days = [(pattern, tuple(_read(pattern, value) for value in values)) for pattern in patterns]
    fits = {read: len(values) - read.count(None) for _, read in days}
    most = max(fits.values())
    opinions = {read: pattern for pattern, read in reversed(days) if fits[read] == most}
    return list(opinions.values())[::-1], most


def _read(pattern: Pattern, value: Any) -> date | None:
    try:
        return pattern.read(value)
    except (ValueError, OverflowError, OSError):
        return None


@dataclass
class Timeline:
    """Labels by time, in one way to write it.

    Attributes:
        pattern: how times are written.
        unread: values that are no times so.
        first_unread: the first of them.
    """

    pattern: Pattern
    unread: int = 0
    first_unread: str = ""
    _days: dict[date, Counter[str]] = field(default_factory=dict)
    _by_month: bool = False

    @property
    def read(self) -> int:
        """Values that are times."""
        return sum(counts.total() for counts in self._days.values())

    def add(self, value: Any, label: str) -> None:
        """Count a row."""
        day = _read(self.pattern, value)
        if day is None:
            self.unread += 1
            self.first_unread = self.first_unread or str(value)[:_LONGEST]
            return
        if self._by_month:
            day = day.replace(day=1)
        counts = self._days.setdefault(day, Counter())
        counts[label] += 1
        if len(self._days) > _MOST_DAYS:
            self._by_month = True
            days, self._days = self._days, {}
            for day, counts in days.items():
                self._days.setdefault(day.replace(day=1), Counter()).update(counts)

    def periods(self) -> Periods:
        """The rows by periods of a length that the time from the first to the last of them calls for."""
        first, last = min(self._days), max(self._days)
        unit = next((unit for unit, days in _LONGEST_SPANS.items() if (last - first).days <= days), Unit.YEAR)
        unit = max(unit, self.pattern.least, Unit.MONTH if self._by_month else Unit.DAY)
        counts: dict[date, Counter[str]] = {}
        for day in sorted(self._days):
            counts.setdefault(_start(day, unit), Counter()).update(self._days[day])
        starts = [start := _start(first, unit)]
        while len(starts) <= _MOST_PERIODS and start < _start(last, unit):
            starts.append(start := _after(start, unit))
        if len(starts) > _MOST_PERIODS:  # times that are far apart: those without rows are left out, and the oldest
            starts = sorted(counts)[-_MOST_PERIODS:]
        shown = {start: counts.get(start, Counter()) for start in starts}
        return Periods(unit, shown, first, last, len(counts.keys() - shown.keys()))


class Periods(NamedTuple):
    """Labels by periods.

    Attributes:
        unit: the length of each.
        counts: rows by label, by the first day of the period.
        first, last: the first and the last day of all.
        left_out: periods that are too many to be shown, the oldest.
    """

    unit: Unit
    counts: dict[date, Counter[str]]
    first: date
    last: date
    left_out: int


def _start(day: date, unit: Unit) -> date:
    if unit is Unit.WEEK:
        return day - timedelta(days=min(day.weekday(), (day - date.min).days))
    if unit is Unit.DAY:
        return day
    return day.replace(day=1) if unit is Unit.MONTH else day.replace(month=1, day=1)


def _after(start: date, unit: Unit) -> date:
    if unit <= Unit.WEEK:
        return start + timedelta(days=1 if unit is Unit.DAY else 7)
    if unit is Unit.YEAR or start.month == 12:
        return start.replace(year=start.year + 1, month=1)
    return start.replace(month=start.month + 1)


def shown(start: date, unit: Unit) -> str:
    """A period as people read it; weeks by their Monday."""
    return start.isoformat()[: {Unit.MONTH: 7, Unit.YEAR: 4}.get(unit, 10)]


def check_time_format(form: str) -> None:
    """Refuse a format that does not tell the year.

    Raises:
        OptionError: it does not.
    """
    some = datetime(2001, 2, 3, tzinfo=UTC)
    try:
        told = datetime.strptime(some.strftime(form), form).year == some.year
    except ValueError:
        told = False
    if not told:
        raise OptionError("time_format", f"must say how dates are written, such as %d/%m/%Y (got {form[:40]!r})")
