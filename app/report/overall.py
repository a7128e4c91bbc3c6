"""Parts of the page about all rows: shares, what was scored, scores, stars."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate

from app.report.charts import Tick, bar, between, columns, percent, stacked, style_of, table
from app.report.findings import BINS, Findings, Source
from app.report.markup import Child, Data, element, quoted
from app.report.section import Section, listed, named, paragraph, rows_of
from app.report.statistics import wilson

_ERRORS = {
    "empty_cell": "nothing in the cell, or a word for it such as NA",
    "blank_text": "only white space",
    "no_words": "no word in the text",
    "bad_row": "a row that is not as it should be",
    "invalid_text": "not a text",
    "text_too_long": "longer than the service takes",
    "inference_failed": "the forward pass failed",
}
_EXACT = (
    "All counts, shares and intervals are of all rows. Words and typical rows come from a random sample, the same each "
    "time, whose size stands beside them."
)
_SHOWN_BINS = 20


def shares(findings: Findings, labels: Sequence[str]) -> Section:
    """How many rows are of which label, and of how many little can be said."""
    tally, scores = findings.all, findings.scores
    parts: list[Child] = []
    if labels:
        ranked = sorted(labels, key=lambda label: -tally.labels[label])
        verdict = listed([f"{percent(tally.share(label))} {label}" for label in ranked[:6]])
        parts.append(element("p", {"class": "verdict"}, f"Of {_readable(tally.readable)}: {verdict}."))
        parts.append(stacked([(style_of(label, labels), tally.share(label)) for label in labels], 28))
        head = ("Label", "Rows", "Share", "95 % interval", "Of these unsure", "Median score")
        rows = [
            (
                named(label, style_of(label, labels)),
                f"{tally.labels[label]:,}",
                percent(tally.share(label)),
                between(wilson(tally.labels[label], tally.readable)),
                f"{tally.unsure[label]:,}",
                f"{_median(scores[label]):.2f}",
            )
            for label in labels
        ]
        parts.append(table("Rows by label", head, rows, range(1, 6)))
    else:
        parts.append(element("p", {"class": "verdict"}, "No row has a label that can be read."))
    parts.append(element("ul", {"class": "doubts"}, *(element("li", {}, *line) for line in _doubts(findings))))
    parts.append(
        paragraph(
            "Shares are shares of the readable rows. The 95 % interval (Wilson, 1927) says between which shares the "
            "truth would lie if these rows were drawn at random from many more like them; it knows nothing of the "
            "model's own mistakes. The score is the probability that the model gives the label.",
            quiet=True,
        )
    )
    return Section("shares", "Shares", parts, [_shares_data(findings, labels)])


def _readable(rows: int) -> str:
    return f"{rows:,} readable row{'' if rows == 1 else 's'}"


def _doubts(findings: Findings) -> list[list[Child]]:
    tally = findings.all
    unsure, errors = tally.unsure.total(), tally.errors.total()

    def how_many(count: int) -> str:
        return f"{count:,} of {rows_of(tally.rows)} ({percent(count / max(1, tally.rows))})"

    unreadable = (
        f"{how_many(tally.unreadable)}. Hardly of words that the model knows, such as another language, code or random "
        "letters; they count nowhere else in this report."
    )
    why = listed([f"{count:,} × {_ERRORS.get(code, code)}" for code, count in sorted(tally.errors.items())])
    return [
        [
            element("strong", {}, "Unsure: "),
            f"{how_many(unsure)}. No label is probable enough there; they count with the most probable one.",
        ],
        [element("strong", {}, "Unreadable: "), unreadable],
        [
            element("strong", {}, "Without a label: "),
            f"{how_many(errors)}{f': {why}' if errors else ''}. They count nowhere else either.",
        ],
    ]


def _shares_data(findings: Findings, labels: Sequence[str]) -> Data:
    tally = findings.all
    rows: list[tuple[object, ...]] = [
        (
            label,
            tally.labels[label],
            round(tally.share(label), 6),
            *(round(end, 6) for end in wilson(tally.labels[label], tally.readable)),
            tally.unsure[label],
        )
        for label in labels
    ]
    others = {
        "(unreadable)": tally.unreadable,
        **{f"(error) {code}": count for code, count in sorted(tally.errors.items())},
    }
    rows += [(name, count, None, None, None, None) for name, count in others.items()]
    return Data("shares", ("label", "rows", "share", "low", "high", "unsure"), rows)


def provenance(findings: Findings, model: str | None, changed_in: int = 0) -> Section:
    """What was scored, by what, and what of it is in the report."""
    tally, sources = findings.all, findings.sources
    left_out = sum(source.left_out for source in sources) + changed_in
    facts: list[tuple[str, Sequence[Child]]] = [
        ("File" if len(sources) == 1 else "Files", _files(sources)),
        ("Model", [model or "not recorded in the file"]),
        *_changed(sources),
        ("Rows", [_rows(tally.rows, left_out)]),
        ("Columns", _columns(sources[0])),
        ("Exact or not", [_EXACT]),
    ]
    pairs = [made for name, says in facts for made in (element("dt", {}, name), element("dd", {}, *says))]
    return Section("scored", "What was scored", [element("dl", {}, *pairs)])


def _changed(sources: Sequence[Source]) -> list[tuple[str, Sequence[Child]]]:
    last = max(source.changed for source in sources)
    return [("Scored", [f"{last} UTC, when the scored file was last changed"])] if last else []


def _files(sources: Sequence[Source]) -> list[Child]:
    said: list[Child] = []
    for source in sources:
        said += ["; " if said else "", quoted(source.name), f" ({rows_of(source.rows)}, {source.found})"]
    return said


def _columns(source: Source) -> list[Child]:
    said: list[Child] = []
    for use, column in source.columns.items():
        said += [", " if said else "", f"{use}: ", quoted(column)]
    return said


def _rows(rows: int, left_out: int) -> str:
    if not left_out:
        return f"{rows:,}, none left out"
    return f"{rows:,}; {left_out:,} more were left out, because they were not as rows of such a file should be"


def distribution(findings: Findings, labels: Sequence[str]) -> Section | None:
    """The scores of each label."""
    if not labels:
        return None
    steps = {label: _coarse(findings.scores[label]) for label in labels}
    used = [place for counts in steps.values() for place, count in enumerate(counts) if count]
    first = min(used) // 2 * 2
    most = max(count / sum(counts) for counts in steps.values() for count in counts)
    ticks = [Tick(at, f"{first / _SHOWN_BINS + at * (1 - first / _SHOWN_BINS):.2g}") for at in (0, 0.5, 1)]
    plots = []
    for label, counts in steps.items():
        total, half = sum(counts), _median(findings.scores[label])
        says = f"Scores of {rows_of(total)} that are {label}: half of them are above {half:.2f}."
        heights = [count / total / most for count in counts[first:]]
        note = element("span", {"class": "quiet"}, f" · {rows_of(total)}, half above {half:.2f}")
        style = style_of(label, labels)
        plots.append(
            element(
                "figure",
                {},
                element("figcaption", {}, named(label, style), note),
                columns(heights, f"url(#fill-{style})", says, ticks),
            )
        )
    text = (
        "How sure the model is: the probability of the label it gave, from left to right. High bars at the right are "
        "rows that it has no doubt of. Of many rows with 0.8 about 80 % are right, where the model is calibrated and "
        "texts are like those it was calibrated with."
    )
    data = Data(
        "scores",
        ("label", "from", "to", "rows"),
        [
            (label, place / _SHOWN_BINS, (place + 1) / _SHOWN_BINS, count)
            for label, counts in steps.items()
            for place, count in enumerate(counts)
            if count
        ],
    )
    return Section(
        "scores", "Scores", [element("div", {"class": "plots"}, *plots), paragraph(text, quiet=True)], [data]
    )


def _coarse(counts: array[int]) -> list[int]:
    """The same in ``_SHOWN_BINS`` steps; the highest score of all belongs to the last."""
    wide = BINS // _SHOWN_BINS
    steps = [sum(counts[start : start + wide]) for start in range(0, BINS, wide)]
    steps[-1] += counts[BINS]
    return steps


def _median(counts: array[int]) -> float:
    half = sum(counts) / 2
    return next(place for place, sum_ in enumerate(accumulate(counts)) if sum_ >= half) / BINS


def ratings(findings: Findings) -> Section | None:
    """The stars."""
    stars: Counter[int] = findings.stars
    total = stars.total()
    if not total:
        return None
    mean = findings.rating_sum / total
    most = max(stars.values()) / total
    span = range(max(10, *stars), min(0, *stars), -1)
    rows = [
        (f"{star} ★", bar(stars[star] / total / most, "plain"), f"{stars[star]:,}", percent(stars[star] / total))
        for star in span
    ]
    text = (
        "The stars out of ten that the model expects a reviewer to give with such a text, rounded. They are estimated "
        "beside the label, and not asked of anybody."
    )
    data = Data(
        "stars", ("stars", "rows", "share"), [(star, stars[star], round(stars[star] / total, 6)) for star in span]
    )
    return Section(
        "stars",
        "Stars",
        [
            paragraph(element("strong", {}, f"{mean:.1f} of 10"), f" on average, over {_readable(total)}."),
            table("Rows by stars", ("Stars", "How many", "Rows", "Share"), rows, (2, 3)),
            paragraph(text, quiet=True),
        ],
        [data],
    )
