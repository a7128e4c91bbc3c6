"""Debian's Chromium, and the answers that tests put into its mouth."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Page, Route, sync_playwright

PROGRAM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
SLOW = 60_000
"""Milliseconds; explanations start a process of their own."""


@contextmanager
def launched() -> Iterator[Browser]:
    """A running Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=FLAGS)
        yield browser
        browser.close()


def prediction(scores: dict[str, float], **fields: Any) -> dict[str, Any]:
    """An answer of ``POST /classify`` with these scores."""
    label = max(scores, key=scores.__getitem__)
    return {
        "label": label,
        "score": scores[label],
        "scores": scores,
        "tokens": 8,
        "truncated": False,
        "cached": False,
        "rating": 5.6,
        "unknown": 0.0,
        "judgement": "ok",
        "model": "reviews-gru",
        "version": 1,
        **fields,
    }


def explanation(text: str, scores: dict[str, float]) -> dict[str, Any]:
    """An explanation of a text as one sentence, whose words speak for and against its label by turns."""
    label = max(scores, key=scores.__getitem__)
    words, at = [], 0
    for word in text.split(" "):
        words.append({"start": at, "end": at + len(word)})
        at += len(word) + 1
    return {
        "sentences": [{"start": 0, "end": len(text), "label": label, "score": scores[label], "scores": scores}],
        "tokens": [{**word, "attribution": (-1) ** index * 2.0} for index, word in enumerate(words)],
        "log_odds": {"baseline": 0.0, "text": 1.0},
        "curve": [{**word, "score": index / len(words)} for index, word in enumerate(words)],
    }


def body_of(route: Route) -> dict[str, Any]:
    """What the page sends."""
    body: dict[str, Any] | None = route.request.post_data_json
    return body or {}


def answer_with(page: Page, answer: dict[str, Any]) -> None:
    """Every text gets this answer, with an explanation where one is asked for."""

    def fulfil(route: Route) -> None:
        body = body_of(route)
        explained = {"explanation": explanation(body["text"], answer["scores"])} if "explain" in body else {}
        route.fulfill(json=answer | explained)

    page.route("**/classify", fulfil)
