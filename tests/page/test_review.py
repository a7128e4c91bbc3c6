"""One review: answered, explained, and what becomes of it when something goes wrong meanwhile."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.page.chromium import SLOW, answer_with, body_of, prediction
from tests.pictures import MODEL, STORE, served
from tests.service import Service, serving

pytestmark = pytest.mark.extra

REVIEW = "I liked the first half 🎬. The second half was dull, far too long, and the ending is simply awful!"
PRAISE = "A wonderful film, simply great."
BLAME = "terrible, boring"
Answer = Callable[[Route], None]


def read_praise(page: Page) -> None:
    """A review is answered and explained, so that there is something that could be left standing."""
    page.locator("#text").fill(PRAISE)
    expect(page.locator("#label")).to_have_text("positive")
    expect(page.locator("#words .word").first).to_be_visible(timeout=SLOW)


def nothing_is_left(page: Page, message: str | re.Pattern[str]) -> None:
    """Only the message is there, no answer and no explanation."""
    expect(page.locator("#review-notice")).to_contain_text(message, timeout=SLOW)
    expect(page.locator("#result")).to_be_hidden()
    for part in ("#label", "#words", "#curve", "#legend", "#shares"):
        expect(page.locator(part)).to_be_hidden()
    assert "positive" not in page.locator("main").inner_text()


def test_a_review_is_answered_and_explained(page: Page) -> None:
    """Label and score at once, then coloured words, sentences and the curve; words are those of the text."""
    page.locator("#text").press_sequentially(REVIEW[:20])
    page.locator("#text").fill(REVIEW)
    expect(page.locator("#label")).to_have_text(re.compile("positive|negative"))
    expect(page.locator("#score")).to_have_text(re.compile(r"\d+(\.\d+)?\s%"))
    expect(page.locator("#words .word").first).to_be_visible(timeout=SLOW)
    assert " ".join(page.locator("#words .said").all_inner_texts()) == REVIEW
    assert "awful" in page.locator("#words .word").all_inner_texts()
    assert [text.split()[0] for text in page.locator("#words .tag").all_inner_texts()] == ["positive", "negative"]
    expect(page.locator("#curve path")).to_be_visible()
    expect(page.locator("#curve-text")).to_contain_text("after the last")


def test_aspects_are_shown(page: Page) -> None:
    """Each thing with the label of what is said about it, and that, with its name set off; where there is none that is
    said."""
    page.locator("#text").fill("🎬 The food was wonderful, but the service was slow.")
    expect(page.locator("#aspects li")).to_have_count(2, timeout=SLOW)
    told = [re.sub(r"\s+", " ", text) for text in page.locator("#aspects li").all_inner_texts()]
    assert re.fullmatch(r"positive \d+ % food “(🎬 )?The food was wonderful”", told[0])
    assert re.fullmatch(r"negative \d+ % service “the service was slow.”", told[1])
    assert page.locator("#aspects .named").all_inner_texts() == ["food", "service"]
    page.locator("#text").fill("I never was so bored.")
    expect(page.locator("#aspects-said")).to_contain_text("The rules find nothing here", timeout=SLOW)
    expect(page.locator("#aspects li")).to_have_count(0)


def test_what_is_said_of_an_aspect_again_is_quoted_once(page: Page) -> None:
    """A text that repeats itself does not fill the page with that; other words about the same thing are shown too."""
    page.locator("#text").fill("The food was wonderful. " * 3 + "The food was cold.")
    expect(page.locator("#aspects li")).to_have_count(1, timeout=SLOW)
    assert re.findall("“.*?”", page.locator("#aspects li").inner_text()) == [
        "“The food was wonderful.”",
        "“The food was cold.”",
    ]


def test_aspects_are_named(page: Page) -> None:
    """By keyboard, with commas between: those of the text are shown, of the others it is said; for the next text too;
    without a name they are found again."""
    page.locator("#text").fill("The batteries are terrible. The screen is superb, and I love the colour.")
    expect(page.locator("#aspects li")).not_to_have_count(0, timeout=SLOW)
    page.get_by_role("textbox", name="Look for").focus()
    page.keyboard.type(" battery, Screen,, hinge,screen, Hinge ")
    expect(page.locator("#aspects-said")).to_have_text("Not mentioned: Hinge.")
    told = [re.sub(r"\s+", " ", text) for text in page.locator("#aspects li").all_inner_texts()]
    assert re.fullmatch(r"negative \d+ % battery “The batteries are terrible.”", told[0])
    assert re.fullmatch(r"positive \d+ % screen “The screen is superb,? ?.*”", told[1])
    assert page.locator("#aspects .named").all_inner_texts() == ["batteries", "screen"]
    page.locator("#text").fill("The hinge broke.")
    expect(page.locator("#aspects li")).to_contain_text("hinge", ignore_case=True)
    expect(page.locator("#aspects-said")).to_have_text("Not mentioned: battery, screen.")
    page.get_by_role("textbox", name="Look for").fill("")
    expect(page.locator("#aspects-said")).to_be_empty()
    expect(page.locator("#aspects strong")).to_have_text(["hinge"])


def test_a_name_that_cannot_be_looked_for_costs_nothing_else(page: Page) -> None:
    """The service says what is wrong with it, beside the field; words and curve are there."""
    page.locator("#text").fill(PRAISE)
    expect(page.locator("#words .word").first).to_be_visible(timeout=SLOW)
    page.get_by_role("textbox", name="Look for").fill("a" * 101)
    expect(page.locator("#aspects-said")).to_contain_text("at most 100 characters")
    page.locator("#text").fill(REVIEW)
    expect(page.locator("#words .word")).not_to_have_count(0, timeout=SLOW)
    expect(page.locator("#aspects-said")).to_contain_text("at most 100 characters")
    expect(page.locator("#explaining")).to_be_empty()


def test_samples_are_offered(page: Page) -> None:
    """A sample fills in and answers; the model is named, and where it is the only one there is none to choose."""
    page.get_by_role("button", name="praise").click()
    expect(page.locator("#label")).to_have_text("positive")
    expect(page.locator("#model-now")).to_contain_text(f"Model {served()}, ")
    expect(page.locator("#model-choice")).to_be_hidden()


def status(code: int, **response: Any) -> Answer:
    return lambda route: route.fulfill(status=code, **response)


FAILURES: dict[str, tuple[Answer, str]] = {
    "refused": (status(422, json={"code": "invalid_request", "detail": "text: is not right"}), "text: is not right"),
    "failed": (status(500, json={"code": "internal_error"}), "The service failed on this"),
    "busy": (status(503, json={"code": "overloaded"}, headers={"Retry-After": "600"}), "busy"),
    "late": (status(504, json={"code": "deadline_exceeded"}), "took too long"),
    "late proxy": (status(504, body="<html>"), "took too long"),
    "too large for a proxy": (status(413, body="<html>"), "larger than the service accepts"),
    "bad gateway": (status(502, body="null"), "busy"),
    "no answer of this service": (status(200, body="<html>"), "broke off or cannot be read"),
    "an answer without its fields": (status(200, json={"label": "positive"}), "broke off or cannot be read"),
    "no connection": (lambda route: route.abort(), "cannot be reached"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_nothing_of_an_old_text_survives_a_failure(page: Page, failure: str) -> None:
    """Whatever goes wrong with a text, the label, the words and the curve of the one before are gone; and come back."""
    answer, message = FAILURES[failure]
    read_praise(page)
    page.route("**/classify", answer)
    page.locator("#text").fill(BLAME)
    nothing_is_left(page, message)
    page.unroute("**/classify")
    page.locator("#text").fill(BLAME + "!")
    expect(page.locator("#review-notice")).to_be_hidden()
    expect(page.locator("#label")).to_have_text("negative")


@pytest.mark.parametrize(
    ("text", "message"),
    [("x" * 100_001, "too long for the service"), ("…", "no word"), ("x " * 4_500_000, "larger than")],
    ids=["too long", "no word", "too large"],
)
def test_texts_that_are_refused_leave_nothing(page: Page, text: str, message: str) -> None:
    """The service's own refusals."""
    read_praise(page)
    page.evaluate(
        "text => { const area = document.getElementById('text'); area.value = text;"
        " area.dispatchEvent(new Event('input')); }",
        text,
    )
    nothing_is_left(page, message)


