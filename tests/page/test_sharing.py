"""What a person takes along: code, links, and the texts of before."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.page.chromium import answer_with, prediction
from tests.pictures import ROOT
from tests.service import Service

pytestmark = pytest.mark.extra

AWKWARD = 'It\'s "fine", $HOME\\n `id` 🎬\nand\tnever dull!'
BLAME = "terrible, boring"
PROGRAMS = {
    "curl": ["bash", "-c"],
    "Python": [sys.executable, "-c"],
    "JavaScript": ["node", "--input-type=module", "--eval"],
}


def answered(page: Page, text: str) -> None:
    """A text with its answer."""
    page.locator("#text").fill(text)
    expect(page.locator("#verdict")).to_be_visible()
    expect(page.locator("#result")).to_have_attribute("aria-busy", "false")


def needs(program: str) -> None:
    """Skip where a program is not installed, except where ``CI`` is set: there it must be."""
    if shutil.which(program) is None:
        assert not os.environ.get("CI"), f"{program} is not installed"
        pytest.skip(f"WHAT IS COPIED IS NOT TESTED: there is no {program}")


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_is_copied_runs(page: Page, name: str) -> None:
    """As it stands, with quotes, line ends and emoji in the text; it answers what the page says."""
    needs("curl" if name == "curl" else PROGRAMS[name][0])
    answered(page, AWKWARD)
    page.locator("#code summary").click()
    page.locator("#language").select_option(name)
    code = page.locator("#snippet").text_content() or ""
    ended = subprocess.run([*PROGRAMS[name], code], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert ended.returncode == 0, ended.stderr
    assert page.locator("#label").inner_text() in ended.stdout


def test_the_answer_is_copied(page: Page) -> None:
    """Whole, as JSON, to the clipboard; and with another text it is another one."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    answered(page, "A joy.")
    page.locator("#code summary").click()
    page.locator("#language").select_option("JSON answer")
    page.locator("#copy-code").click()
    expect(page.locator("#code-said")).to_have_text("Copied.")
    answer = json.loads(page.evaluate("navigator.clipboard.readText()"))
    assert answer["label"] == "positive"
    page.route("**/classify", lambda route: route.fulfill(status=500, json={"code": "internal_error"}))
    page.locator("#text").fill(BLAME)
    expect(page.locator("#review-notice")).to_be_visible()
    expect(page.locator("#snippet")).to_have_text("")


def test_where_nothing_can_be_copied_it_is_selected(page: Page) -> None:
    """A page that is not from a safe address has no clipboard."""
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    answered(page, "A joy.")
    page.locator("#copy-link").click()
    expect(page.locator("#link")).to_have_value(re.compile(r"/#text=A%20joy\.$"))
    assert page.evaluate("getSelection().toString()").endswith("#text=A%20joy.")
    answered(page, "Another joy.")
    expect(page.locator("#link")).to_be_hidden()


def test_a_link_brings_its_text(page: Page, service: Service) -> None:
    """Behind the #, so that no server sees it in an address; typing makes it an old one."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    answered(page, AWKWARD)
    page.locator("#copy-link").click()
    expect(page.locator("#link-said")).to_have_text("Copied.")
    link = page.evaluate("navigator.clipboard.readText()")
    assert link == f"{service.url}/#text={quote(AWKWARD, safe='!~*()')}".replace("It%27s", "It's")
    other = page.context.new_page()
    asked: list[str] = []
    other.on("request", lambda request: asked.append(request.url))
    other.goto(link)
    expect(other.locator("#text")).to_have_value(AWKWARD)
    expect(other.locator("#verdict")).to_be_visible()
    assert {"fine" in url for url in asked} == {False}
    answered(other, "Something else.")
    assert other.url == f"{service.url}/"
    other.goto(f"{service.url}/#text=A%2Bjoy+is")
    expect(other.locator("#text")).to_have_value("A+joy+is")


def test_a_text_that_is_too_long_for_a_link(page: Page) -> None:
    """Said, instead of a link that somebody's program cuts off."""
    answered(page, "a good film, " * 800)
    page.locator("#copy-link").click()
    expect(page.locator("#link-said")).to_contain_text("too long for a link of 8,000")


def kept(page: Page) -> list[str]:
    """The texts of before, the newest first."""
    return [text.split(" more")[0] for text in page.locator("#history-list button").all_inner_texts()]


def test_texts_are_kept_in_this_browser_only(page: Page, service: Service) -> None:
    """While one is typed it is one entry; a reload has them, another browser has not, and Clear leaves nothing."""
    answer_with(page, prediction({"negative": 0.4, "positive": 0.6}))
    page.locator("#text").fill("A film")
    expect(page.locator("#history-count")).to_have_text("1")
    page.locator("#text").fill("A film of joy")
    expect(page.locator("#history-list")).to_contain_text("A film of joy")
    page.locator("#text").fill("Dull")
    expect(page.locator("#history-count")).to_have_text("2")
    page.reload()
    page.locator("#history summary").click()
    assert kept(page) == ["Dull", "A film of joy"]
    page.get_by_role("button", name="A film of joy").click()
    expect(page.locator("#text")).to_have_value("A film of joy")
    expect(page.locator("#history-list li").first).to_contain_text("A film of joy")
    assert kept(page) == ["A film of joy", "Dull"]
    page.locator("#history-clear").click()
    expect(page.locator("#history")).to_be_hidden()
    assert page.evaluate("localStorage.length") == 0


def test_what_is_kept_is_bounded(page: Page) -> None:
    """Twenty texts, none of them long, and none that was not answered; what somebody else left there is ignored."""
    answer_with(page, prediction({"negative": 0.4, "positive": 0.6}))
    entries = [{"text": f"{number} films", "said": "more likely than not positive (60 %)"} for number in range(30)]
    keep = "it => localStorage.setItem('sentiment.history', it)"
    for foreign in ("[null]", "{", "5", '[{"text": 5}]'):
        page.evaluate(keep, foreign)
        page.reload()
        expect(page.locator("#history")).to_be_hidden()
    page.evaluate(keep, json.dumps(entries))
    page.reload()
    expect(page.locator("#history-count")).to_have_text("20")
    page.locator("#text").fill("Another one")
    expect(page.locator("#history-list li").first).to_contain_text("Another one")
    expect(page.locator("#history-count")).to_have_text("20")
    page.locator("#text").fill("long " * 401)
    expect(page.locator("#words .word").first).to_be_visible()
    page.route("**/classify", lambda route: route.fulfill(status=500, json={"code": "internal_error"}))
    page.locator("#text").fill("It fails")
    expect(page.locator("#review-notice")).to_be_visible()
    page.locator("#history summary").click()
    assert kept(page)[0] == "Another one"


def test_a_browser_that_keeps_nothing(browser: Browser, service: Service) -> None:
    """They last as long as the page."""
    page = browser.new_page()
    page.add_init_script("Object.defineProperty(window, 'localStorage', {get() { throw new Error('no'); }})")
    page.goto(service.url)
    answer_with(page, prediction({"negative": 0.4, "positive": 0.6}))
    page.locator("#text").fill("A film")
    expect(page.locator("#history-count")).to_have_text("1")
    page.close()
