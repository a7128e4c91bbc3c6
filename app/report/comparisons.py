"""Parts of the page that compare rows: over time, by the values of a column, by their words, and with each other."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from datetime import date
from xml.etree.ElementTree import Element

from app.report.charts import Tick, between, columns, lines, percent, stacked, style_of, table
from app.report.examples import SHOWN_CHARACTERS, SHOWN_ROWS, TYPICAL_ROWS, Example, cut, typical, varied
from app.report.findings import Findings
from app.report.markup import Child, Data, element, quoted
from app.report.section import Section, named, paragraph, rows_of, with_note
from app.report.statistics import Interval, wilson
from app.report.tallies import MOST_GROUPS, Groups, Tally
from app.report.times import Periods, Timeline, shown

_SHOWN_GROUPS = 40
_SHOWN_LABELS = 6
UNCERTAIN = 0.2
"""Width of an interval from which on a group's share is called uncertain."""


def over_time(findings: Findings, labels: Sequence[str]) -> Section | None:
    """Shares by day, week, month or year."""
    timeline = findings.timeline()
    if timeline is None or not timeline.read:
        return None
    periods = timeline.periods()
    unit = periods.unit.name.lower()
    parts: list[Child] = [_about_time(findings, timeline, periods, unit)]
    top = max(count[label] / count.total() for count in periods.counts.values() if count for label in labels)
    top = min(1.0, math.ceil(top * 10) / 10)
    if len(periods.counts) > 1:
        plots = [_by_time(label, labels, periods, top) for label in labels[:_SHOWN_LABELS]]
        parts.append(element("div", {"class": "plots wide"}, *plots, _rows_by_time(periods)))
    names = [shown(start, periods.unit) for start in periods.counts]
    rows = [
        (name, f"{count.total():,}", *(_share(count[label], count.total(), "") for label in labels[:_SHOWN_LABELS]))
        for name, count in zip(names, periods.counts.values(), strict=True)
    ]
    head = (unit.capitalize(), "Rows", *labels[:_SHOWN_LABELS])
    filled = table(f"Shares by {unit}", head, rows, range(1, len(head)))
    folded = element("details", {}, element("summary", {}, f"The same as a table, by {unit}"), filled)
    parts.append(folded if len(rows) > 1 else filled)
    text = (
        "The share of each label among the readable rows of its time. The band, and the range in the table, is the 95 "
        "% interval (Wilson, 1927): where it is wide there are few rows, and ups and downs inside it may be chance."
    )
    data = Data(
        "over-time",
        (unit, "rows", *labels),
        [
            (name, count.total(), *(count[label] for label in labels))
            for name, count in zip(names, periods.counts.values(), strict=True)
        ],
    )
    return Section("time", f"Over time, by {unit}", [*parts, paragraph(text, quiet=True)], [data])


def _about_time(findings: Findings, timeline: Timeline, periods: Periods, unit: str) -> Element:
    how = "as asked for" if findings.wanted.time_column is not None else "found by its name and its values"
    said: list[Child] = [
        "Times are in ",
        quoted(findings.time_column or ""),
        f" ({how}), read as {timeline.pattern.name}: ",
    ]
    said.append(f"{rows_of(timeline.read)} from {periods.first.isoformat()} to {periods.last.isoformat()}. ")
    if others := findings.time_is_ambiguous():
        said.append(f"They might also be {others[0]}, which fits as many; --time-format says which it is. ")
    if timeline.unread:
        said += [
            f"{rows_of(timeline.unread)} with a value that is no time, first ",
            quoted(timeline.first_unread),
            ". ",
        ]
    if findings.without_time:
        said.append(f"{rows_of(findings.without_time)} without a time. ")
    if periods.left_out:
        said.append(f"The oldest {periods.left_out:,} of each {unit} with rows are not shown. ")
    return paragraph(*said)


