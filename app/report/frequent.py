"""Parts of the page that say what is in rows of one label and seldom in others: words, and things that are named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from app.report.charts import bar, percent, style_of, table
from app.report.contrast import SHOWN_WORDS, Contrast, contrast, counted, counted_aspects
from app.report.findings import Findings
from app.report.markup import Data, element, quoted
from app.report.section import Section, named, paragraph, rows_of

_SHOWN_LABELS = 6


@dataclass(frozen=True)
class _Kind:
    """What is counted.

    Attributes:
        name: of the section, and of its table.
        one, title: what it is called.
        count: in how many texts each is.
        about: how it is counted, for people.
    """

    name: str
    one: str
    title: str
    count: Callable[[Iterable[str]], Counter[str]]
    about: str


_WORDS = _Kind(
    "words",
    "word",
    "Words for and against",
    counted,
    "Each word counts once in a row, words such as “the” and “with” not at all; one right behind “not”, “no” or "
    "“never” counts as another word. Such words go with a label in these rows. They are not what the model looked at, "
    "nor a cause.",
)
_ASPECTS = _Kind(
    "aspects",
    "thing",
    "What is spoken of, for and against",
    counted_aspects,
    "Things are noun phrases, as rules find them, and count once in a row, whatever is said of them there: that they "
    "are named more often in rows of one label says no more than that.",
)


def frequent_words(findings: Findings, labels: Sequence[str]) -> Section | None:
    """Words for and against."""
    return _frequent(findings, labels, _WORDS)


def frequent_aspects(findings: Findings, labels: Sequence[str]) -> Section | None:
    """Things that are named in rows for and against."""
    return _frequent(findings, labels, _ASPECTS)


def _frequent(findings: Findings, labels: Sequence[str], kind: _Kind) -> Section | None:
    if len(labels) < 2:
        return None
    samples = {label: findings.sample.rows(label) for label in labels}
    counts = {label: kind.count(row.text for row in rows) for label, rows in samples.items()}
    all_: Counter[str] = sum(counts.values(), Counter())
    sides = [label for label in ("positive", "negative") if label in labels]
    if len(sides) < 2:
        sides = sorted(labels, key=lambda label: -findings.all.labels[label])[:_SHOWN_LABELS]
        against = {label: [other for other in labels if other != label] for label in sides}
    else:
        against = {"positive": ["negative"], "negative": ["positive"]}
    contrasts = [
        contrast(
            label,
            len(samples[label]),
            counts[label],
            sum(len(samples[other]) for other in against[label]),
            sum((counts[other] for other in against[label]), Counter()),
            all_,
        )
        for label in sides
    ]
    tables = [
        _words_table(found, kind, labels, "all other" if len(against[found.label]) > 1 else against[found.label][0])
        for found in contrasts
    ]
    text = (
        f"{kind.one.capitalize()}s that are in rows of one side more often than in rows of the other, the most telling "
        f"first; up to {SHOWN_WORDS} a side. They are ordered by the weighted log-odds ratio with an informative "
        "Dirichlet prior (Monroe, Colaresi and Quinn, 2008), in standard deviations; below 1.96 none is shown. "
        f"{kind.about}"
    )
    sampled = ", ".join(f"{len(samples[label]):,} of {rows_of(findings.all.labels[label])} {label}" for label in labels)
    data = Data(
        kind.name,
        ("label", kind.one, "z", "rows of this label with it", "rows compared with that have it"),
        [
            (found.label, word.text, round(word.z, 3), word.here, word.there)
            for found in contrasts
            for word in found.words
        ],
    )
    parts = [
        element("div", {"class": "plots wide"}, *tables),
        paragraph(text, quiet=True),
        paragraph(f"Counted in {sampled}, drawn at random.", quiet=True),
    ]
    return Section(kind.name, kind.title, parts, [data])


def _words_table(found: Contrast, kind: _Kind, labels: Sequence[str], others: str) -> Element:
    style = style_of(found.label, labels)
    heading = element("h3", {}, named(found.label, style))
    if not found.words:
        return element("div", {}, heading, paragraph(f"No {kind.one} is clearly more frequent here."))
    most = found.words[0].z
    rows = [
        (
            quoted(word.text),
            bar(word.z / most, style),
            f"{percent(word.here / found.rows)}",
            f"{percent(word.there / max(1, found.others))}",
        )
        for word in found.words
    ]
    head = (kind.one.capitalize(), "How telling", f"{found.label} rows", f"{others} rows")
    return element("div", {}, heading, table(f"{kind.one.capitalize()}s of {found.label} rows", head, rows, (2, 3)))
