"""What was found as one self-contained page of HTML."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element

from app.report.charts import patterns
from app.report.comparisons import by_group, examples, over_time
from app.report.findings import Findings
from app.report.frequent import frequent_aspects, frequent_words
from app.report.markup import Data, download, element, file_name, json_of, quoted, rendered
from app.report.overall import distribution, provenance, ratings, shares
from app.report.section import Section
from app.report.tallies import in_order
from app.version import VERSION

if TYPE_CHECKING:
    from app.files.workbook import Workbook


def page_of(findings: Findings, model: str | None = None, left_out: int = 0) -> str:
    """The report as HTML. The same for the same findings.

    Args:
        findings: of all files.
        model: what scored them, where that is known.
        left_out: rows that were left out before they were scored.

    Raises:
        DataError: the column of times that was asked for has none.
    """
    sections = sections_of(findings, model, left_out)
    first, *others = [source.name for source in findings.sources]
    about = f"{first} and {len(others)} more" if others else first
    style = _part("report.css")
    return Template(_part("report.html")).substitute(
        title=rendered(element("title", {}, f"Sentiment of {about}")),
        style=style,
        digest=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        patterns=rendered(patterns()),
        heading="\n".join(map(rendered, _heading(about, model, sections))),
        sections="\n".join(rendered(section.made()) for section in sections),
        version=VERSION,
    )


def sections_of(findings: Findings, model: str | None = None, left_out: int = 0) -> list[Section]:
    """The parts of the report. See ``page_of``."""
    labels = in_order(findings.all.labels)
    names = _distinct([f"by-{file_name(groups.column)}" for groups in findings.groups])
    made = [
        shares(findings, labels),
        over_time(findings, labels) if labels else None,
        *(by_group(findings, groups, labels, name) for groups, name in zip(findings.groups, names, strict=True)),
        frequent_words(findings, labels),
        frequent_aspects(findings, labels),
        examples(findings, labels),
        distribution(findings, labels),
        ratings(findings),
        provenance(findings, model, left_out),
    ]
    return [section for section in made if section is not None]


def add_sheets(book: Workbook, findings: Findings, model: str | None = None, left_out: int = 0) -> None:
    """Put the report's tables into a workbook, each into a sheet of its own. See ``page_of``."""
    for section in sections_of(findings, model, left_out):
        for table in section.data:
            book.sheet(table.name, table.columns, table.rows)


def _distinct(names: Sequence[str]) -> list[str]:
    """Names of which those that are there already get a number."""
    return [f"{name}-{earlier + 1}" if (earlier := names[:at].count(name)) else name for at, name in enumerate(names)]


def _part(name: str) -> str:
    return files(str(__package__)).joinpath(name).read_text(encoding="utf-8")


def _heading(about: str, model: str | None, sections: Sequence[Section]) -> list[Element]:
    tables: list[Data] = [table for section in sections for table in section.data]
    links = [element("li", {}, element("a", {"href": f"#{section.id}"}, section.title)) for section in sections]
    save = download("report.json", "application/json", json_of(tables), "All tables as JSON")
    return [
        element("h1", {}, "Sentiment of ", quoted(about)),
        element("p", {"class": "subtitle"}, f"By {model}" if model else "By a model that the file does not name"),
        element("nav", {"aria-label": "Contents"}, element("ul", {}, *links, element("li", {}, save))),
    ]