def _ticks(periods: Periods) -> list[Tick]:
    starts = list(periods.counts)
    places = sorted({0, (len(starts) - 1) // 2, len(starts) - 1}) if len(starts) > 4 else [0, len(starts) - 1]
    return [Tick((place + 0.5) / len(starts), shown(starts[place], periods.unit)) for place in places]


def _by_time(label: str, labels: Sequence[str], periods: Periods, top: float) -> Element:
    points: list[tuple[float, Interval] | None] = [
        (count[label] / total, wilson(count[label], total)) if (total := count.total()) else None
        for count in periods.counts.values()
    ]
    known = [(point[0], start) for start, point in zip(periods.counts, points, strict=True) if point]
    says = (
        f"Share of {label}: {percent(known[0][0])} in {_when(known[0][1], periods)}, {percent(known[-1][0])} in "
        f"{_when(known[-1][1], periods)}; lowest {percent(min(known)[0])}, highest {percent(max(known)[0])}."
    )
    style = style_of(label, labels)
    part, all_ = (sum(map(count, periods.counts.values())) for count in (lambda one: one[label], Counter.total))
    note = element("span", {"class": "quiet"}, f" · {percent(part / all_)} of all")
    return element(
        "figure",
        {},
        element("figcaption", {}, named(label, style), note),
        lines(points, style, top, says, _ticks(periods)),
    )


def _when(start: date, periods: Periods) -> str:
    return shown(start, periods.unit)


def _rows_by_time(periods: Periods) -> Element:
    totals = [count.total() for count in periods.counts.values()]
    most = max(totals)
    says = f"Rows in each {periods.unit.name.lower()}: at most {most:,}, at least {min(totals):,}."
    note = element("span", {"class": "quiet"}, f" · at most {most:,}")
    plot = columns([total / most for total in totals], "var(--quiet)", says, _ticks(periods), 110)
    return element("figure", {}, element("figcaption", {}, "Rows", note), plot)


def _share(part: int, whole: int, mark: str) -> Child:
    return with_note(f"{mark}{percent(part / whole)}", between(wilson(part, whole))) if whole else "–"


def by_group(findings: Findings, groups: Groups, labels: Sequence[str], name: str) -> Section:
    """Shares by the values of a column."""
    ordered = groups.largest_first()
    chosen = sorted(labels, key=lambda label: -findings.all.labels[label])[:_SHOWN_LABELS]
    chosen = [label for label in labels if label in chosen]
    rows = [_group_row(name, tally, findings.all, chosen, labels) for name, tally in ordered[:_SHOWN_GROUPS]]
    head = (groups.column, "Rows", "Shares", *chosen, "Note")
    filled = table(f"Shares by {groups.column}", head, rows, (1, *range(3, 3 + len(chosen))))
    said = f"{len(ordered):,} values"
    if len(ordered) > _SHOWN_GROUPS:
        said += f", of which the {_SHOWN_GROUPS} with most rows are shown; the download has all"
    if groups.further.rows:
        said += f". {rows_of(groups.further.rows)} have further values: only the first {MOST_GROUPS:,} are told apart"
    text = (
        "Under each share stands its 95 % interval (Wilson, 1927). ▲ and ▼ mark shares that are above or below that "
        "of all rows by more than chance alone explains: the interval does not hold it. “Few rows” marks values with "
        f"an interval wider than {100 * UNCERTAIN:.0f} points, whose shares say little. Of many values, one in twenty "
        "is marked by chance."
    )
    columns_ = (groups.column, "rows", *labels, *(f"{label} {end}" for label in labels for end in ("low", "high")))
    data = [
        (
            value,
            tally.rows,
            *(tally.labels[label] for label in labels),
            *(round(end, 6) for label in labels for end in wilson(tally.labels[label], tally.readable)),
            tally.unsure.total(),
            tally.unreadable,
            tally.errors.total(),
        )
        for value, tally in ordered
    ]
    table_ = Data(name, (*columns_, "unsure", "unreadable", "without a label"), data)
    parts = [paragraph(f"{said}."), filled, paragraph(text, quiet=True)]
    return Section(name, f"By {groups.column}", parts, [table_])


def _group_row(name: str, tally: Tally, all_: Tally, chosen: Sequence[str], labels: Sequence[str]) -> list[Child]:
    ranges = {label: wilson(tally.labels[label], tally.readable) for label in chosen}
    few = any(interval.high - interval.low > UNCERTAIN for interval in ranges.values())
    notes = [
        text for count, text in ((tally.unreadable, "unreadable"), (tally.errors.total(), "without label")) if count
    ]
    counts = {"unreadable": tally.unreadable, "without label": tally.errors.total()}
    said = ", ".join(f"{counts[text]:,} {text}" for text in notes)
    note = element("span", {}, element("span", {"class": "tag"}, "few rows") if few else None, " " if few else "", said)
    marks = {
        label: "▲ " if interval.low > all_.share(label) else "▼ " if interval.high < all_.share(label) else ""
        for label, interval in ranges.items()
    }
    return [
        quoted(cut(name, 60)),
        f"{tally.rows:,}",
        stacked([(style_of(label, labels), tally.share(label)) for label in labels]),
        *(_share(tally.labels[label], tally.readable, marks[label]) for label in chosen),
        note,
    ]


def examples(findings: Findings, labels: Sequence[str]) -> Section | None:
    """The rows themselves: those that stand for the others, and those at the ends."""
    parts: list[Child] = []
    for label in labels[: 2 * _SHOWN_LABELS]:
        usual = typical(findings.sample.rows(label)[:TYPICAL_ROWS])
        surest = varied(findings.surest[label].rows(), SHOWN_ROWS)
        parts.append(element("h3", {}, named(label, style_of(label, labels))))
        parts.append(_quotes("Typical", varied(usual, SHOWN_ROWS), findings))
        if surest:
            parts.append(_quotes("Most sure", surest, findings))
    if least := varied(findings.least_sure.rows(), SHOWN_ROWS):
        parts += [element("h3", {}, "Least sure, of any label"), _quotes("", least, findings)]
    if unreadable := varied(findings.unreadable.rows("unreadable"), SHOWN_ROWS):
        parts += [element("h3", {}, "Unreadable"), _quotes("", unreadable, findings)]
    if not parts:
        return None
    text = (
        "Typical rows are those whose words are most like those of the other rows with that label: by the cosine of "
        f"TF-IDF weights (Salton and Buckley, 1988) with their mean, among up to {TYPICAL_ROWS} rows of usual length, "
        "drawn at random. Most and least sure are the highest and the lowest scores of all rows. Of rows that say "
        "nearly the same, one is shown; long texts are cut."
    )
    return Section("rows", "Typical and extreme rows", [*parts, paragraph(text, quiet=True)])


def _quotes(title: str, rows: Sequence[Example], findings: Findings) -> Element:
    made = [element("p", {}, element("strong", {}, title))] if title else []
    for row in rows:
        facts = [f"row {row.row:,}", f"{row.label} {row.score:.2f}" if row.label != "unreadable" else "unreadable"]
        facts += [f"{row.rating:.1f} ★"] if row.rating is not None and row.label != "unreadable" else []
        if len(findings.sources) > 1:
            facts.insert(0, findings.sources[row.file].name)
        text = quoted(cut(row.text, SHOWN_CHARACTERS), "p")
        made.append(element("blockquote", {}, text, element("p", {"class": "quiet"}, " · ".join(facts))))
    return element("div", {}, *made)
