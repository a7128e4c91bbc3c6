"""How a file is written: found, shown with its first rows before anything is scored, and changed by hand."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Page, expect

from tests.files.tables import workbook

pytestmark = pytest.mark.extra


def choose(page: Page, path: Path, content: bytes) -> None:
    """A file with this content, chosen by hand."""
    path.write_bytes(content)
    page.locator("#tab-file").click()
    page.locator("#file").set_input_files(path)
    expect(page.locator("#start")).to_contain_text(path.name)


def shown(page: Page) -> list[list[str]]:
    """The preview, its header first."""
    rows = page.locator("#preview tr").all()
    return [row.locator("th, td").all_inner_texts() for row in rows]


def test_a_file_is_dropped_anywhere(page: Page, tmp_path: Path) -> None:
    """As the browser itself does it, on the tab where a text was typed; its first rows are there to be looked at."""
    table = tmp_path / "reviews.csv"
    table.write_text("id;review\n1;a joy, really\n2;dull\n")
    drag = {"items": [], "files": [str(table)], "dragOperationsMask": 1}
    browser = page.context.new_cdp_session(page)
    for step in ("dragEnter", "dragOver", "drop"):
        browser.send("Input.dispatchDragEvent", {"type": step, "x": 300, "y": 300, "data": drag})
    expect(page.locator("#preview")).to_be_visible()
    expect(page.locator("#tab-file")).to_have_attribute("aria-selected", "true")
    assert shown(page) == [["id", "review"], ["1", "a joy, really"], ["2", "dull"]]
    expect(page.locator("#layout-found")).to_have_text(
        "Found: CSV, values between ';', 2 columns named in the first row."
    )
    expect(page.locator("#delimiter option").first).to_have_text("as found: semicolon")
    expect(page.locator("#column")).to_have_value("review")
    page.locator("#start").click()
    expect(page.locator("#file-summary")).to_contain_text("2 rows")


def test_what_was_found_is_changed_by_hand(page: Page, tmp_path: Path) -> None:
    """Delimiter, header, format and column; each time the first rows are read again, and it is scored as shown."""
    choose(page, tmp_path / "reviews.csv", b"a;b\na joy | of a film;dull\nfine;awful\n")
    expect(page.locator("#layout-found")).to_contain_text("Which column has the reviews is not clear")
    page.locator("#column").select_option("b")
    expect(page.locator("#preview td.chosen").first).to_have_text("dull")
    page.locator("#has-header").uncheck()
    expect(page.locator("#preview th").first).to_have_text("column_1")
    page.locator("#delimiter").select_option("bar")
    expect(page.locator("#layout-found")).to_contain_text("values between '|', 1 column, no header")
    page.locator("#format").select_option("lines of text")
    expect(page.locator("#preview td").nth(1)).to_have_text("a joy | of a film;dull")
    for part in ("#delimiter-choice", "#header-choice"):
        expect(page.locator(part)).to_be_hidden()
    page.locator("#start").click()
    expect(page.locator("#file-summary")).to_contain_text("3 rows")


def test_an_encoding_is_guessed_aloud(page: Page, tmp_path: Path) -> None:
    """What is not UTF-8 is taken for Windows-1252, which is said; another may be named."""
    choose(page, tmp_path / "reviews.csv", "id,review\n1,Café “Zoë”: a joy\n".encode("cp1252"))
    expect(page.locator("#encoding")).to_have_value("cp1252")
    expect(page.locator("#layout-found")).to_contain_text("It is not UTF-8; Windows-1252, Western Europe, is a guess")
    expect(page.locator("#preview td").nth(1)).to_have_text("Café “Zoë”: a joy")
    page.locator("#encoding").select_option("mac-roman")
    expect(page.locator("#preview td").nth(1)).not_to_contain_text("Café")
    expect(page.locator("#layout-found")).not_to_contain_text("guess")
    page.locator("#encoding").select_option("cp1252")
    expect(page.locator("#preview td").nth(1)).to_have_text("Café “Zoë”: a joy")
    page.locator("#start").click()
    expect(page.locator("#rows td").nth(1)).to_have_text("Café “Zoë”: a joy")


def test_a_character_at_the_end_of_the_start(page: Page, tmp_path: Path) -> None:
    """A letter of several bytes may be cut in two where the start of a large file ends."""
    line = "review\n" + "é" * 131_070
    choose(page, tmp_path / "reviews.txt", f"{line}é a joy\n".encode())
    expect(page.locator("#encoding")).to_have_value("utf-8")


@pytest.mark.parametrize("name", ["reviews.xlsx", "reviews.parquet"])
def test_workbooks_are_shown_too(page: Page, tmp_path: Path, name: str) -> None:
    """They are small, and sent as a whole; nothing can be chosen that they do not have."""
    content = workbook([["shop", "review"], ["A", "a joy"], ["B", "dull"]])
    if name.endswith("parquet"):
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table({"shop": ["A", "B"], "review": ["a joy", "dull"]}), sink)
        content = sink.getvalue().to_pybytes()
    choose(page, tmp_path / name, content)
    assert shown(page) == [["shop", "review"], ["A", "a joy"], ["B", "dull"]]
    for part in ("#delimiter-choice", "#encoding-choice"):
        expect(page.locator(part)).to_be_hidden()
    page.locator("#start").click()
    expect(page.locator("#file-summary")).to_contain_text("2 rows")


def test_a_large_workbook_is_not_shown_before(page: Page, tmp_path: Path) -> None:
    """Said; its column is named by hand, or found."""
    sink = pa.BufferOutputStream()
    texts = [f"A joy, number {number * number}" for number in range(100)]
    pq.write_table(pa.table({"a": ["x" * 20_000] * 100, "b": texts}), sink, compression="none", use_dictionary=False)
    choose(page, tmp_path / "reviews.parquet", sink.getvalue().to_pybytes())
    expect(page.locator("#layout-found")).to_contain_text("is not shown before it is scored")
    page.locator("#start").click()
    expect(page.locator("#file-notice")).to_contain_text("which column has the texts?")
    page.locator("#column-name").fill("b")
    page.locator("#start").click()
    expect(page.locator("#file-summary")).to_contain_text("100 rows")


def test_nothing_of_an_earlier_file_is_shown(page: Page, tmp_path: Path) -> None:
    """A file that is refused at once leaves no rows of the one before."""
    choose(page, tmp_path / "reviews.csv", b"id,review\n1,a joy\n")
    expect(page.locator("#preview td").first).to_be_visible()
    choose(page, tmp_path / "others.csv", b"<html>")
    expect(page.locator("#file-notice")).to_contain_text("web page")
    expect(page.locator("#preview")).to_be_hidden()
    expect(page.locator("#layout-found")).to_be_empty()
    assert page.locator("#column option").count() == 0
