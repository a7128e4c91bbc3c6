"""A file of reviews: scored, shown, downloaded, and what goes wrong with it."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.page.chromium import SLOW
from tests.pictures import MODEL, STORE
from tests.service import serving

pytestmark = pytest.mark.extra


def reviews(path: Path, rows: int) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "review", "shop"])
        for number in range(rows):
            text = (
                f"Film number {number}: a joy,\nfrom start to end"
                if number % 2
                else f"Number {number} is dull and loud"
            )
            writer.writerow([number, text, 'A "quoted" shop'])
    return path


def score(page: Page, file: Path) -> None:
    """Choose a file and start."""
    page.locator("#tab-file").click()
    page.locator("#file").set_input_files(file)
    expect(page.locator("#start")).to_contain_text(file.name)
    page.locator("#start").click()


def download(page: Page, kind: str) -> Path:
    with page.expect_download() as found:
        page.locator(f"#download-{kind}").click()
    return Path(found.value.path())


def test_a_file_is_scored_shown_and_downloaded(page: Page, tmp_path: Path) -> None:
    """A thousand rows with a progress bar, their labels as a picture, and the same rows with labels as a download."""
    page.locator("#tab-file").click()
    page.locator("#file").set_input_files(reviews(tmp_path / "reviews.csv", 1000))
    expect(page.locator("#column")).to_have_value("review")
    page.locator("#start").click()
    expect(page.locator("#progress")).to_be_visible()
    expect(page.locator("#file-summary")).to_contain_text("1,000 rows", timeout=SLOW)
    assert page.locator("#progress").get_attribute("value") == "1000"
    assert page.locator("#rows tbody tr").count() == 100
    expect(page.locator("#table-title")).to_have_text("The first 100 of 1,000 rows")
    assert "positive" in (page.locator("#file-shares").get_attribute("aria-label") or "")
    with download(page, "csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [str(number) for number in range(1000)]
    assert {row["shop"] for row in rows} == {'A "quoted" shop'}
    assert {row["label"] for row in rows} >= {"positive", "negative"}
    assert rows[1]["review"] == "Film number 1: a joy,\nfrom start to end"


def test_a_wrong_file_is_explained(page: Page, tmp_path: Path) -> None:
    """Another kind of file, and a table that is broken: each in words."""
    other = tmp_path / "picture.png"
    other.write_bytes(b"\x89PNG")
    page.locator("#tab-file").click()
    page.locator("#file").set_input_files(other)
    expect(page.locator("#file-notice")).to_contain_text("is not a file this page can score")
    broken = tmp_path / "broken.csv"
    broken.write_bytes(b"id,review\n1,good\n2\n")
    score(page, broken)
    expect(page.locator("#file-notice")).to_contain_text("line 3: 1 values in a row, but there are 2 columns")
    expect(page.locator("#file-result")).to_be_hidden()


@pytest.mark.parametrize(("name", "content"), [("reviews.csv", "id,review\n"), ("reviews.tsv", "id\treview")])
def test_a_header_alone_is_no_row(page: Page, tmp_path: Path, name: str, content: str) -> None:
    """Said in words; there is nothing to show or to download."""
    table = tmp_path / name
    table.write_text(content)
    score(page, table)
    expect(page.locator("#file-summary")).to_have_text("0 rows: there is only a header.")
    for part in ("#file-progress", "#downloads", "#table", "#file-shares", "#file-notice"):
        expect(page.locator(part)).to_be_hidden()


def test_a_table_without_rows(page: Page, tmp_path: Path) -> None:
    """Parquet has no header that anybody sees."""
    table = tmp_path / "reviews.parquet"
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), table)
    score(page, table)
    expect(page.locator("#file-summary")).to_have_text("0 rows: the file has none.")


def test_an_empty_file_is_explained(page: Page, tmp_path: Path) -> None:
    """The service says what is missing."""
    table = tmp_path / "reviews.csv"
    table.touch()
    score(page, table)
    expect(page.locator("#file-notice")).to_be_visible()
    expect(page.locator("#file-result")).to_be_hidden()


def test_one_row_is_one_row(page: Page, tmp_path: Path) -> None:
    """In progress and summary."""
    score(page, reviews(tmp_path / "reviews.csv", 1))
    expect(page.locator("#file-summary")).to_have_text(re.compile(r"^1 row: negative 100\s%\.$"))
    expect(page.locator("#progress-text")).to_contain_text(re.compile(r"^1 of 1 row( ·|$)"))


def test_an_older_result_is_gone(page: Page, tmp_path: Path) -> None:
    """Neither the rows nor the summary of the file before are left beside an error or another file."""
    score(page, reviews(tmp_path / "reviews.csv", 5))
    expect(page.locator("#file-summary")).to_contain_text("5 rows")
    page.route("**/files?*", lambda route: route.fulfill(status=422, json={"code": "invalid_file", "detail": "bad"}))
    page.locator("#start").click()
    expect(page.locator("#file-notice")).to_have_text("bad")
    expect(page.locator("#file-result")).to_be_hidden()
    page.unroute("**/files?*")
    page.locator("#start").click()
    expect(page.locator("#file-summary")).to_contain_text("5 rows")
    page.locator("#file").set_input_files(reviews(tmp_path / "others.csv", 5))
    expect(page.locator("#file-result")).to_be_hidden()


def test_a_text_error_and_a_file_error_leave_each_other_alone(page: Page, tmp_path: Path) -> None:
    """Each is said in its own section until it is settled there."""
    page.locator("#text").fill("…")
    expect(page.locator("#review-notice")).to_be_visible()
    page.locator("#tab-file").click()
    page.locator("#file").set_input_files(reviews(tmp_path / "reviews.png", 1))
    expect(page.locator("#file-notice")).to_be_visible()
    page.locator("#tab-review").click()
    expect(page.locator("#review-notice")).to_be_visible()
    page.locator("#text").fill("A good film.")
    expect(page.locator("#review-notice")).to_be_hidden()
    page.locator("#tab-file").click()
    expect(page.locator("#file-notice")).to_be_visible()


def test_a_broken_off_file_says_so(browser: Browser, tmp_path: Path) -> None:
    """The HTTP worker dies in the midst: what had arrived is there, and is not called the whole."""
    with serving(STORE, MODEL, workers="1") as running:
        page = browser.new_page()
        page.goto(running.url)
        expect(page.locator("#model option").first).to_be_attached()
        score(page, reviews(tmp_path / "reviews.csv", 100_000))
        expect(page.locator("#progress-text")).to_contain_text("of 100,000 rows", timeout=SLOW)
        [worker] = running.children("worker")
        os.kill(worker, signal.SIGKILL)
        expect(page.locator("#file-summary")).to_contain_text(
            re.compile(r"^Broken off after [\d,]+ of 100,000 rows\."), timeout=SLOW
        )
        expect(page.locator("#file-notice")).to_contain_text("broken off")
        page.close()


def test_a_stopped_file_says_so(page: Page, tmp_path: Path) -> None:
    """How far it came; another file may be chosen only now."""
    score(page, reviews(tmp_path / "reviews.csv", 100_000))
    expect(page.locator("#progress-text")).to_contain_text("of 100,000 rows", timeout=SLOW)
    expect(page.locator("#file")).to_be_disabled()
    page.locator("#stop").click()
    expect(page.locator("#file-summary")).to_contain_text(re.compile(r"^Stopped after [\d,]+ of 100,000 rows\."))
    expect(page.locator("#file")).to_be_enabled()


def test_a_file_that_changed_is_not_the_services_fault(page: Page, tmp_path: Path) -> None:
    """A browser refuses to send it; that is not a service that is gone."""
    table = reviews(tmp_path / "reviews.csv", 3)
    page.locator("#tab-file").click()
    page.locator("#file").set_input_files(table)
    expect(page.locator("#start")).to_contain_text("reviews.csv")
    table.write_text("review\nanother\n")
    page.locator("#start").click()
    expect(page.locator("#file-notice")).to_contain_text("was changed since it was chosen")


def test_all_fields_and_digits_are_in_the_download(page: Page, tmp_path: Path) -> None:
    """Rows of JSON lines with other fields, and numbers that JavaScript cannot hold."""
    table = tmp_path / "reviews.jsonl"
    rows: list[dict[str, Any]] = [{"text": "good"}, {"text": "bad", "id": 12345678901234567890, "shop": "A"}]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    score(page, table)
    expect(page.locator("#file-summary")).to_contain_text("2 rows")
    with download(page, "csv").open(newline="", encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert (first["id"], first["shop"]) == ("", "")
    assert (second["id"], second["shop"]) == ("12345678901234567890", "A")
    assert list(first)[:4] == ["text", "id", "shop", "label"]
    expect(page.locator("#rows tbody")).to_contain_text("12345678901234567890")


def test_another_language_is_unreadable(page: Page, tmp_path: Path) -> None:
    """Such a row has a judgement in the table, and is no label's in the summary."""
    table = tmp_path / "reviews.csv"
    table.write_text('review\n"A wonderful film, simply great."\nEin wunderbarer Film.\n', encoding="utf-8")
    score(page, table)
    expect(page.locator("#file-summary")).to_contain_text(re.compile(r"^2 rows: positive 50\s%, unreadable 50\s%\."))
    expect(page.locator("#file-summary")).to_contain_text("1 of 2 rows unreadable")
    expect(page.locator("#rows tbody tr").nth(1)).to_contain_text("unreadable")
    assert page.locator("#rows th").all_inner_texts()[-3:] == ["unknown", "judgement", "error"]


