"""Whether an answer was right: who is asked, what is sent and kept, and what is said where it cannot be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from app.feedback.folder import FeedbackEntry, FeedbackFolder
from app.keys import CLASSIFY, FEEDBACK, new_key
from tests.page.chromium import answer_with, prediction
from tests.page.windows import everybody_can_use
from tests.pictures import MODEL, STORE
from tests.service import Service, serving

pytestmark = pytest.mark.extra

SCORES = {"negative": 0.1, "neutral": 0.1, "positive": 0.8}


def kept(folder: Path, text: str) -> list[FeedbackEntry]:
    """What is kept about a text, which no other test has."""
    return [entry for entry in FeedbackFolder(folder, 0).entries() if entry.text == text]


def read(page: Page, text: str) -> None:
    """A text is answered, and the question is unfolded."""
    page.locator("#text").fill(text)
    expect(page.locator("#feedback")).to_be_visible()
    expect(page.locator("#feedback-send")).to_be_enabled()
    page.locator("#feedback-title").click()
    expect(page.locator("#feedback-labels input").first).to_be_visible()


def test_a_label_is_sent_and_kept(page: Page, feedback_folder: Path) -> None:
    """By keyboard alone: with what was answered by what, and the comment; the next text is asked about anew."""
    text = "Oh great, it broke again. 🙄"
    page.locator("#text").fill(text)
    expect(page.locator("#feedback-title")).to_have_text("Was this right?")
    answered = page.locator("#label").inner_text()
    page.locator("#feedback-title").focus()
    for key in ("Enter", "Tab", "Space", "Tab"):
        page.keyboard.press(key)
    expect(page.locator("#feedback-labels input:checked")).to_have_value("negative")
    page.keyboard.type("Irony.")
    page.keyboard.press("Enter")
    expect(page.locator("#feedback-said")).to_have_text("Thank you. It is kept that this text is “negative”.")
    expect(page.locator("#feedback-said")).to_be_focused()
    expect(page.locator("#feedback")).to_be_hidden()
    [entry] = kept(feedback_folder, text)
    assert (entry.label, entry.answered, entry.comment, entry.by) == ("negative", answered, "Irony.", None)
    assert f"{entry.model}/{entry.version}" in page.locator("#facts").inner_text()
    page.locator("#text").fill(f"{text} Never again.")
    expect(page.locator("#feedback")).to_be_visible()
    expect(page.locator("#feedback-said")).to_be_empty()
    expect(page.locator("#feedback-comment")).to_have_value("")
    expect(page.locator("#feedback-labels input:checked")).to_have_count(0)


def test_it_is_said_that_the_text_is_kept(page: Page) -> None:
    """By whom and what for, before anything is sent; and nothing is sent without a label."""
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    read(page, "It is what it is.")
    said = "are kept by whoever runs this service, to judge and train models by, until they delete them."
    expect(page.locator("#feedback-form")).to_contain_text(said, use_inner_text=True)
    page.locator("#feedback-send").click()
    expect(page.locator("#feedback-labels input").first).to_be_focused()
    assert not [url for url in sent if url.endswith("/feedback")]


def test_doubts_are_no_answer(page: Page) -> None:
    """Where the page said that it is not sure, none is said to have been right or wrong."""
    answer_with(page, prediction(SCORES, judgement="unsure"))
    sent: list[dict[str, Any]] = []

    def take(route: Route) -> None:
        sent.append(route.request.post_data_json or {})
        route.fulfill(status=201, json={"model": "reviews-gru", "version": 1, "label": "neutral", "right": None})

    page.route("**/feedback", take)
    read(page, "Well.")
    expect(page.locator("#feedback-title")).to_have_text("Do you know the right label?")
    page.get_by_label("neutral", exact=True).check()
    page.locator("#feedback-send").click()
    expect(page.locator("#feedback-said")).to_contain_text("“neutral”")
    assert sent == [{"text": "Well.", "label": "neutral", "model": "reviews-gru", "version": 1}]


def test_what_cannot_be_kept_is_said(page: Page) -> None:
    """And what was filled in is still there; sent again by itself where the service says when, until it is kept."""
    answer_with(page, prediction(SCORES))
    status = {
        "status": 507,
        "content_type": "application/problem+json",
        "body": json.dumps({"code": "feedback_full", "detail": "no more"}),
    }
    page.route("**/feedback", lambda route: route.fulfill(**status))
    read(page, "Fine.")
    page.get_by_label("negative", exact=True).check()
    page.locator("#feedback-comment").fill("No.")
    page.locator("#feedback-send").click()
    expect(page.locator("#feedback-notice")).to_contain_text("There is no room for more feedback")
    expect(page.get_by_label("negative", exact=True)).to_be_checked()
    expect(page.locator("#feedback-comment")).to_have_value("No.")
    status |= {"status": 503, "body": json.dumps({"code": "feedback_unavailable"}), "headers": {"Retry-After": "1"}}
    page.locator("#feedback-send").click()
    expect(page.locator("#feedback-notice")).to_contain_text("It is sent again in a few seconds")
    status |= {"status": 201, "body": "{}"}
    expect(page.locator("#feedback-said")).to_contain_text("“negative”")
    expect(page.locator("#feedback-notice")).to_be_hidden()


@pytest.mark.parametrize("judgement", ["ok", "unsure"])
def test_everybody_can_say_so(sized: Page, judgement: str) -> None:
    """In every window and colour, with an error; and the labels of somebody's own model."""
    long = {f"{number}_{'a_long_name_of_a_class_' * 4}": 0.05 for number in range(4)}
    answer_with(sized, prediction({**SCORES, "positive": 0.6, **long}, judgement=judgement))
    sized.route("**/feedback", lambda route: route.fulfill(status=507, json={"code": "feedback_full"}))
    read(sized, "Fine.")
    everybody_can_use(sized)
    sized.get_by_label("negative", exact=True).check()
    sized.locator("#feedback-send").click()
    expect(sized.locator("#feedback-notice")).to_be_visible()
    everybody_can_use(sized)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Keys by name; under "file" the file that knows them."""
    path = tmp_path_factory.mktemp("keys") / "keys.txt"
    made = {name: new_key(name, scopes) for name, scopes in (("r", [CLASSIFY]), ("expert", [CLASSIFY, FEEDBACK]))}
    path.write_text("".join(f"{key.line}\n" for _, key in made.values()))
    return {name: text for name, (text, _) in made.items()} | {"file": str(path)}


@pytest.fixture(scope="module")
def guarded(keys: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Path]]:
    """A service behind API keys that takes feedback, and where it keeps it."""
    folder = tmp_path_factory.mktemp("guarded")
    with serving(STORE, MODEL, workers="1", api_keys=keys["file"], feedback_folder=str(folder)) as running:
        yield running, folder


def test_only_who_may_is_asked(browser: Browser, guarded: tuple[Service, Path], keys: dict[str, str]) -> None:
    """A key that may only classify is not asked, and nothing is tried; with another one the question is there."""
    service, folder = guarded
    page = browser.new_page()
    tried: list[str] = []
    page.on("request", lambda request: tried.append(request.url) if request.url.endswith("/feedback") else None)
    try:
        page.goto(service.url)
        page.locator("#key").fill(keys["r"])
        page.locator("#key").press("Enter")
        page.locator("#text").fill("A joy.")
        expect(page.locator("#label")).to_have_text("positive")
        expect(page.locator("#model option").first).to_be_attached()
        expect(page.locator("#feedback")).to_be_hidden()
        assert tried == []
        page.locator("#key-open").click()
        page.locator("#key").fill(keys["expert"])
        page.locator("#key").press("Enter")
        expect(page.locator("#feedback")).to_be_visible()
        page.locator("#feedback-title").click()
        expect(page.locator("#feedback-form")).to_contain_text("with the name of your API key")
        page.get_by_label("positive (as answered)").check()
        page.locator("#feedback-send").click()
        expect(page.locator("#feedback-said")).to_contain_text("“positive”")
        assert [(it.by, it.right) for it in kept(folder, "A joy.")] == [("expert", True)]
    finally:
        page.close()


def test_where_nothing_is_kept_nobody_is_asked(browser: Browser, service: Service) -> None:
    """As a service without a folder tells with its models."""
    page = browser.new_page()

    def without(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "feedback": False})

    page.route("**/models", without)
    try:
        page.goto(service.url)
        page.locator("#text").fill("A joy.")
        expect(page.locator("#label")).to_have_text("positive")
        expect(page.locator("#model option").first).to_be_attached()
        expect(page.locator("#feedback")).to_be_hidden()
    finally:
        page.close()
