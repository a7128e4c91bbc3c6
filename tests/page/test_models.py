"""Several models on the page: which one answers, and two of them beside each other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.page.chromium import body_of, explanation
from tests.page.windows import HEIGHTS, everybody_can_use
from tests.pictures import MODEL, STORE, served
from tests.service import Service, serving

pytestmark = pytest.mark.extra

OTHER = "imdb-gru/4"
TEXT = "A good film, but far too long."
SCORES = {"negative": 0.4, "positive": 0.6}


@pytest.fixture(scope="module")
def several() -> Iterator[Service]:
    """A service that has two models loaded."""
    with serving(STORE, MODEL, workers="1", timeout="300", further_models=OTHER) as running:
        yield running


@pytest.fixture
def page(browser: Browser, several: Service) -> Iterator[Page]:
    """The page of that service; explanations, which need a process for each model, are made up."""
    page = opened(browser, several)
    yield page
    page.context.close()


def opened(browser: Browser, service: Service, width: int = 1280, *, dark: bool = False) -> Page:
    context = browser.new_context(
        viewport={"width": width, "height": HEIGHTS[width]}, color_scheme="dark" if dark else "light"
    )
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    explain_by_itself(page)
    page.goto(service.url)
    expect(page.locator("#model option")).to_have_count(2)
    return page


def explain_by_itself(page: Page) -> None:
    def answer(route: Route) -> None:
        body = body_of(route)
        if "explain" not in body:
            route.continue_()
            return
        made_up = {"label": "positive", "scores": SCORES, "explanation": explanation(body["text"], SCORES)}
        route.fulfill(json=made_up)

    page.route("**/classify", answer)


def answered_by(page: Page, name: str, side: str = "") -> None:
    expect(page.locator(f"#{side}facts")).to_contain_text(name)
    expect(page.locator(f"#{side}result")).to_have_attribute("aria-busy", "false")


def test_a_model_is_chosen(page: Page) -> None:
    """It answers the text that is there, those that are typed then, and what is copied; the page says which it is."""
    page.locator("#text").fill(TEXT)
    answered_by(page, served())
    expect(page.locator("#model option:checked")).to_have_text(f"{served()} (served)")
    page.locator("#model").select_option(OTHER)
    answered_by(page, OTHER)
    expect(page.locator("#model-now")).to_have_text(re.compile(rf"Model {OTHER}, \d\d\.\d % right on its test\."))
    page.locator("#code summary").click()
    for language, named in (("curl", f'"model":"{OTHER}"'), ("Python", f'model="{OTHER}"'), ("JavaScript", OTHER)):
        page.locator("#language").select_option(language)
        expect(page.locator("#snippet")).to_contain_text(named)
    page.locator("#model").select_option(served())
    answered_by(page, served())
    expect(page.locator("#snippet")).not_to_contain_text("model")


def test_one_model_is_nothing_to_choose(browser: Browser, service: Service) -> None:
    """There is no list, nothing to compare but texts, and links name none."""
    page = browser.new_page()
    page.goto(f"{service.url}/#text=good&model={served()}")
    expect(page.locator("#model-now")).to_contain_text(served())
    expect(page.locator("#model-choice")).to_be_hidden()
    expect(page.locator("#text")).to_have_value("good")
    page.locator("#tab-compare").click()
    expect(page.locator("#compare-what")).to_be_hidden()
    page.goto("about:blank")
    page.goto(f"{service.url}/#text=good&model=absent/7")
    expect(page.locator("#model-said")).to_have_text(
        f"absent/7, which this was made with, is not loaded here; {served()} answers."
    )
    answered_by(page, served())
    expect(page.locator("#review-notice")).to_be_hidden()
    page.close()


@pytest.mark.parametrize(("width", "dark"), [(320, True), (1280, False)])
def test_two_models_of_one_text(browser: Browser, several: Service, width: int, dark: bool) -> None:
    """One field, two verdicts side by side where there is room; in words by the models' names; and back again."""
    page = opened(browser, several, width, dark=dark)
    page.locator("#text").fill(TEXT)
    page.locator("#tab-compare").click()
    page.get_by_label("Two models").check()
    expect(page.locator("#compare-text")).to_have_value(TEXT)
    answered_by(page, served(), "a-")
    answered_by(page, OTHER, "b-")
    expect(page.locator("#difference")).to_contain_text(re.compile(rf"^{served()}: .+ {OTHER}: |^Both: "))
    expect(page.locator("#b-words .word").first).to_be_visible()
    for side in "ab":
        expect(page.locator(f"#{side}-text")).to_be_hidden()
    everybody_can_use(page)
    tops = [page.locator(f"#{side}-model").evaluate("it => it.getBoundingClientRect().top") for side in "ab"]
    assert (tops[0] == tops[1]) == (width > 700)
    page.get_by_label("Second model").select_option(served())
    answered_by(page, served(), "b-")
    expect(page.locator("#difference")).to_contain_text("Both: ")
    page.get_by_label("Two texts").check()
    expect(page.locator("#b-text")).to_have_value("")
    expect(page.locator("#a-text")).to_have_value(TEXT)
    expect(page.locator("#difference")).to_be_empty()
    page.context.close()


def test_links_bring_their_models(page: Page, several: Service) -> None:
    """Of a text the one that answered, of a comparison both."""
    page.locator("#model").select_option(OTHER)
    page.locator("#text").fill(TEXT)
    answered_by(page, OTHER)
    page.locator("#copy-link").click()
    expect(page.locator("#link-said")).to_have_text("Copied.")
    link = page.evaluate("navigator.clipboard.readText()")
    assert link == f"{several.url}/#text={quote(TEXT)}&model={quote(OTHER, safe='')}"
    page.locator("#tab-compare").click()
    page.get_by_label("Two models").check()
    page.get_by_label("First model").select_option(OTHER)
    page.get_by_label("Second model").select_option(served())
    answered_by(page, OTHER, "a-")
    answered_by(page, served(), "b-")
    page.locator("#copy-comparison").click()
    expect(page.locator("#comparison-said")).to_have_text("Copied.")
    both = page.evaluate("navigator.clipboard.readText()")

    other = page.context.new_page()
    explain_by_itself(other)
    other.goto(link)
    answered_by(other, OTHER)
    expect(other.locator("#model")).to_have_value(OTHER)
    other.goto("about:blank")
    other.goto(both)
    answered_by(other, OTHER, "a-")
    answered_by(other, served(), "b-")
    expect(other.locator("#compare-text")).to_have_value(TEXT)


def test_texts_of_before_know_their_model(page: Page) -> None:
    """The same text by two models is two entries, and a click has the model answer again."""
    page.locator("#text").fill(TEXT)
    expect(page.locator("#history-count")).to_have_text("1")
    page.locator("#model").select_option(OTHER)
    expect(page.locator("#history-count")).to_have_text("2")
    page.locator("#history summary").click()
    entries = page.locator("#history-list button")
    assert [entry.split(" · ")[1] for entry in entries.all_inner_texts()] == [OTHER, served()]
    entries.nth(1).click()
    answered_by(page, served())
    expect(page.locator("#model")).to_have_value(served())


def test_a_file_is_scored_by_the_model_that_is_chosen(page: Page) -> None:
    """Its report says so."""
    page.locator("#model").select_option(OTHER)
    page.locator("#tab-file").click()
    page.locator("#file").set_input_files(
        {"name": "reviews.csv", "mimeType": "text/csv", "buffer": b"review\nA good film.\nA dull film.\n"}
    )
    page.locator("#start").click()
    expect(page.locator("#report")).to_contain_text(OTHER)
