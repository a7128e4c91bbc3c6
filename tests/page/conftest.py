"""Chromium, a service, and the page opened in front of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.page.chromium import PROGRAM, SLOW, launched
from tests.page.windows import HEIGHTS
from tests.pictures import MODEL, STORE
from tests.service import Service, serving

expect.set_options(timeout=SLOW)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium. Where there is none its tests are skipped, except where ``CI`` is set: there they fail."""
    if PROGRAM is None:
        if os.environ.get("CI"):
            pytest.fail("there is no chromium")
        pytest.skip("THE PAGE IS NOT TESTED: there is no chromium")
    with launched() as running:
        yield running


@pytest.fixture(scope="package")
def feedback_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where ``service`` keeps feedback."""
    return tmp_path_factory.mktemp("feedback")


@pytest.fixture(scope="package")
def service(feedback_folder: Path) -> Iterator[Service]:
    """The shipped model on two workers, which takes feedback. Not to be harmed."""
    settings = {"workers": "2", "timeout": "300", "explain_idle": "3600", "feedback_folder": str(feedback_folder)}
    with serving(STORE, MODEL, **settings) as running:
        # What explains starts slowly where others compute, and the page gives up after a minute.
        document = {"text": "A lovely film.", "explain": ["tokens"]}
        httpx.post(f"{running.url}/classify", json=document, timeout=310).raise_for_status()
        yield running


@pytest.fixture
def page(browser: Browser, service: Service) -> Iterator[Page]:
    """The page, opened; it must not complain on its console, and ask nobody else for anything."""
    context = browser.new_context(viewport={"width": 1100, "height": 900}, accept_downloads=True)
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("request", lambda request: complaints.append(request.url) if is_foreign(request.url, service) else None)
    opened.goto(service.url)
    yield opened
    context.close()
    # A refused request is on the console by itself, whatever the page makes of it.
    assert [text for text in complaints if "Failed to load resource" not in text] == []


@pytest.fixture(
    params=[(320, "light"), (320, "dark"), (320, "forced"), (768, "light"), (1280, "dark"), (1280, "forced")],
    ids=lambda it: f"{it[0]}-{it[1]}",
)
def sized(browser: Browser, service: Service, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page in windows of several widths, light, dark, and in colours that the system forces on it."""
    width, colours = request.param
    context = browser.new_context(
        viewport={"width": width, "height": HEIGHTS[width]},
        color_scheme="dark" if colours == "dark" else "light",
        forced_colors="active" if colours == "forced" else "none",
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.goto(service.url)
    expect(page.locator("#model option").first).to_be_attached()
    yield page
    context.close()


def is_foreign(url: str, service: Service) -> bool:
    return not url.startswith((service.url, "blob:", "data:"))
