"""The report on a scored file: in the page, and as one file."""

from __future__ import annotations

import re
from pathlib import Path

import openpyxl
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.page.chromium import SLOW
from tests.page.windows import everybody_can_use
from tests.pictures import served

pytestmark = pytest.mark.extra

ROWS = [
    ("A", "A joy from start to end."),
    ("A", "I love it!"),
    ("B", "Dull and far too long."),
    ("B", "Ein Lob auf den Film."),
]
REPORTS = re.compile(r"/files\?.*output=html")


def scored(page: Page, path: Path) -> None:
    """A file of forty rows of two shops over forty days, with a report on it."""
    rows = [f"2025-{1 + n // 28:02}-{1 + n % 28:02},{shop},{text}\n" for n, (shop, text) in enumerate(ROWS * 10)]
    path.write_text("day,shop,review\n" + "".join(rows))
    page.locator("#tab-file").click()
    page.locator("#file").set_input_files(path)
    expect(page.locator("#start")).to_contain_text(path.name)
    page.locator("#start").click()
    expect(page.locator("#file-summary")).to_contain_text("40 rows", timeout=SLOW)


def test_a_report_is_shown_and_saved(page: Page, browser: Browser, tmp_path: Path) -> None:
    """Shares with what is unreadable, over time, by a column, words, rows, scores; and the same as a file, which asks
    for nothing from anywhere."""
    scored(page, tmp_path / "reviews.csv")
    report = page.locator("#report")
    expect(report.locator("#shares")).to_contain_text("10 of 40 rows", timeout=SLOW)
    for part in ("#time", "#words", "#aspects", "#rows", "#scores"):
        expect(report.locator(f"section{part}")).to_be_visible()
    page.locator("#group-by").select_option("shop")
    expect(report.locator("#by-shop")).to_contain_text("By shop", timeout=SLOW)
    with page.expect_download() as found:
        page.locator("#download-html").click()
    assert found.value.suggested_filename == "reviews.report.html"
    with page.expect_download() as workbook:
        page.locator("#download-xlsx").click()
    assert workbook.value.suggested_filename == "reviews.scored.xlsx"
    workbook.value.save_as(tmp_path / "saved.xlsx")
    sheets = openpyxl.load_workbook(tmp_path / "saved.xlsx")
    assert sheets["rows"].max_row == 41
    assert "by-shop" in sheets.sheetnames
    saved = tmp_path / "saved.html"
    found.value.save_as(saved)
    alone = browser.new_page()
    asked: list[str] = []
    alone.on("request", lambda request: asked.append(request.url))
    alone.goto(saved.as_uri())
    expect(alone.locator("h1")).to_have_text("Sentiment of reviews.csv")
    expect(alone.locator(".subtitle")).to_have_text(f"By {served()}")
    expect(alone.locator("#by-shop")).to_be_visible()
    assert asked == [saved.as_uri()]
    alone.close()


def test_everybody_can_read_the_report(sized: Page, tmp_path: Path) -> None:
    """Narrow and wide, light and dark, with forced colours."""
    scored(sized, tmp_path / "reviews.csv")
    expect(sized.locator("#report section").first).to_be_visible(timeout=SLOW)
    everybody_can_use(sized)


def test_a_column_that_has_no_times(page: Page, tmp_path: Path) -> None:
    """Is refused in words, and nothing of the report before is left; another column brings it back."""
    scored(page, tmp_path / "reviews.csv")
    expect(page.locator("#report section").first).to_be_visible(timeout=SLOW)
    page.locator("#time-column").select_option("shop")
    expect(page.locator("#report-notice")).to_contain_text("cannot be read as times", timeout=SLOW)
    expect(page.locator("#report section")).to_have_count(0)
    expect(page.locator("#download-html")).to_be_hidden()
    page.locator("#time-column").select_option("day")
    expect(page.locator("#report section#time")).to_be_visible(timeout=SLOW)
    expect(page.locator("#report-notice")).to_be_hidden()


def test_a_failed_report_leaves_the_rows(page: Page, tmp_path: Path) -> None:
    """They and their downloads are there; the report is made by a later try. Another file takes all of it away."""
    page.route(REPORTS, lambda route: route.fulfill(status=503, json={"code": "overloaded"}))
    scored(page, tmp_path / "reviews.csv")
    expect(page.locator("#report-notice")).to_contain_text("busy")
    expect(page.locator("#download-csv")).to_be_visible()
    expect(page.locator("#rows tbody tr")).to_have_count(40)
    page.unroute(REPORTS)
    page.locator("#group-by").select_option("shop")
    expect(page.locator("#report #by-shop")).to_be_visible(timeout=SLOW)
    page.route("**/files?*", lambda route: route.fulfill(status=422, json={"code": "invalid_file", "detail": "bad"}))
    page.locator("#start").click()
    expect(page.locator("#file-notice")).to_have_text("bad")
    expect(page.locator("#report-part")).to_be_hidden()
    expect(page.locator("#report section")).to_have_count(0)
