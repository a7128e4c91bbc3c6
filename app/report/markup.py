"""Elements of HTML. Whatever goes in is text and is escaped; nothing becomes markup that is not made here."""

from __future__ import annotations

import base64
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element, tostring

import orjson

from app.files.delimited import RecordWriter
from app.files.writing import harmless

_BIDI_CONTROLS = dict.fromkeys([0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)])
"""Characters that turn the direction of what stands behind them; a text gets one direction, its own."""
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")

Child = Element | str | None


def element(tag: str, attributes: Mapping[str, object] | None = None, *children: Child) -> Element:
    """An element with text and elements in it; None is left out."""
    made = Element(tag, {name: clean(str(value)) for name, value in (attributes or {}).items()})
    last: Element | None = None
    for child in children:
        if isinstance(child, str):
            if last is None:
                made.text = (made.text or "") + clean(child)
            else:
                last.tail = (last.tail or "") + clean(child)
        elif child is not None:
            made.append(child)
            last = child
    return made


def quoted(text: str, tag: str = "bdi") -> Element:
    """Somebody's text: in its own direction, whatever surrounds it."""
    return element(tag, {"dir": "auto"}, text)


def clean(text: str) -> str:
    """A text without what a page cannot hold: control characters become the replacement character."""
    return _CONTROLS.sub("\ufffd", text.translate(_BIDI_CONTROLS))


def rendered(made: Element) -> str:
    """An element as HTML."""
    return tostring(made, encoding="unicode", method="html")


@dataclass(frozen=True)
class Data:
    """A table of a report as it is downloaded.

    Attributes:
        name: of the file, without its ending.
        columns: names of its columns.
        rows: their values.
    """

    name: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]

    def csv(self) -> bytes:
        """CSV for spreadsheets: with a byte order mark, and an apostrophe before what would be computed."""
        records = RecordWriter(",").records([[harmless(value) for value in row] for row in (self.columns, *self.rows)])
        return "".join(f"{record}\r\n" for record in records).encode("utf-8-sig", "replace")

    def objects(self) -> list[dict[str, Any]]:
        """The rows as objects."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def download(name: str, kind: str, content: bytes, text: str) -> Element:
    """A link that saves a file which the page itself holds."""
    address = f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
    return element("a", {"class": "download", "download": name, "href": address}, text)


def json_of(tables: Sequence[Data]) -> bytes:
    """All tables as one object of JSON."""
    return orjson.dumps({table.name: table.objects() for table in tables}, option=orjson.OPT_INDENT_2)


def file_name(text: str) -> str:
    """A text as part of a file's name."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40] or "column"