def test_unreadable_and_unsure_rows_are_counted(page: Page, tmp_path: Path) -> None:
    """The service's new columns are shown; what could not be read is not counted under its label."""
    names = ["label", "score", "rating", "tokens", "truncated", "unknown", "judgement", "error"]
    prefixed = [f"sentiment_{name}" for name in names]
    rows = 7765

    def row(number: int) -> str:
        judgement = "unreadable" if number < 212 else "unsure" if number < 243 else "ok"
        label, unknown = "neutral" if number % 2 else "positive", 0.9 if number < 212 else 0.0
        values: list[Any] = [label, 0.5, 5.5, 2, False, unknown, judgement, None]
        if number == rows - 1:
            values = [None] * 7 + ["no_words"]
        return json.dumps({"review": "x", "label": "mine", **dict(zip(prefixed, values, strict=True))}) + "\n"

    headers = {"X-Rows": str(rows), "X-Result-Columns": ",".join(prefixed), "Content-Type": "application/x-ndjson"}
    headers |= {"X-Text-Column": "review", "X-Model": "tiny/1"}
    body = "".join(map(row, range(rows)))
    page.route(re.compile(r"/files\?.*output=jsonl"), lambda route: route.fulfill(headers=headers, body=body))
    score(page, reviews(tmp_path / "reviews.csv", 1))
    summary = page.locator("#file-summary")
    expect(summary).to_contain_text("212 of 7,765 rows unreadable")
    expect(summary).to_contain_text("31 of 7,765 rows not sure")
    expect(summary).to_contain_text("1 of 7,765 rows could not be classified")
    expect(summary).to_contain_text(re.compile(r"neutral 49\s%, positive 49\s%, unreadable 2\.7\s%"))
    heads = page.locator("#rows th").all_inner_texts()
    assert heads == ["review", "label", *prefixed]
    expect(page.locator("#rows tbody tr").first).to_contain_text("unreadable")
