"""What is counted of scored tables, in memory that does not grow with them."""

from __future__ import annotations

from collections import Counter

import pytest
from annotated_types import MaxLen

from app.errors import DataError
from app.files.arguments import explained
from app.report import findings as module
from app.report import tallies
from app.report.findings import Findings, Wanted
from app.store import ModelConfig
from tests.files.tables import table_of
from tests.report.scored import Row, found_in, scored

ROWS = [
    Row("lovely lamp", "positive", 0.98, rating=9.2, more=("Leeds", "2024-01-01")),
    Row("dull lamp", "negative", 0.51, "unsure", rating=3.4, more=("Leeds", "2024-01-02")),
    Row("xqv zzt", "negative", 0.7, "unreadable", rating=5.0, more=("Porto", "2024-01-02")),
    Row("", None, more=("", "NA")),
    Row("it came", "neutral", 0.6, rating=6.0, more=("Porto", "soon")),
]
MORE = ("store", "date")


def test_every_row_is_counted_once() -> None:
    """Unreadable rows and rows without a label are neither in shares nor in scores, stars, times and samples."""
    found = found_in(scored(ROWS, MORE), group_by=("store",))
    assert found.all.labels == Counter(positive=1, negative=1, neutral=1)
    assert found.all.unsure == Counter(negative=1)
    assert (found.all.unreadable, found.all.errors) == (1, Counter(empty_cell=1))
    assert found.all.rows == len(ROWS)
    assert {label: sum(counts) for label, counts in found.scores.items()} == found.all.labels
    assert found.stars == Counter({9: 1, 3: 1, 6: 1})
    assert found.rating_sum == pytest.approx(18.6)
    [groups] = found.groups
    assert {name: tally.rows for name, tally in groups.tallies.items()} == {"Leeds": 2, "Porto": 2, "(no value)": 1}
    assert [row.text for row in found.unreadable.rows("unreadable")] == ["xqv zzt"]
    assert [row.row for row in found.surest["positive"].rows()] == [1]
    assert found.surest["negative"].rows() == []
    assert [row.row for row in found.least_sure.rows()] == [2, 5, 1]
    [source] = found.sources
    assert (source.rows, source.columns["text"], source.columns["group"]) == (5, "text", "store")


def test_a_time_column_is_found_where_its_values_are_times() -> None:
    """By its name; a column that says so and holds something else is none. One that is named need not be all times."""
    assert found_in(scored(ROWS[:3], MORE)).time_column == "date"
    assert found_in(scored([*ROWS, *ROWS], MORE)).time_column is None
    assert found_in(scored(ROWS, ("date", "when"))).time_column is None
    named = found_in(scored(ROWS, MORE), time_column="date")
    line = named.timeline()
    assert line is not None
    assert (line.read, line.unread, line.first_unread, named.without_time) == (2, 1, "soon", 0)


def test_ambiguous_times_are_decided_by_later_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """However late the row comes; where none does, it is said."""
    rows = [Row("a lamp", more=("01/02/2024",))] * 5000 + [Row("a lamp", more=("31/01/2024",))]
    line = found_in(scored(rows, ("date",))).timeline()
    assert line is not None
    assert (line.pattern.name, line.read) == ("%d/%m/%Y", 5001)
    assert found_in(scored(rows[:9], ("date",))).time_is_ambiguous() == ["%d/%m/%Y"]
    assert found_in(scored(rows, ("date",))).time_is_ambiguous() == []


def test_the_results_that_were_added_last_count() -> None:
    """Of a file that has labels of its own, or was scored twice."""
    twice = scored([Row("a lamp", "neutral", more=("positive",))], ("label",))
    assert b"sentiment_label" in twice
    assert found_in(twice).all.labels == Counter(neutral=1)


