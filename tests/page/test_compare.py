"""Two texts side by side."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from tests.page.chromium import SLOW, answer_with, prediction
from tests.page.windows import everybody_can_use
from tests.service import Service

pytestmark = pytest.mark.extra

MIXED = "I liked the first half. The second half was dull, far too long, and the ending is simply awful!"
PRAISE = "A wonderful film, simply great."


def compared(page: Page, first: str, second: str) -> None:
    """Two texts, typed into the fields beside each other."""
    page.locator("#tab-compare").click()
    page.locator("#a-text").fill(first)
    page.locator("#b-text").fill(second)
    expect(page.locator("#difference")).not_to_be_empty()


def test_two_texts_are_compared(sized: Page) -> None:
    """Each with its own verdict and words, side by side where there is room, and the difference in words."""
    compared(sized, MIXED, PRAISE)
    expect(sized.locator("#difference")).to_have_text(
        re.compile(
            r"^First: .+ negative \(\d+\s%\)\. Second: .+ positive \(.+%\)\. The second gets \d\.\d more of 10 stars\.$"
        )
    )
    for side in "ab":
        expect(sized.locator(f"#{side}-words .word").first).to_be_visible(timeout=SLOW)
    everybody_can_use(sized)
    tops = [sized.locator(f"#{side}-text").evaluate("it => it.getBoundingClientRect().top") for side in "ab"]
    assert (tops[0] == tops[1]) == (sized.evaluate("window.innerWidth") > 700)


def test_one_review_is_the_first_of_two(page: Page) -> None:
    """What somebody was reading is there to be compared; what is there already stays."""
    page.locator("#text").fill(PRAISE)
    page.locator("#tab-compare").click()
    expect(page.locator("#a-text")).to_have_value(PRAISE)
    expect(page.locator("#a-label")).to_have_text("positive")
    page.locator("#tab-review").click()
    page.locator("#text").fill(MIXED)
    page.locator("#tab-compare").click()
    expect(page.locator("#a-text")).to_have_value(PRAISE)


def test_a_failure_of_one_leaves_no_difference(page: Page) -> None:
    """The other text keeps its answer; nothing is said of both."""
    compared(page, MIXED, PRAISE)
    page.route("**/classify", lambda route: route.fulfill(status=500, json={"code": "internal_error"}))
    page.locator("#b-text").fill("terrible")
    expect(page.locator("#b-review-notice")).to_contain_text("The service failed")
    expect(page.locator("#b-result")).to_be_hidden()
    expect(page.locator("#a-label")).to_have_text("negative")
    expect(page.locator("#difference")).to_be_empty()
    expect(page.locator("#copy-comparison")).to_be_hidden()
    page.unroute("**/classify")
    page.locator("#b-text").fill("")
    expect(page.locator("#b-review-notice")).to_be_hidden()
    expect(page.locator("#difference")).to_be_empty()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({}, "Both: likely positive (70\xa0%). In stars they are about the same."),
        ({"judgement": "unsure"}, "Both: not sure."),
        ({"judgement": "unreadable"}, "Both: cannot read this."),
        ({"rating": None}, "Both: likely positive (70\xa0%)."),
    ],
)
def test_what_two_texts_have_in_common(page: Page, answer: dict[str, object], said: str) -> None:
    """Stars are compared only where the model expects some and is sure enough."""
    answer_with(page, prediction({"negative": 0.3, "positive": 0.7}, **answer))
    compared(page, "A film", "Another film")
    expect(page.locator("#difference")).to_have_text(said)


def test_a_link_brings_both(page: Page, service: Service) -> None:
    """Behind the #."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    compared(page, MIXED, PRAISE)
    page.locator("#copy-comparison").click()
    expect(page.locator("#comparison-said")).to_have_text("Copied.")
    link = page.evaluate("navigator.clipboard.readText()")
    assert link == f"{service.url}/#text={quote(MIXED, safe='!')}&other={quote(PRAISE)}"
    other = page.context.new_page()
    other.goto(link)
    expect(other.locator("#difference")).to_contain_text("Second:")
    expect(other.locator("#b-text")).to_have_value(PRAISE)
