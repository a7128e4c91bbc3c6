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
    expect(opened.locator("#key-error")).to_have_text("This service needs an API key.")
    expect(opened.locator("#key")).to_be_focused()
    yield opened
    opened.close()


@pytest.fixture
def docs(browser: Browser, guarded: Service) -> Iterator[Page]:
    """The documentation, which must not complain on its console of anything but the refusal."""
    opened = browser.new_page()
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.goto(f"{guarded.url}/docs")
    yield opened
    opened.close()
    assert [text for text in complaints if "Failed to load resource" not in text] == []


def give(page: Page, key: str) -> None:
    page.locator("#key").fill(key)
    page.locator("#key").press("Enter")


def test_a_wrong_key_is_called_wrong(asked: Page) -> None:
    """Not that one is needed: the person has just given one. The form stays, for another."""
    give(asked, "wrong")
    expect(asked.locator("#key-error")).to_contain_text("This API key is wrong")
    expect(asked.locator("#key")).to_be_focused()


@pytest.mark.parametrize("key", ["clé", "two words", "“quoted”"])
def test_what_cannot_be_a_key_is_not_sent(asked: Page, key: str) -> None:
    """Letters that no header can carry are refused by the form, in words."""
    give(asked, key)
    expect(asked.locator("#key-error")).to_contain_text("only letters, digits and signs of ASCII")
    expect(asked.locator("#key")).to_have_attribute("aria-invalid", "true")
    give(asked, "wrong")
    expect(asked.locator("#key-error")).to_contain_text("This API key is wrong")


def test_a_key_for_something_else_may_be_replaced(asked: Page, keys: dict[str, str]) -> None:
    """A key without the scope is told so, and another is asked for."""
    give(asked, keys[ADMIN])
    expect(asked.locator("#key-error")).to_have_text(
        "This API key is known, but lacks the scope “classify”. Use one that was made with --scope classify."
    )
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


def test_a_key_is_kept_until_the_tab_is_closed_or_it_is_forgotten(asked: Page, keys: dict[str, str]) -> None:
    """After a reload nothing is asked; it may be looked at, and forgotten."""
    give(asked, keys[CLASSIFY])
    expect(asked.locator("#model option").first).to_be_attached()
    asked.reload()
    expect(asked.locator("#model option").first).to_be_attached()
    expect(asked.locator("#key-form")).to_be_hidden()
    asked.locator("#key-open").click()
    asked.locator("#key").fill("another")
    expect(asked.locator("#key")).to_have_attribute("type", "password")
    asked.locator("#key-shown").check()
    expect(asked.locator("#key")).to_have_attribute("type", "text")
    asked.locator("#key-forget").click()
    expect(asked.locator("#key-error")).to_have_text("This service needs an API key.")
    assert asked.evaluate("sessionStorage.length + localStorage.length") == 0


def test_no_key_no_form(page: Page) -> None:
    """A service without keys shows nothing of them."""
    expect(page.locator("#model option").first).to_be_attached()
    for part in ("#key-open", "#key-form"):
        expect(page.locator(part)).to_be_hidden()


def test_a_key_is_no_part_of_copied_code(asked: Page, keys: dict[str, str]) -> None:
    """It comes from the environment there."""
    give(asked, keys[CLASSIFY])
    asked.locator("#text").fill("A joy.")
    asked.locator("#code summary").click()
    for name in ("curl", "Python", "JavaScript"):
        asked.locator("#language").select_option(name)
        expect(asked.locator("#snippet")).to_contain_text("SENTIMENT_KEY")
        expect(asked.locator("#snippet")).not_to_contain_text(keys[CLASSIFY])


def test_the_documentation_is_read_with_a_key(docs: Page, guarded: Service, keys: dict[str, str]) -> None:
    """It says which scope is missing; with the right key the operations are there, and are tried out with it."""
    expect(docs.locator("#key-error")).to_have_text("This service needs an API key.")
    give(docs, keys[CLASSIFY])
    expect(docs.locator("#key-error")).to_contain_text("lacks the scope “admin”")
    give(docs, keys[ADMIN])
    docs.locator(".opblock-summary", has_text="classify").first.click()
    with docs.expect_request("**/classify") as sent:
        docs.get_by_role("button", name="Execute").click()
    assert sent.value.url.startswith(guarded.url)
    assert sent.value.headers["authorization"] == f"Bearer {keys[ADMIN]}"
    expect(docs.locator("#key-form")).to_be_hidden()
    docs.reload()
    expect(docs.locator(".opblock-summary").first).to_be_visible()


def test_the_documentation_needs_no_key_where_there_is_none(page: Page, service: Service) -> None:
    """The page leads to it, and it says nothing of keys."""
    page.get_by_role("link", name="API").click()
    expect(page.locator(".opblock-summary").first).to_be_visible()
    expect(page.locator("#key-form")).to_be_hidden()
    page.get_by_role("link", name="Page", exact=True).click()
    expect(page.locator("#text")).to_be_visible()