@pytest.mark.parametrize(
    ("content", "wanted", "message"),
    [
        (b"text,label,score\na,b,1\n", {}, "this file was not scored: it has no columns label, score, tokens"),
        (b"text,label,score\na,b,1\n", {}, "Score it first"),
        (None, {"group_by": ("shop",)}, "no column 'shop'; there are 'text', 'store', 'date', 'label', "),
        (None, {"group_by": ("shop",)}, "(see --group-by)"),
        (None, {"time_column": "when"}, "no column 'when'; there are 'text', "),
        (None, {"time_column": "store"}, "column 'store': 3 of 3 values cannot be read as times; the first is 'Leeds'"),
        (None, {"time_column": "store"}, "(see --time-format, --time-column)"),
        (None, {"time_column": "date", "time_format": "%d.%m.%y"}, "3 of 3 values cannot be read as times"),
        (None, {"time_column": "error"}, "column 'error' has no value in any readable row"),
    ],
)
def test_mistakes(content: bytes | None, wanted: dict[str, object], message: str) -> None:
    """Name the file and the column, what there is instead, and what helps."""
    with pytest.raises(DataError) as caught:
        found_in(content or scored(ROWS, MORE), "reviews.csv", **wanted).timeline()
    assert message in explained(caught.value)


def test_a_column_that_is_there_twice() -> None:
    """Nobody can tell which is meant."""
    content = scored(ROWS, ("store", "store"))
    with pytest.raises(DataError, match="two columns are named 'store'"):
        found_in(content, group_by=("store",))


def test_a_score_that_is_none() -> None:
    """The row is named."""
    content = scored(ROWS[:2], MORE).replace(b"0.51", b"half")
    with pytest.raises(DataError, match="row 2: 'score' is 'half', not a number"):
        found_in(content)


def test_as_many_labels_as_a_model_may_have() -> None:
    """Are all told apart."""
    assert MaxLen(module.MOST_LABELS) in ModelConfig.model_fields["labels"].metadata
    labels = [f"class {number}" for number in range(module.MOST_LABELS)]
    found = found_in(scored([Row("a lamp", label) for label in labels], labels=labels))
    assert found.all.labels == Counter(labels)


def test_more_labels_than_a_model_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """The column is not what it seems."""
    monkeypatch.setattr(module, "MOST_LABELS", 2)
    with pytest.raises(DataError, match="row 5: more than 2 different labels"):
        found_in(scored(ROWS, MORE))


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many rows, values and texts there are: what is kept has its bounds, and every row is counted."""
    monkeypatch.setattr(tallies, "MOST_GROUPS", 7)
    monkeypatch.setattr("app.report.times._MOST_DAYS", 5)
    monkeypatch.setattr("app.report.examples.SAMPLE_ROWS", 20)
    monkeypatch.setattr(module, "SAMPLE_CHARACTERS", 30)
    found = Findings(Wanted(("store",)))
    found.sample = type(found.sample)(in_all=30, each=20)
    for part in range(3):
        rows = [
            Row(
                f"text {number} " + "long " * 50,
                ("negative", "positive")[number % 2],
                0.5 + number % 97 / 200,
                more=(f"store {number % 50}", f"2024-{1 + number % 12:02}-{1 + number % 28:02}"),
            )
            for number in range(part * 1000, part * 1000 + 1000)
        ]
        found.add(table_of(scored(rows, MORE)), f"{part}.csv", "")
    assert found.all.readable == 3000
    [groups] = found.groups
    assert len(groups.tallies) == 7
    assert groups.further.rows + sum(tally.rows for tally in groups.tallies.values()) == 3000
    [line] = found.timelines
    assert (line.read, len(line.periods().counts)) == (3000, 12)
    assert all(len(rows) == 15 for rows in (found.sample.rows("negative"), found.sample.rows("positive")))
    kept = [*found.sample.rows("negative"), *found.surest["positive"].rows(), *found.least_sure.rows()]
    assert max(len(row.text) for row in kept) == 30
    assert len(found.surest["positive"].rows()) <= module.KEPT_EXTREMES
