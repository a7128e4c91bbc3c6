"""Columns of times: how they are written, and what falls into which period."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime
from typing import Any

import pytest

from app.report import times
from app.report.times import PATTERNS, Timeline, Unit, fitting, pattern_of, shown


def timeline(*values: Any, form: str | None = None) -> Timeline:
    """The rows of some times, one each, all positive."""
    [*patterns], _ = fitting(values, pattern_of(form))
    line = Timeline(patterns[0])
    for value in values:
        line.add(value, "positive")
    return line


@pytest.mark.parametrize(
    "value",
    [
        *("2024-02-29", "2024-02-29T23:59:59.5Z", "2024-02-29 08:00", "2024-02-29T08:00:00+14:00", "20240229"),
        *("2024-2-29", "2024-02-29 08:00:00 UTC", "2024/02/29", "02/29/2024", "29/02/2024", "2/29/24", "29.02.2024"),
        *(
            "29.02.24 17:03",
            "29-02-2024",
            "February 29, 2024",
            "Feb 29, 2024 8:15 PM",
            "29 February 2024",
            "29-Feb-2024",
        ),
        *(
            "Thu, 29 Feb 2024 12:00:00 GMT",
            "Thu Feb 29 12:00:00 +0000 2024",
            "02 29, 2024",
            "1709208000",
            "1709208000000",
        ),
        *(1709208000, 1709208000.5, "1709208000123456", date(2024, 2, 29), datetime(2024, 2, 29, 23, tzinfo=UTC)),
    ],
)
def test_ways_to_write_a_time(value: Any) -> None:
    """All of the same day; the clock and its zone do not move it."""
    line = timeline(value)
    assert (line.read, line.unread) == (1, 0)
    assert line.periods().first == date(2024, 2, 29)


@pytest.mark.parametrize(
    "value", ["", "blue", "42", 42, True, "2024-02-30", "nan", "inf", "1e400", "9" * 60, "x" * 999, [1]]
)
def test_what_is_no_time(value: Any) -> None:
    """Is counted, and the first is kept, cut."""
    line = timeline(value)
    assert (line.read, line.unread) == (0, 1)
    assert line.first_unread == str(value)[:64]


def test_two_opinions_are_kept_until_a_row_decides() -> None:
    """Days up to the twelfth may be months."""
    both, fit = fitting(["01/02/2024", "03/04/2024"], PATTERNS)
    assert ([pattern.name for pattern in both], fit) == (["%m/%d/%Y", "%d/%m/%Y"], 2)
    one, fit = fitting(["01/02/2024", "13/02/2024"], PATTERNS)
    assert ([pattern.name for pattern in one], fit) == (["%d/%m/%Y"], 2)
    same, _ = fitting(["2024-01-02", "2024-01-03"], PATTERNS)
    assert [pattern.name for pattern in same] == ["ISO 8601"]


@pytest.mark.parametrize(
    ("values", "unit", "names"),
    [
        (("2024-01-31",), Unit.DAY, ["2024-01-31"]),
        (("2024-02-27", "2024-03-01"), Unit.DAY, ["2024-02-27", "2024-02-28", "2024-02-29", "2024-03-01"]),
        (("2024-01-03", "2024-03-05"), Unit.WEEK, ["2024-01-01", "2024-03-04"]),
        (("2022-11-30", "2024-12-01"), Unit.MONTH, ["2022-11", "2024-12"]),
        (("1999-05-05", "2024-12-01"), Unit.YEAR, ["1999", "2024"]),
        (("2024-05", "2024-06"), Unit.MONTH, ["2024-05", "2024-06"]),
        (("2023", "2024"), Unit.YEAR, ["2023", "2024"]),
    ],
)
def test_the_span_chooses_the_period(values: tuple[str, ...], unit: Unit, names: list[str]) -> None:
    """From the first to the last, none left out, whether it has rows or not."""
    periods = timeline(*values).periods()
    assert periods.unit is unit
    found = [shown(start, unit) for start in periods.counts]
    assert (found[0], found[-1]) == (names[0], names[-1])
    assert len(found) == len(set(found))
    assert sum(counts.total() for counts in periods.counts.values()) == len(values)
    if unit is Unit.DAY:
        assert found == names


def test_times_that_are_far_apart() -> None:
    """The ends of the calendar are no reason for thousands of empty periods."""
    periods = timeline("0001-01-01", "9999-12-31").periods()
    assert [shown(start, periods.unit) for start in periods.counts] == ["0001", "9999"]
    assert periods.left_out == 0


def test_more_periods_than_can_be_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The latest are, and it is said how many are not."""
    monkeypatch.setattr(times, "_MOST_PERIODS", 3)
    periods = timeline(*(f"{year}-06-01" for year in range(1900, 2000, 10))).periods()
    assert [start.year for start in periods.counts] == [1970, 1980, 1990]
    assert periods.left_out == 7


def test_days_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are too many, months are counted, and no row is lost."""
    monkeypatch.setattr(times, "_MOST_DAYS", 5)
    line = timeline(*(f"2024-01-{day:02}" for day in range(1, 11)), "2024-02-01")
    assert len(line._days) <= 5
    periods = line.periods()
    assert periods.unit is Unit.MONTH
    assert periods.counts == {date(2024, 1, 1): Counter(positive=10), date(2024, 2, 1): Counter(positive=1)}


def test_a_format_that_is_given_is_the_only_one() -> None:
    """As strptime has it, with or without a clock behind."""
    line = timeline("03|02|2024", "04|02|2024 12:30", "2024-02-05", form="%d|%m|%Y")
    assert (line.read, line.unread, line.first_unread) == (2, 1, "2024-02-05")
