"""A part of the page, and what parts have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from app.report.charts import swatch
from app.report.markup import Child, Data, download, element


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        id: what links lead to.
        title: its heading.
        parts: what it holds.
        data: its tables as they are downloaded.
    """

    id: str
    title: str
    parts: Sequence[Child]
    data: Sequence[Data] = field(default=())

    def made(self) -> Element:
        """The section as an element, with links to its tables at the end."""
        links: list[Child] = []
        for table in self.data:
            links += [
                ", " if links else "",
                download(f"{table.name}.csv", "text/csv", table.csv(), f"{table.name}.csv"),
            ]
        saved = element("p", {"class": "quiet download"}, "Download: ", *links) if links else None
        heading = element("h2", {"id": f"{self.id}-title"}, self.title)
        return element("section", {"id": self.id, "aria-labelledby": f"{self.id}-title"}, heading, *self.parts, saved)


def paragraph(*children: Child, quiet: bool = False) -> Element:
    """A paragraph; a quiet one explains."""
    return element("p", {"class": "quiet"} if quiet else {}, *children)


def named(label: str, style: str) -> Element:
    """A label with its swatch."""
    return element("span", {"class": "label"}, swatch(style), element("bdi", {}, label))


def with_note(value: str, note: str) -> Element:
    """A number with a quiet line under it."""
    return element("span", {}, value, " ", element("span", {"class": "quiet"}, note))


def rows_of(count: int) -> str:
    """A number of rows."""
    return f"{count:,} row" if count == 1 else f"{count:,} rows"


def listed(parts: Sequence[str]) -> str:
    """Parts of a sentence in a row."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))