def test_the_limit_is_named(page: Page) -> None:
    """How long the text is, and how long it may be."""
    page.locator("#text").fill("x" * 100_001)
    expect(page.locator("#review-notice")).to_contain_text("100001 characters; the limit is 100000")


def test_a_service_that_is_gone_is_explained(browser: Browser) -> None:
    """The page stays and says that the service cannot be reached, without the answer of the text before."""
    with serving(STORE, MODEL, workers="1") as running:
        page = browser.new_page()
        page.goto(running.url)
        read_praise(page)
        running.process.send_signal(signal.SIGTERM)
        running.process.wait(60)
        page.locator("#text").fill(BLAME)
        nothing_is_left(page, "cannot be reached")
        page.close()


def test_a_time_out_leaves_nothing(browser: Browser) -> None:
    """An engine that stands still: the service gives the text up, and the page says so."""
    with serving(STORE, MODEL, workers="1", timeout="1", engine_timeout="600") as running:
        page = browser.new_page()
        page.goto(running.url)
        page.locator("#text").fill(PRAISE)
        expect(page.locator("#label")).to_have_text("positive")
        [engine] = running.children("engine")
        os.kill(engine, signal.SIGSTOP)
        try:
            page.locator("#text").fill(BLAME)
            nothing_is_left(page, "took too long")
        finally:
            os.kill(engine, signal.SIGCONT)
        page.close()


