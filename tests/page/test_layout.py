"""The page for everybody: narrow and wide, light and dark, by keyboard, and as a screen reader has it."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.page.chromium import SLOW, answer_with, prediction
from tests.page.windows import everybody_can_use

pytestmark = pytest.mark.extra

REVIEW = "I liked the first half 🎬. The second half was dull, far too long, and the ending is simply awful!"


def test_an_answer_with_its_explanation(sized: Page) -> None:
    """Every word and the curve, and what each number means unfolded; text, verdict and bar are on the first screen."""
    everybody_can_use(sized)
    sized.locator("#text").fill(REVIEW)
    expect(sized.locator("#words .word").first).to_be_visible(timeout=SLOW)
    for part in ("#text", "#verdict", "#stars", "#shares", "#shares-legend"):
        expect(sized.locator(part)).to_be_in_viewport(ratio=1)
    assert sized.evaluate("window.innerWidth < 1280 || document.documentElement.scrollHeight <= window.innerHeight")
    sized.locator("#meanings summary").click()
    everybody_can_use(sized)
    sized.get_by_role("textbox", name="Look for").fill(f"half, ending, {'a_long_name_of_a_part_' * 4}")
    expect(sized.locator("#aspects-said")).to_contain_text("Not mentioned: a_long_name")
    everybody_can_use(sized)


def test_labels_differ_without_colours(sized: Page) -> None:
    """Bars and their legends have patterns, words have lines of another kind, whatever the colours."""
    answer_with(sized, prediction({"negative": 0.3, "neutral": 0.1, "positive": 0.6}))
    sized.locator("#text").fill("good bad")
    expect(sized.locator("#words .word").first).to_be_visible()
    for place in ("#shares span", "#shares-legend .swatch"):
        patterns = sized.locator(place).evaluate_all("parts => parts.map(it => getComputedStyle(it).backgroundImage)")
        assert len(set(patterns)) == len(patterns) == 3
    lines = sized.locator("#words .word").evaluate_all(
        "words => words.map(it => getComputedStyle(it).textDecorationStyle)"
    )
    assert lines == ["solid", "dotted"]


@pytest.mark.parametrize("judgement", ["ok", "unsure", "unreadable"])
def test_three_labels_and_doubts(sized: Page, judgement: str) -> None:
    """Neutral's colour, and what stands in place of a label."""
    answer_with(sized, prediction({"negative": 0.2, "neutral": 0.6, "positive": 0.2}, judgement=judgement, unknown=0.6))
    sized.locator("#text").fill(REVIEW)
    expect(sized.locator("#label")).to_be_visible()
    if judgement != "unreadable":
        expect(sized.locator("#words .word").first).to_be_visible()
    everybody_can_use(sized)


def test_many_labels_with_long_names(sized: Page) -> None:
    """Classes of somebody's own model."""
    answer_with(sized, prediction({f"{number}_{'a_long_name_of_a_class_' * 4}": 0.1 for number in range(10)}))
    sized.locator("#text").fill("word" * 100)
    expect(sized.locator("#words .word").first).to_be_visible()
    everybody_can_use(sized)


def test_a_file_and_its_rows(sized: Page, tmp_path: Path) -> None:
    """Names and values without a space, however long; the table scrolls by itself."""
    table = tmp_path / f"{'a_long_file_name_' * 8}.csv"
    table.write_text(f"review,{'column' * 40}\n" + f"a good film,{'value' * 60}\n" * 20)
    sized.locator("#tab-file").click()
    sized.locator("#file").set_input_files(table)
    expect(sized.locator("#start")).to_be_visible()
    everybody_can_use(sized)
    sized.locator("#start").click()
    expect(sized.locator("#file-summary")).to_contain_text("20 rows")
    everybody_can_use(sized)


def test_errors_and_the_form_for_a_key(sized: Page, tmp_path: Path) -> None:
    """Three notices at once, one with a long name in it."""
    sized.route("**/classify", lambda route: route.fulfill(status=401))
    other = tmp_path / f"{'a_long_file_name_' * 8}.png"
    other.touch()
    sized.locator("#text").fill(REVIEW)
    sized.locator("#tab-file").click()
    sized.locator("#file").set_input_files(other)
    expect(sized.locator("#key-form")).to_be_visible()
    everybody_can_use(sized)


def test_the_keyboard_suffices(page: Page) -> None:
    """From the text by Tab to a sample, and by arrow keys from one tab to the next, to a file."""
    reached = set()
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
    assert "praise" in reached
    page.locator("#tab-review").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#tab-file")).to_be_focused()
    expect(page.locator("#review")).to_be_hidden()
    for _ in range(4):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
    assert "file" in reached
