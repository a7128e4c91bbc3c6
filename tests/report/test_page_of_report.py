"""The report as a page: self-contained, safe whatever the texts are, the same each time."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
from html.parser import HTMLParser

import pytest

from app.report.page import page_of
from tests.report.scored import LABELS, Row, found_in, page_about, scored

HOSTILE = [
    "</script><script>alert(1)</script> awful",
    '"><img src=x onerror=alert(1)> bad',
    "<svg/onload=alert(1)> terrible </p></blockquote></main>",
    '=HYPERLINK("http://example.invalid","click") bad lamp',
    "nul \0 bell \a escape \x1b[31m delete \x7f c1 \x9b bad",
    "right to left \u202eolleh\u202c and \u2067isolated, هذا سيئ",
    "&lt;b&gt; &amp; $style ${digest} {{ 7 * 7 }} <!-- --> ]]>",
    "half a pair \ufffe and \uffff 👩‍👩‍👧 \u0000",
]
ROWS = [
    Row(text, LABELS[number % 3], 0.6 + number / 100, rating=2.0 + number, more=(text, f"2024-01-{1 + number:02}"))
    for number, text in enumerate(HOSTILE)
]
BASE = [
    Row("broken lamp and rude answer", "negative", 0.9, more=("Leeds", "2024-01-01")),
    Row("lovely lamp, thank you", "positive", 0.95, more=("Porto", "2024-02-01")),
    Row("a lamp", "neutral", 0.6, "unsure", more=("Porto", "2024-03-01")),
]


class Reader(HTMLParser):
    """Collects what a browser would make of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.downloads: dict[str, bytes] = {}
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        found = {name: value or "" for name, value in attrs}
        self.attributes += found.items()
        if "download" in found:
            self.downloads[found["download"]] = base64.b64decode(found["href"].partition("base64,")[2])

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())


@pytest.fixture(scope="module")
def hostile() -> str:
    return page_about(ROWS, ("store <b>", "date"), group_by=("store <b>",))


def test_texts_stay_texts(hostile: str) -> None:
    """No element, attribute or address comes out of a text, a column or a value, and no control character."""
    read = Reader(hostile)
    assert not {"script", "img", "iframe", "object", "embed", "form", "link", "base"} & set(read.tags)
    assert [name for name, _ in read.attributes if name.startswith("on") or name == "style"] == []
    for name, value in read.attributes:
        if name in ("href", "src", "xlink:href", "action"):
            assert value.startswith(("#", "data:text/csv;base64,", "data:application/json;base64,"))
    assert (
        re.findall(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]", hostile) == []
    )
    assert "<script>alert(1)</script> awful" in read.text
    assert "&lt;b&gt; &amp; $style ${digest}" in read.text
    assert read.tags.count("main") == read.tags.count("h1") == 1
    assert hostile.count("</main>") == 1
    hostile.encode()


def test_nothing_is_asked_for_and_nothing_may_run(hostile: str) -> None:
    """The page's own policy allows its one style sheet, by its digest, and nothing else."""
    [style] = re.findall(r"<style>(.*?)</style>", hostile, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in hostile
    assert re.findall(r"https?://(?!example\.invalid)\S+", Reader(hostile).text) == []
    assert not re.search(r"@import|url\((?!#)", style)


def test_downloads_have_the_numbers_of_the_page(hostile: str) -> None:
    """As CSV, harmless to spreadsheets, and all of it as JSON."""
    downloads = Reader(hostile).downloads
    assert set(downloads) >= {"report.json", "shares.csv", "over-time.csv", "by-store-b.csv", "words.csv", "stars.csv"}
    whole = json.loads(downloads.pop("report.json"))
    assert {f"{name}.csv" for name in whole} == set(downloads)
    for name, content in downloads.items():
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))
        assert len(rows) - 1 == len(whole[name.removesuffix(".csv")])
        assert not any(cell.startswith(("=", "+", "@")) for row in rows for cell in row)
    assert [(row["label"], row["rows"]) for row in whole["shares"]][:3] == [
        *(("negative", 3), ("neutral", 3), ("positive", 2)),
    ]
    assert sum(row["rows"] for row in whole["by-store-b"]) == len(ROWS)


def test_the_same_rows_are_the_same_page(hostile: str) -> None:
    """To the last byte."""
    assert page_about(ROWS, ("store <b>", "date"), group_by=("store <b>",)) == hostile


def test_what_is_said_in_words() -> None:
    """Shares, doubts and what was taken: with their numbers."""
    rows = [
        *BASE,
        BASE[0],
        Row("xqv zzt", "negative", 0.7, "unreadable", more=("Leeds", "")),
        Row("", None, more=("", "")),
    ]
    text = Reader(page_about(rows, ("store", "date"), group_by=("store",))).text.replace("\xa0", " ")
    for said in (
        "Of 4 readable rows: 50.0 % negative, 25.0 % neutral and 25.0 % positive.",
        "Unsure: 1 of 6 rows (16.7 %).",
        "Unreadable: 1 of 6 rows (16.7 %).",
        "Without a label: 1 of 6 rows (16.7 %): 1 × nothing in the cell",
        "Times are in date (found by its name and its values), read as ISO 8601: 4 rows from 2024-01-01 to 2024-03-01.",
        "Over time, by week",
        "scored.csv (6 rows, CSV, values between commas, 10 columns named in the first row)",
        "By tiny/1",
        "text: text, results: label to error, group: store, time: date",
        "2026-01-02 03:04 UTC",
        "few rows",
        "Counted in 2 of 2 rows negative, 1 of 1 row neutral, 1 of 1 row positive",
        "(Monroe, Colaresi and Quinn, 2008)",
        "row 5 · unreadable",
    ):
        assert said in text


@pytest.mark.parametrize("rows", [[], [Row("", None)], [Row("xqv", "negative", 0.9, "unreadable")], [Row("a lamp")]])
def test_little_to_say(rows: list[Row]) -> None:
    """Files without rows, without labels, or with one."""
    read = Reader(page_about(rows))
    assert "What was scored" in read.text
    if not rows or rows[0].label is None or rows[0].judgement == "unreadable":
        assert "No row has a label that can be read." in read.text


def test_labels_of_ones_own() -> None:
    """Are compared each with all others, in a style of their own."""
    labels = ("billing", "delivery", "quality", "staff")
    rows = [Row(f"{label} words of {label}", label, 0.8) for label in labels for _ in range(30)]
    page = page_about(rows, labels=labels)
    assert "all other rows" in Reader(page).text
    words = json.loads(Reader(page).downloads["report.json"])["words"]
    assert {row["label"]: row["word"] for row in words} == {label: label for label in labels}
    assert 'class="bad"' not in re.sub(r"<defs>.*?</defs>", "", page)


def test_columns_whose_names_are_alike() -> None:
    """Sections and downloads keep apart what only marks tell apart."""
    rows = [Row("a lamp", more=("x", "y"))]
    read = Reader(page_about(rows, ("店", "日"), group_by=("店", "日")))
    ids = [value for name, value in read.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {"by-column.csv", "by-column-2.csv"} <= set(read.downloads)


def test_several_files_are_one_report() -> None:
    """Each is named, and its rows say which they are of."""
    found = found_in(scored(BASE, ("store", "date")), "one.csv")
    from tests.files.tables import table_of

    found.add(table_of(scored([Row("a fine chair")])), "two.csv", "2026-01-02 03:05")
    text = Reader(page_of(found)).text
    assert "Sentiment of one.csv and 1 more" in text
    assert "two.csv · row 1 · positive 0.90" in text
