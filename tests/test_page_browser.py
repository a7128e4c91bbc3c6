"""The page in a real Chromium in front of a real service: what a person does, and what goes wrong meanwhile."""

from __future__ import annotations

import csv
import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.service import Service, serving

pytestmark = pytest.mark.extra

ROOT = Path(__file__).parent.parent
REVIEW = "I liked the first half 🎬. The second half was dull, far too long, and the ending is simply awful!"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
SLOW = 60_000
"""Milliseconds; explanations start a process of their own."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium. Where there is none its tests are skipped, except where ``CI`` is set: there they fail."""
    program = shutil.which("chromium")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("there is no chromium")
        pytest.skip("THE PAGE IS NOT TESTED: there is no chromium")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """The shipped model on two workers."""
    with serving(ROOT / "model_store", model="imdb-gru", workers="2") as running:
        yield running


@pytest.fixture
def page(browser: Browser, service: Service) -> Iterator[Page]:
    """The page, opened; it must not complain on its console, and ask nobody else for anything."""
    context = browser.new_context(viewport={"width": 1100, "height": 900}, accept_downloads=True)
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("request", lambda request: complaints.append(request.url) if is_foreign(request.url, service) else None)
    opened.goto(service.url)
    yield opened
    context.close()
    # A refused request is on the console by itself, whatever the page makes of it.
    assert [text for text in complaints if "Failed to load resource" not in text] == []


def is_foreign(url: str, service: Service) -> bool:
    return not url.startswith((service.url, "blob:", "data:"))


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


def test_a_review_is_answered_and_explained(page: Page) -> None:
    """Label and score at once, then coloured words, sentences and the curve; words are those of the text."""
    page.locator("#text").press_sequentially(REVIEW[:20])
    page.locator("#text").fill(REVIEW)
    expect(page.locator("#label")).to_have_text(re.compile("positive|negative"))
    expect(page.locator("#score")).to_have_text(re.compile(r"\d+(\.\d+)? %"))
    expect(page.locator("#words mark").first).to_be_visible(timeout=SLOW)
    assert page.locator("#words").inner_text() == REVIEW
    assert "awful" in page.locator("#words mark").all_inner_texts()
    assert page.locator("#words .sentence").count() == 2
    expect(page.locator("#curve path")).to_be_visible()
    expect(page.locator("#curve-text")).to_contain_text("after the last")


def test_samples_and_models_are_offered(page: Page) -> None:
    """A sample fills in and answers; the served model is chosen in the list of all."""
    page.get_by_role("button", name="praise").click()
    expect(page.locator("#label")).to_have_text("positive")
    expect(page.locator("#model option:checked")).to_contain_text("imdb-gru/")
    assert page.locator("#model option").count() >= 4


def test_a_file_is_scored_shown_and_downloaded(page: Page, tmp_path: Path) -> None:
    """A thousand rows with a progress bar, their labels as a picture, and the same rows with labels as a download."""
    page.locator("#file").set_input_files(reviews(tmp_path / "reviews.csv", 1000))
    expect(page.locator("#column")).to_have_value("review")
    page.locator("#start").click()
    expect(page.locator("#progress")).to_be_visible()
    expect(page.locator("#file-summary")).to_contain_text("1,000 rows", timeout=SLOW)
    assert page.locator("#progress").get_attribute("value") == "1000"
    assert page.locator("#file-result tbody tr").count() == 100
    assert "positive" in (page.locator("#file-shares").get_attribute("aria-label") or "")
    with page.expect_download() as download:
        page.locator("#download-csv").click()
    with download.value.path().open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [str(number) for number in range(1000)]
    assert {row["shop"] for row in rows} == {'A "quoted" shop'}
    assert {row["label"] for row in rows} == {"positive", "negative"}
    assert rows[1]["review"] == "Film number 1: a joy,\nfrom start to end"


def test_a_wrong_file_is_explained(page: Page, tmp_path: Path) -> None:
    """Another kind of file, and a table that is broken: each in words."""
    other = tmp_path / "picture.png"
    other.write_bytes(b"\x89PNG")
    page.locator("#file").set_input_files(other)
    expect(page.locator("#notice")).to_contain_text("is not a file this page can score")
    broken = tmp_path / "broken.csv"
    broken.write_bytes(b"id,review\n1,good\n2,b\xffd\n")
    page.locator("#file").set_input_files(broken)
    page.locator("#start").click()
    expect(page.locator("#notice")).to_contain_text(re.compile("utf-8|UTF-8|line 3"))


def test_a_busy_service_is_explained(page: Page) -> None:
    """A refusal becomes a sentence, and the page tries again by itself when the service says so."""
    refused: dict[str, Any] = {"status": 503, "headers": {"Retry-After": "1"}, "body": '{"code": "overloaded"}'}
    page.route("**/classify", lambda route: route.fulfill(**refused))
    page.locator("#text").fill(REVIEW)
    expect(page.locator("#notice")).to_contain_text("busy")
    page.unroute("**/classify")
    expect(page.locator("#notice")).to_be_hidden(timeout=SLOW)
    expect(page.locator("#label")).to_have_text("negative")


@pytest.mark.parametrize("size", [(1100, 900), (390, 800)], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_it(browser: Browser, service: Service, size: tuple[int, int], scheme: str) -> None:
    """axe-core finds nothing serious, and nothing sticks out of the window; pictures go to $PAGE_PICTURES."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme=scheme,  # type: ignore[arg-type]
    )
    page = context.new_page()
    page.goto(service.url)
    page.locator("#text").fill(REVIEW)
    expect(page.locator("#words mark").first).to_be_visible(timeout=SLOW)
    found = Axe().run(page).response["violations"]
    assert [rule["id"] for rule in found if rule["impact"] in ("serious", "critical")] == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    if folder := os.environ.get("PAGE_PICTURES"):
        name = "phone" if size[0] < 500 else "desktop"
        page.screenshot(path=f"{folder}/page-{name}-{scheme}.png", full_page=True)
    context.close()


def test_the_keyboard_suffices(page: Page) -> None:
    """From the text by Tab to a sample, a file and back; what has the focus is seen."""
    reached = set()
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
    assert {"praise", "file"} <= reached


def test_a_service_that_is_gone_is_explained(browser: Browser) -> None:
    """The page stays, and says that the service cannot be reached."""
    with serving(ROOT / "model_store", model="imdb-gru", workers="1") as running:
        page = browser.new_page()
        page.goto(running.url)
        expect(page.locator("#model option").first).to_be_attached()
        running.process.send_signal(signal.SIGTERM)
        running.process.wait(60)
        page.locator("#text").fill(REVIEW)
        expect(page.locator("#notice")).to_contain_text("cannot be reached", timeout=SLOW)
        page.close()
