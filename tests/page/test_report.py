"""The report for everybody: narrow and wide, light and dark, on paper, by keyboard, and for screen readers."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.report.scored import LABELS, Row, page_about
from tests.report.test_page_of_report import HOSTILE

pytestmark = pytest.mark.extra

COLUMNS = ("store", "date")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a report that has every part, with texts, names and values as long and as strange as can be."""
    texts = [*HOSTILE, "word" * 200, *(f"{word} lamp number {word * 9}" for word in ("broken", "lovely", "plain"))]
    rows = [
        Row(
            texts[number % len(texts)],
            LABELS[number % 3],
            0.4 + number % 60 / 100,
            "unsure" if number % 60 < 14 else "unreadable" if number % 31 == 0 else "ok",
            rating=1 + number % 10,
            more=(
                ("a_long_name_of_a_store" * 5, "Leeds", "<b>Porto</b>")[number % 3 if number > 3 else 0],
                f"2024-{1 + number % 12:02}-11",
            ),
        )
        for number in range(300)
    ]
    place = tmp_path_factory.mktemp("report") / "report.html"
    place.write_text(page_about(rows, COLUMNS, group_by=("store",)))
    return place.as_uri()


def opened(browser: Browser, address: str, width: int, scheme: Literal["light", "dark"]) -> tuple[Page, list[str]]:
    """The report in a window, and whatever it complains of or asks for."""
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if request.url != address else None)
    page.goto(address)
    return page, said


@pytest.mark.parametrize("width", [320, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_read_it(browser: Browser, report: str, width: int, scheme: Literal["light", "dark"]) -> None:
    """axe-core finds nothing, nothing sticks out of the window, and nothing is asked for from anywhere."""
    page, said = opened(browser, report, width, scheme)
    try:
        page.locator("details summary").click()
        found = Axe().run(page).response["violations"]
        assert [(rule["id"], rule["nodes"]) for rule in found] == []
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert said == []
    finally:
        page.close()


def test_on_paper(browser: Browser, report: str, tmp_path: Path) -> None:
    """Nothing is cut off by a window that scrolls, and links that save files are left out."""
    page, _ = opened(browser, report, 1000, "light")
    try:
        page.emulate_media(media="print")
        assert page.evaluate(
            "[...document.querySelectorAll('.table')].every(one => getComputedStyle(one).maxHeight === 'none')"
        )
        assert not page.locator("nav").is_visible()
        page.pdf(path=tmp_path / "report.pdf", format="A4")
        assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF-")
    finally:
        page.close()


def test_tables_are_saved_and_parts_reached_by_keyboard(browser: Browser, report: str) -> None:
    """Without a script: the first Tab skips to the result, and a link saves what the page holds."""
    page, _ = opened(browser, report, 1000, "light")
    try:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        with page.expect_download() as download:
            page.locator("a[download='shares.csv']").click()
        assert Path(download.value.path()).read_text(encoding="utf-8-sig").startswith("label,rows,share")
        assert page.locator("script").count() == 0
    finally:
        page.close()
