"""``python -m tests.pictures``: the pictures of the page and of a report in docs/images. Needs Chromium.

Runs the shipped model on this machine, opens the page, scores a review and files, and takes the pictures. Each says in
itself what it shows, so that a test can tell when it has become old.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import random
import tempfile
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Literal

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import Browser, FloatRect, Page, expect

from app import cli
from app.settings import Settings
from app.store import ModelStore
from tests.page.chromium import SLOW, launched
from tests.service import serving

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "images"
STORE = ROOT / "model_store"
MODEL: str = Settings.model_fields["model"].default
"""The model that is served unless somebody chooses another."""
REVIEW = "I liked the first half. The second half was dull, far too long, and the ending is simply awful!"
REPORT = "report.png"
GOOD = [
    "The {} arrived in two days and fits perfectly. Lovely colour!",
    "Great {}, my daughter uses it every day and it still looks new.",
    "Friendly staff, a quick answer, and they replaced the {} for free.",
    "Best {} I have owned in years: quiet, light and easy to clean.",
]
BAD = [
    "The {} broke after a week and nobody answers my emails. I want a refund.",
    "Terrible. The {} came in a torn box, and the hotline hung up on me.",
    "Not worth the money: the {} is loud and smells of plastic.",
    "Three weeks late, and then the wrong {}. Never again!",
]
PLAIN = ["The {} came on Tuesday. I have not tried it yet.", "It is a {} like any other."]


def stamp(picture: bytes, **says: str) -> bytes:
    """The same PNG in 256 colours, which says in itself what it shows."""
    info = PngInfo()
    for name, value in says.items():
        info.add_text(name, value)
    out = io.BytesIO()
    small = Image.open(io.BytesIO(picture)).convert("RGB").quantize(256)
    small.save(out, "PNG", optimize=True, pnginfo=info)
    return out.getvalue()


def served() -> str:
    """NAME/VERSION of what is served by default."""
    return ModelStore(STORE).open(MODEL).reference


def digest_of(name: str) -> str:
    """Changes with whatever makes what a picture shows look as it does: the page, or a report."""
    folder = ROOT / "app" / ("report" if name == REPORT else "http/page")
    looks = {".html", ".css", ".js"}
    files = sorted(path for path in folder.iterdir() if path.suffix in looks or path.name == "charts.py")
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]


def show_review(page: Page) -> None:
    """A review with its answer and its explanation."""
    page.locator("#text").fill(REVIEW)
    expect(page.locator("#words .word").first).to_be_visible(timeout=SLOW)
    page.locator("#text").blur()


def show_file(page: Page) -> None:
    """A file as it was found, with its first rows, before it is scored."""
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "reviews.csv"
        write_reviews(table)
        page.locator("#tab-file").click()
        page.locator("#file").set_input_files(table)
        expect(page.locator("#preview td").first).to_be_visible()


def write_reviews(path: Path) -> None:
    """A file of made-up reviews of four shops, of which one becomes worse."""
    chance = random.Random(1)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["date", "store", "review"])
        for number in range(1200):
            day = date(2025, 1, 6) + timedelta(days=number * 360 // 1200)
            store = chance.choices(("Hamburg", "Leeds", "Porto", "Graz (new)"), (36, 33, 30, 1))[0]
            happy = {"Hamburg": 0.7, "Leeds": 0.7 - number / 2400, "Porto": 0.85}.get(store, 0.4)
            kind = GOOD if chance.random() < happy else chance.choice((BAD, BAD, BAD, PLAIN))
            thing = chance.choice(("kettle", "lamp", "backpack", "toaster", "chair"))
            writer.writerow([day.isoformat(), store, chance.choice(kind).format(thing)])


def take_report(browser: Browser, out: Path) -> None:
    """Put the picture of a report into a folder: its first parts."""
    with tempfile.TemporaryDirectory() as folder:
        source, report = Path(folder) / "reviews.csv", Path(folder) / "report.html"
        write_reviews(source)
        options = ["--report", str(report), "--group-by", "store", "--store", str(STORE), "--model", MODEL]
        assert cli.main(["classify", str(source), *options]) == 0
        page = browser.new_page(viewport={"width": 1100, "height": 600})
        page.goto(report.as_uri())
        shown = page.locator("#by-store").bounding_box()
        assert shown is not None
        clip: FloatRect = {"x": 0, "y": 0, "width": 1100, "height": shown["y"] + shown["height"] + 20}
        picture = page.screenshot(full_page=True, clip=clip)
        (out / REPORT).write_bytes(stamp(picture, **{"Shows": served(), "Made from": digest_of(REPORT)}))
        page.close()


Scheme = Literal["light", "dark"]
PICTURES: dict[str, tuple[int, Scheme, Callable[[Page], None], str]] = {
    "page.png": (1100, "light", show_review, ""),
    "page-phone.png": (390, "dark", show_review, ""),
    "page-file.png": (1100, "light", show_file, "#files"),
}
"""By file: the window's width, the colours, what is done, and what of the page is taken: all, or an element."""


def take(browser: Browser, out: Path) -> None:
    """Put all pictures into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    take_report(browser, out)
    with serving(STORE, MODEL, workers="1", timeout="60") as service:
        for name, (width, scheme, act, part) in PICTURES.items():
            page = browser.new_page(viewport={"width": width, "height": 600}, color_scheme=scheme)
            page.goto(service.url)
            expect(page.locator("#model option").first).to_be_attached()
            act(page)
            whole = page.screenshot(full_page=True) if not part else page.locator(part).screenshot()
            (out / name).write_bytes(stamp(whole, **{"Shows": served(), "Made from": digest_of(name)}))
            page.close()


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=IMAGES, help="folder of the pictures (default: docs/images)")
    options = parser.parse_args()
    with launched() as browser:
        take(browser, options.out)


if __name__ == "__main__":
    main()
