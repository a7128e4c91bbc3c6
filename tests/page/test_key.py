"""The page in front of a service that asks for API keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from app.keys import ADMIN, CLASSIFY, new_key
from tests.pictures import MODEL, STORE
from tests.service import Service, serving

pytestmark = pytest.mark.extra


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Keys by scope, and under "file" the file that knows them."""
    path = tmp_path_factory.mktemp("keys") / "keys.txt"
    made = {scope: new_key(scope, [scope]) for scope in (CLASSIFY, ADMIN)}
    path.write_text("".join(f"{key.line}\n" for _, key in made.values()))
    return {scope: text for scope, (text, _) in made.items()} | {"file": str(path)}


@pytest.fixture(scope="module")
def guarded(keys: dict[str, str]) -> Iterator[Service]:
    """The shipped model behind API keys."""
    with serving(STORE, MODEL, workers="1", api_keys=keys["file"]) as running:
        yield running


@pytest.fixture
def asked(browser: Browser, guarded: Service) -> Iterator[Page]:
    """The page, which has just asked for a key."""
    opened = browser.new_page()
    opened.goto(guarded.url)
    expect(opened.locator("#notice")).to_have_text("This service needs an API key.")
    expect(opened.locator("#key")).to_be_focused()
    yield opened
    opened.close()


def give(page: Page, key: str) -> None:
    page.locator("#key").fill(key)
    page.locator("#key").press("Enter")


def test_a_wrong_key_is_called_wrong(asked: Page) -> None:
    """Not that one is needed: the person has just given one. The form stays, for another."""
    give(asked, "wrong")
    expect(asked.locator("#notice")).to_contain_text("This API key is wrong")
    expect(asked.locator("#key")).to_be_focused()


@pytest.mark.parametrize("key", ["clé", "two words", "“quoted”"])
def test_what_cannot_be_a_key_is_not_sent(asked: Page, key: str) -> None:
    """Letters that no header can carry are refused by the form, in words."""
    give(asked, key)
    assert "only letters, digits and signs of ASCII" in asked.locator("#key").evaluate("it => it.validationMessage")
    give(asked, "wrong")
    expect(asked.locator("#notice")).to_contain_text("This API key is wrong")


def test_a_key_for_something_else_may_be_replaced(asked: Page, keys: dict[str, str]) -> None:
    """A key without the scope is told so, and another is asked for."""
    give(asked, keys[ADMIN])
    expect(asked.locator("#notice")).to_contain_text("does not allow that")
    expect(asked.locator("#key")).to_be_visible()


def test_everything_refused_is_done_with_the_right_key(asked: Page, keys: dict[str, str], tmp_path: Path) -> None:
    """Models, text and file, all refused before, are asked for again without another click."""
    table = tmp_path / "reviews.csv"
    table.write_text("review\na joy\n")
    asked.locator("#text").fill("A wonderful film.")
    expect(asked.locator("#review-notice")).to_contain_text("needs an API key")
    asked.locator("#tab-file").click()
    asked.locator("#file").set_input_files(table)
    asked.locator("#start").click()
    expect(asked.locator("#file-notice")).to_contain_text("needs an API key")
    give(asked, f" {keys[CLASSIFY]} ")
    expect(asked.locator("#file-summary")).to_contain_text("1 row:")
    asked.locator("#tab-review").click()
    expect(asked.locator("#label")).to_have_text("positive")
    expect(asked.locator("#model option").first).to_be_attached()
    for notice in ("#notice", "#review-notice", "#file-notice", "#key-form"):
        expect(asked.locator(notice)).to_be_hidden()