def test_the_page_has_a_deadline_of_its_own(page: Page) -> None:
    """Where no answer comes at all, the page gives up after a minute."""
    page.clock.install()
    page.route("**/classify", lambda route: None)
    with page.expect_request("**/classify"):
        page.locator("#text").fill(BLAME)
        page.clock.run_for(1000)
    page.clock.run_for(58_000)
    expect(page.locator("#review-notice")).to_be_hidden()
    page.clock.run_for(2_000)
    nothing_is_left(page, "took too long")


def held(page: Page, text: str) -> list[Route]:
    """Requests for this text are kept here, unanswered."""
    routes: list[Route] = []

    def hold(route: Route) -> None:
        if body_of(route)["text"] == text:
            routes.append(route)
        else:
            route.continue_()

    page.route("**/classify", hold)
    return routes


def test_an_old_answer_goes_while_the_new_one_is_waited_for(page: Page) -> None:
    """For a moment it may stay, so that typing does not make it flicker."""
    read_praise(page)
    held(page, BLAME)
    page.locator("#text").fill(BLAME)
    expect(page.locator("#label")).to_be_hidden()
    expect(page.locator("#words")).to_be_hidden()
    expect(page.locator("#result")).to_have_attribute("aria-busy", "true")


@pytest.mark.parametrize("late", [status(200, json=prediction({"negative": 0.9, "positive": 0.1})), status(500)])
def test_a_slower_answer_does_not_replace_a_newer_one(page: Page, late: Answer) -> None:
    """Neither an answer nor an error of a text that is no longer there."""
    routes = held(page, BLAME)
    page.locator("#text").fill(BLAME)
    expect(page.locator("#result")).to_have_attribute("aria-busy", "true")
    for _ in range(SLOW // 20):
        if routes:
            break
        page.wait_for_timeout(20)
    [old] = routes
    read_praise(page)
    late(old)
    page.wait_for_timeout(300)
    expect(page.locator("#label")).to_have_text("positive")
    expect(page.locator("#review-notice")).to_be_hidden()


def test_a_text_without_an_explanation_keeps_its_answer(page: Page) -> None:
    """Too long to be explained: said below the answer, and nothing of the explanation before is left."""
    read_praise(page)
    page.locator("#text").fill("terrible, boring. " * 1500)
    expect(page.locator("#explaining")).to_contain_text("too long to be explained", timeout=SLOW)
    expect(page.locator("#label")).to_have_text("negative")
    expect(page.locator("#explanation")).to_be_hidden()
    expect(page.locator("#review-notice")).to_be_hidden()


def test_an_emptied_text_leaves_nothing(page: Page) -> None:
    """No answer, and no error of the text that was there."""
    read_praise(page)
    page.locator("#text").fill("…")
    nothing_is_left(page, "no word")
    page.locator("#text").fill("")
    expect(page.locator("#review-notice")).to_be_hidden()
    expect(page.locator("#result")).to_be_hidden()


def test_a_busy_service_is_explained(page: Page) -> None:
    """A refusal becomes a sentence, and the page tries again by itself when the service says so."""
    refused: dict[str, Any] = {"status": 503, "headers": {"Retry-After": "1"}, "body": '{"code": "overloaded"}'}
    page.route("**/classify", lambda route: route.fulfill(**refused))
    page.locator("#text").fill(REVIEW)
    expect(page.locator("#review-notice")).to_contain_text("busy")
    page.unroute("**/classify")
    expect(page.locator("#review-notice")).to_be_hidden(timeout=SLOW)
    expect(page.locator("#label")).to_have_text("negative")


TRIPLE = {"negative": 0.2, "neutral": 0.61, "positive": 0.19}
CLOSE = {"negative": 0.31, "neutral": 0.31, "positive": 0.38}


def test_neutral_has_its_own_colour(page: Page) -> None:
    """Three labels, each with its share in words and its own colour; grey is what speaks against one of three."""
    answer_with(page, prediction(TRIPLE))
    page.locator("#text").fill("It is a film.")
    expect(page.locator("#label")).to_have_text("neutral")
    expect(page.locator("#score")).to_have_text(re.compile(r"61\s%"))
    expect(page.locator("#shares-legend")).to_have_text(re.compile(r"negative 20\s%.*neutral 61\s%.*positive 19\s%"))
    colours = page.locator("#shares span").evaluate_all(
        "parts => parts.map(it => getComputedStyle(it).backgroundColor)"
    )
    assert len(set(colours)) == 3
    expect(page.locator("#words .word.for.neutral").first).to_be_visible()
    assert {word.get_attribute("class") for word in page.locator("#words .word").all()} == {
        "word for neutral",
        "word against none",
    }


def test_an_unsure_model_says_so(page: Page) -> None:
    """Words instead of a confident bar; what it wavers between is said, too."""
    answer_with(page, prediction(CLOSE, judgement="unsure", unknown=0.125))
    page.locator("#text").fill("It is a film.")
    expect(page.locator("#label")).to_have_text("Not sure")
    expect(page.locator("#reason")).to_contain_text(re.compile(r"between positive \(38\s%\) and negative \(31\s%\)"))
    expect(page.locator("#score")).to_be_empty()
    expect(page.locator("#shares")).to_be_hidden()
    expect(page.locator("#shares-legend")).to_contain_text("positive 38")
    expect(page.locator("#facts")).to_contain_text(re.compile(r"13\s% of the words unknown to the model"))
    expect(page.locator("#stars")).to_be_empty()
    expect(page.locator("#words .word").first).to_be_visible()


def test_an_unreadable_text_has_no_label(page: Page) -> None:
    """No label, no bar, no explanation of what was not understood, and none is asked for."""
    asked: list[Any] = []
    page.on("request", lambda request: asked.append(request.post_data_json) if "classify" in request.url else None)
    page.locator("#text").fill("Ein wunderbarer Film, einfach großartig.")
    expect(page.locator("#label")).to_have_text("Cannot read this")
    expect(page.locator("#reason")).to_contain_text("It reads English")
    page.wait_for_timeout(1000)
    for part in ("#shares", "#shares-legend", "#explanation"):
        expect(page.locator(part)).to_be_hidden()
    expect(page.locator("#facts")).to_contain_text("of the words unknown to the model")
    assert not re.search("positive|negative|neutral", page.locator("#result").inner_text())
    assert [list(body) for body in asked] == [["text"]]


def test_other_labels_and_older_models(page: Page) -> None:
    """Two labels without the newer fields; many labels, of which the most probable are named."""
    old = prediction({"negative": 0.1, "positive": 0.9})
    for field in ("unknown", "judgement", "rating"):
        del old[field]
    answer_with(page, old)
    page.locator("#text").fill("It is a film.")
    expect(page.locator("#label")).to_have_text("positive")
    expect(page.locator("#words .word.bad").first).to_be_visible()
    page.unroute("**/classify")
    many = {f"topic {number}": 0.05 for number in range(6)} | {"constructor": 0.7}
    answer_with(page, prediction(many, rating=None))
    page.locator("#text").fill("It is another film.")
    expect(page.locator("#label")).to_have_text("constructor")
    expect(page.locator("#shares-legend")).to_contain_text("and 2 others")
    expect(page.locator("#words .word.other").first).to_be_visible()


@pytest.mark.parametrize(
    ("score", "said"),
    [
        (0.99, "Almost certainly positive"),
        (0.946, "Almost certainly positive"),
        (0.92, "Very likely positive"),
        (0.7, "Likely positive"),
        (0.51, "More likely than not positive"),
        (0.502, "Leaning towards positive"),
    ],
)
def test_the_verdict_says_how_sure_it_is(page: Page, score: float, said: str) -> None:
    """In words that go with the percentage, with the expected stars below."""
    answer_with(page, prediction({"negative": 1 - score, "positive": score}))
    page.locator("#text").fill("It is a film.")
    expect(page.locator("#verdict")).to_contain_text(said, use_inner_text=True)
    expect(page.locator("#stars")).to_have_text("★ about 5.6 of 10 stars, if the writer gave any")


def test_even_odds_do_not_shout(page: Page) -> None:
    """The surer, the larger; near even odds the label is as plain as any other word, neither bold nor coloured."""
    looks = (
        "it => { const {fontSize, fontWeight, color} = getComputedStyle(it); return [fontSize, fontWeight, color]; }"
    )
    found = {}
    for score in (0.97, 0.92, 0.7, 0.52):
        answer_with(page, prediction({"negative": 1 - score, "positive": score}))
        page.locator("#text").fill(f"It is a film of {score}.")
        expect(page.locator("#score")).to_have_text(f"{round(100 * score)}\xa0%")
        found[score] = page.locator("#label").evaluate(looks)
        page.unroute("**/classify")
    sizes = [float(size.removesuffix("px")) for size, _, _ in found.values()]
    assert sizes == sorted(set(sizes), reverse=True)
    assert found[0.52][1:] == ["400", page.locator("main").evaluate(looks)[2]]


def weights_by_key(page: Page, keys: str) -> list[str]:
    """What is told after each of some keys in the list of words."""
    told = []
    for key in keys.split():
        page.keyboard.press(key)
        told.append(page.locator("#word-detail").inner_text())
    return told


def test_words_are_reached_by_keyboard(page: Page) -> None:
    """One Tab goes into the text, arrow keys from word to word and sentence to sentence; each tells its weight."""
    answer_with(page, prediction({"negative": 0.1, "positive": 0.9}))
    page.locator("#text").fill("Good bad fine")
    expect(page.locator("#words .word").first).to_be_visible()
    page.locator("#words").focus()
    told = weights_by_key(page, "ArrowRight ArrowRight ArrowRight Home End ArrowLeft")
    assert [re.split("[“”]", text)[1] for text in told] == ["bad", "fine", "fine", "Good", "fine", "bad"]
    assert told[0] == "“bad” speaks strongly against positive, weight −2.00, the strongest of all."
    chosen = page.locator("#words").get_attribute("aria-activedescendant")
    assert page.locator(f"#{chosen}").get_attribute("aria-selected") == "true"
    assert page.locator("#words [aria-selected=true]").count() == 1


def test_the_keyboard_goes_from_sentence_to_sentence(page: Page) -> None:
    """Each has a name for screen readers, and up and down go to its first word."""
    page.locator("#text").fill(REVIEW)
    expect(page.locator("#words .word").first).to_be_visible(timeout=SLOW)
    page.locator("#words").focus()
    down, right, up = weights_by_key(page, "ArrowDown ArrowRight ArrowUp")
    assert [re.split("[“”]", text)[1] for text in (down, right, up)] == ["The", "second", "I"]
    expect(page.get_by_role("group", name="Sentence 2, by itself negative")).to_be_visible()


def test_words_are_reached_by_touch(browser: Browser, service: Service) -> None:
    """A tap on a word tells its weight."""
    context = browser.new_context(has_touch=True, viewport={"width": 320, "height": 568})
    page = context.new_page()
    page.goto(service.url)
    answer_with(page, prediction({"negative": 0.1, "positive": 0.9}))
    page.locator("#text").fill("Good bad fine")
    page.locator("#words .word", has_text="bad").tap()
    expect(page.locator("#word-detail")).to_contain_text("“bad” speaks strongly against positive")
    context.close()


ALL_INSIDE = """() => {
    const frame = document.querySelector('#curve').getBoundingClientRect();
    return [...document.querySelectorAll('#curve text')].every(it => {
        const box = it.getBoundingClientRect();
        return box.left >= frame.left && box.right <= frame.right + 0.5
            && box.top >= frame.top - 0.5 && box.bottom <= frame.bottom + 0.5;
    });
}"""


@pytest.mark.parametrize("letters", [16, 28])
@pytest.mark.parametrize("width", [320, 1100])
def test_the_scale_is_not_cut(page: Page, width: int, letters: int) -> None:
    """All letters of the curve's scale are inside it, however large they are."""
    page.set_viewport_size({"width": 1100, "height": 900})
    page.evaluate(f"document.documentElement.style.fontSize = '{letters}px'")
    read_praise(page)
    page.set_viewport_size({"width": width, "height": 900})
    assert page.locator("#curve text").all_text_contents()[:3] == ["0 %", "50 %", "100 %"]
    # It is drawn anew a moment after the width has changed.
    page.wait_for_function(ALL_INSIDE, timeout=SLOW)
